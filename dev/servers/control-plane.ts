import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { extname, join } from 'node:path';

import type { ClusterDetails } from '../control-plane/overview.ts';
import type { Host } from '../host.ts';
import { get, post } from './https.ts';
import type { VaultService } from './openbao.ts';

export interface ControlPlaneService {
  readonly url: string;
  /** PEM file of the authority that its certificate is verified against. */
  readonly caFile: string;
  /** PEM of the same. */
  readonly ca: string;
  /** Lets people, and tests, read what it knows; no connector has it. */
  readonly operatorToken: string;
}

/** Whose tokens it takes: those of a Vault, or of a simulation. */
export type TokenIssuer =
  { readonly VAULT_ADDR: string; readonly VAULT_CACERT: string } | { readonly SIMULATED_KEYS: string };

/** Whose tokens a stack's Vault issues. */
export function issuerOf({ address, caFile }: VaultService): TokenIssuer {
  return { VAULT_ADDR: address, VAULT_CACERT: caFile };
}

/** Starts the reference control plane. */
export async function startControlPlaneServer(host: Host, issuer: TokenIssuer): Promise<ControlPlaneService> {
  const folder = host.folderOf('control-plane');
  await mkdir(folder, { recursive: true });
  const tls = await host.tls.issue('control-plane', 'server');
  const [ca, caFile] = [await host.tls.ca(), host.tls.caFile];
  const operatorToken = randomBytes(24).toString('base64url');
  const entry = join(import.meta.dirname, '..', 'control-plane', `main${extname(import.meta.filename)}`);
  const { api } = await host.withPorts(['api'], (ports) =>
    host.start({
      name: 'control-plane',
      args: ['--disable-warning=ExperimentalWarning', entry],
      env: {
        PORT: `${ports.api}`,
        DATABASE: join(folder, 'control-plane.db'),
        ...issuer,
        TLS_CERT: tls.cert,
        TLS_KEY: tls.key,
        OPERATOR_TOKEN: operatorToken,
      },
      healthy: () => answers({ url: `https://127.0.0.1:${ports.api}`, ca, operatorToken }),
    }),
  );
  return { url: `https://127.0.0.1:${api}`, caFile, ca, operatorToken };
}

type Access = Pick<ControlPlaneService, 'url' | 'ca' | 'operatorToken'>;

/** Whether the server answers its operator. */
export async function answers(service: Access): Promise<boolean> {
  return (await ask(service, '/clusters')).ok;
}

/** What it knows of one cluster; undefined where it is not registered. */
export async function clusterAt(service: Access, clusterId: string): Promise<ClusterDetails | undefined> {
  const { ok, text } = await ask(service, `/clusters/${clusterId}`);
  return ok ? (JSON.parse(text) as ClusterDetails) : undefined; // our own server's form
}

/** The newest signed heads of a cluster's audit logs, as `byoc audit verify --head` takes them. */
export async function headsAt(service: Access, clusterId: string): Promise<string> {
  return (await ask(service, `/clusters/${clusterId}/heads`)).text;
}

/** `revoke` has all tokens refused that were issued to the cluster until now, `forget` its registration forgotten. */
export async function order(
  { url, ca, operatorToken }: Access,
  clusterId: string,
  what: 'revoke' | 'forget',
): Promise<void> {
  const { ok, status } = await post(`${url}/clusters/${clusterId}/${what}`, {}, { ca, token: operatorToken });
  if (!ok) throw new Error(`The control plane answered ${status} to its operator.`);
}

function ask({ url, ca, operatorToken }: Access, path: string) {
  return get(`${url}${path}`, { ca, token: operatorToken });
}
