/** Entry point of a TLS proxy as a process of its own; dev/servers/temporal.ts starts it. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { startTlsProxy } from './proxy.ts';

const port = z.coerce.number().int().min(1).max(65_535);
const settings = z
  .object({
    PORT: port,
    TARGET_PORT: port,
    /** PEM files. */
    TLS_CERT: z.string().min(1),
    TLS_KEY: z.string().min(1),
    TLS_CLIENT_CA: z.string().min(1),
    ALPN: z.string().min(1),
  })
  .parse(process.env);

const proxy = await startTlsProxy({
  port: settings.PORT,
  target: { port: settings.TARGET_PORT },
  cert: readFileSync(settings.TLS_CERT, 'utf8'),
  key: readFileSync(settings.TLS_KEY, 'utf8'),
  clientCa: readFileSync(settings.TLS_CLIENT_CA, 'utf8'),
  alpn: [settings.ALPN],
  onRefused: ({ message }) => process.stderr.write(`${new Date().toISOString()} refused: ${message}\n`),
});
process.once('SIGTERM', () => void proxy.close());
