import { randomBytes } from 'node:crypto';

import type { Host } from '../host.ts';

export interface VaultService {
  readonly address: string;
  /** The root token. */
  readonly token: string;
}

/** Starts OpenBao (Vault's API) in development mode: unsealed, in memory, empty after a restart. */
export async function startOpenBao(host: Host): Promise<VaultService> {
  const token = randomBytes(24).toString('base64url');
  const { api } = await host.withPorts(['api'], (ports) =>
    host.start({
      name: 'openbao',
      args: ['server', '-dev', '-dev-no-store-token', `-dev-listen-address=127.0.0.1:${ports.api}`, '-log-level=warn'],
      // As an argument everybody on the machine could read it.
      env: { BAO_DEV_ROOT_TOKEN_ID: token },
      healthy: () => isUnsealed(`http://127.0.0.1:${ports.api}`),
    }),
  );
  return { address: `http://127.0.0.1:${api}`, token };
}

/** Whether the server is initialised, unsealed and active, which is when its health is a 200. */
export async function isUnsealed(address: string): Promise<boolean> {
  return (await fetch(`${address}/v1/sys/health`)).ok;
}
