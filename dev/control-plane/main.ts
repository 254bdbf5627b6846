/** Entry point of the reference control plane as a process of its own; dev/servers/control-plane.ts starts it. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { startControlPlane } from './server.ts';

const settings = z
  .object({
    PORT: z.coerce.number().int().min(0).max(65_535),
    /** The SQLite file. */
    DATABASE: z.string().min(1),
    VAULT_ADDR: z.url().optional(),
    VAULT_CACERT: z.string().min(1).optional(),
    /** JWKS file of a simulation, in the place of Vault. */
    SIMULATED_KEYS: z.string().min(1).optional(),
    /** PEM files. */
    TLS_CERT: z.string().min(1),
    TLS_KEY: z.string().min(1),
    OPERATOR_TOKEN: z.string().min(16),
  })
  .parse(process.env);

const server = await startControlPlane({
  port: settings.PORT,
  file: settings.DATABASE,
  tls: { cert: readFileSync(settings.TLS_CERT, 'utf8'), key: readFileSync(settings.TLS_KEY, 'utf8') },
  vaultAddress: settings.VAULT_ADDR,
  vaultCa: settings.VAULT_CACERT && readFileSync(settings.VAULT_CACERT, 'utf8'),
  simulatedKeys: settings.SIMULATED_KEYS,
  operatorToken: settings.OPERATOR_TOKEN,
  onRefused: (line) => process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), ...line })}\n`),
});
process.once('SIGTERM', () => void server.close());
