import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import { applyVaultSetup } from '../../activities/vault/setup.ts';
import type { TlsFiles } from '../../domain/tls-settings.ts';
import { vaultSetup } from '../../domain/vault-setup.ts';
import { DEV_CLUSTER } from '../environment.ts';
import type { Host } from '../host.ts';
import { get, post } from './https.ts';

export interface VaultService {
  readonly address: string;
  /** PEM file of the authority that its certificate is verified against. */
  readonly caFile: string;
  /** The same, as clients of Vault take it. */
  readonly tls: TlsFiles;
  /** The root token. */
  readonly token: string;
  /** Path of the `bao` command. */
  readonly bin: string;
}

/** Making the storage and the keys takes seconds; asked a second time, the server would not tell them. */
const INIT_TIMEOUT_MS = 30_000;

const initSchema = z.object({ keys_base64: z.tuple([z.string()]), root_token: z.string() });
type Keys = z.infer<typeof initSchema>;

/**
 * Starts OpenBao (Vault's API) as in production: over TLS, sealed until it is unsealed, with its data on the disk, so that
 * a restart keeps it. Each start of the stack is empty.
 */
export async function startOpenBao(host: Host): Promise<VaultService> {
  const folder = host.folderOf('openbao');
  const [data, config] = [join(folder, 'data'), join(folder, 'openbao.json')];
  await rm(folder, { recursive: true, force: true });
  await mkdir(data, { recursive: true, mode: 0o700 });
  const tls = await host.tls.issue('openbao', 'server');
  const { caFile } = host.tls;

  let keys: Keys | undefined;
  const { api } = await host.withPorts(['api', 'cluster'], async ({ api, cluster }) => {
    const address = `https://127.0.0.1:${api}`;
    const settings = {
      storage: { raft: { path: data, node_id: 'dev', performance_multiplier: 1 } },
      listener: {
        tcp: {
          address: `127.0.0.1:${api}`,
          cluster_address: `127.0.0.1:${cluster}`,
          tls_cert_file: tls.cert,
          tls_key_file: tls.key,
        },
      },
      api_addr: address,
      cluster_addr: `https://127.0.0.1:${cluster}`,
    };
    await writeFile(config, JSON.stringify(settings), { mode: 0o600 });
    await host.start({
      name: 'openbao',
      args: ['server', `-config=${config}`, '-log-level=warn'],
      healthy: async () => {
        const server = { address, caFile };
        keys ??= await initialise(server);
        if (keys) await unseal(server, keys);
        return isUnsealed(server);
      },
    });
  });
  if (!keys) throw new Error('OpenBao is healthy, but was never initialised.');
  const service = {
    address: `https://127.0.0.1:${api}`,
    caFile,
    tls: { ca: caFile },
    token: keys.root_token,
    bin: await host.find('openbao'),
  };
  await applyVaultSetup(service, vaultSetup(DEV_CLUSTER));
  return service;
}

type Server = Pick<VaultService, 'address' | 'caFile'>;

/** Whether the server is initialised, unsealed and active, which is when its health is a 200. */
export async function isUnsealed({ address, caFile }: Server): Promise<boolean> {
  return (await get(`${address}/v1/sys/health`, { ca: await readFile(caFile, 'utf8') })).ok;
}

async function initialise({ address, caFile }: Server): Promise<Keys> {
  const ca = await readFile(caFile, 'utf8');
  const request = { secret_shares: 1, secret_threshold: 1 };
  const { ok, status, text } = await post(`${address}/v1/sys/init`, request, { ca, timeoutMs: INIT_TIMEOUT_MS });
  if (!ok) throw new Error(`OpenBao answered ${status} when it was initialised`);
  return initSchema.parse(JSON.parse(text));
}

/** Of no effect where it is unsealed. */
async function unseal({ address, caFile }: Server, { keys_base64: [key] }: Keys): Promise<void> {
  await post(`${address}/v1/sys/unseal`, { key }, { ca: await readFile(caFile, 'utf8') });
}
