import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ulid } from 'ulid';
import type { Identity } from '../../activities/vault/identity.ts';
import type { ControlPlaneOptions } from '../../dev/control-plane/server.ts';
import { startControlPlane } from '../../dev/control-plane/server.ts';
import type { IdentityOptions } from './identity.ts';
import { prepareIdentity } from './identity.ts';
import type { VaultService } from '../../dev/servers/openbao.ts';
import { callVault } from './vault.ts';
import type { ComponentHealth, Heartbeat, Registration, Signal } from '../../domain/control-plane.ts';

const AT = '2026-01-31T12:00:00.000Z';
const VERSIONS = { connector: '0.1.0', node: '24.0.0' };

/** A reference control plane of a test's own, in this process, which can go away and come back. */
export class OwnControlPlane {
  readonly operatorToken = 'the-operator-of-the-tests';
  readonly refused: { readonly code: string; readonly why: string }[] = [];
  readonly #options: Partial<ControlPlaneOptions> & { readonly vaultAddress: string };
  readonly #folder: string;
  #port = 0;
  #server: Awaited<ReturnType<typeof startControlPlane>> | undefined;

  private constructor(options: Partial<ControlPlaneOptions> & { readonly vaultAddress: string }, folder: string) {
    this.#options = options;
    this.#folder = folder;
  }

  static async start(vault: VaultService, options: Partial<ControlPlaneOptions> = {}): Promise<OwnControlPlane> {
    const folder = await mkdtemp(join(tmpdir(), 'byoc-control-plane-'));
    const vaultCa = await readFile(vault.caFile, 'utf8');
    const own = new OwnControlPlane(
      { vaultCa, ...options, vaultAddress: options.vaultAddress ?? vault.address },
      folder,
    );
    await own.comeBack();
    return own;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async goAway(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  /** At the same address, with all that it remembered. */
  async comeBack(): Promise<void> {
    this.#server = await startControlPlane({
      port: this.#port,
      file: join(this.#folder, 'db'),
      operatorToken: this.operatorToken,
      onRefused: (line) => this.refused.push(line),
      ...this.#options,
    });
    this.#port = Number(new URL(this.#server.url).port);
  }

  async stop(): Promise<void> {
    await this.goAway();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A cluster of a test's own, with JWTs of the stack's Vault. */
export async function newCluster(
  vault: VaultService,
): Promise<{ readonly clusterId: string; readonly identity: Identity }> {
  const clusterId = `test-${ulid().toLowerCase()}`;
  const token = await tokenFor(vault, { clusterId });
  return { clusterId, identity: { token: () => Promise.resolve(token) } };
}

/** A JWT as Vault issues it to the login of a cluster, by a role of its own where anything about it is not as usual. */
export async function tokenFor(vault: VaultService, options: IdentityOptions): Promise<string> {
  const { clusterId, ...unusual } = options;
  const role = Object.keys(unusual).length > 0 ? `role-${clusterId}` : 'byoc-registration';
  const call = (method: 'GET' | 'POST', path: string, body?: object) => callVault(vault, method, path, body);
  const { roleId, secretId } = await prepareIdentity(call, { role, ...options });
  const login = await call('POST', 'auth/approle/login', { role_id: roleId, secret_id: secretId });
  const { auth } = login as { auth: { client_token: string } };
  const own = { ...vault, token: auth.client_token };
  const issued = await callVault(own, 'GET', `identity/oidc/token/${role}`);
  return (issued as { data: { token: string } }).data.token;
}

export function registrationOf(clusterId: string, more: Partial<Registration> = {}): Registration {
  return {
    clusterId,
    clusterUid: `uid-of-${clusterId}`.slice(0, 64),
    hostname: 'worker-0',
    labels: {},
    capabilities: { roles: ['registration'] },
    versions: VERSIONS,
    auditKeys: [],
    ...more,
  };
}

export function heartbeatOf(clusterId: string, more: Partial<Heartbeat> = {}): Heartbeat {
  const components: ComponentHealth[] = [];
  const alerts = { waiting: 0, dropped: 0 };
  return { clusterId, writer: 'worker-0', sentAt: AT, versions: VERSIONS, components, alerts, ...more };
}

export function alertSignal(clusterId: string, id: string): Signal {
  const alert = {
    id,
    type: 'package-denied',
    severity: 'warning',
    at: AT,
    writer: 'worker-0',
    summary: 'Denied.',
  } as const;
  return { clusterId, kind: 'alert', alert };
}

/** A server that answers as no control plane should: for faults that the real one cannot be made to show. */
export async function faultyServer(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const server = createServer((request, response) => {
    request.resume();
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // it listens on a port
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${port}`, stop };
}
