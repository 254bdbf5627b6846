import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { generateKeyPair } from '../client/sign.ts';
import type { ConnectorServices } from './environment.ts';
import { DEV_CLUSTER, environmentOf } from './environment.ts';
import { Program, untilHealthy } from './process.ts';
import type { ControlPlaneService } from './servers/control-plane.ts';
import { post } from './servers/https.ts';
import type { Services } from './stack.ts';
import { makeVaultLogins, vaultLoginSettings } from './vault-logins.ts';

export interface ConnectorOptions {
  readonly services: ConnectorServices;
  /** Where keys, policy, audit log and the worker's log are kept. */
  readonly folder: string;
  readonly clusterId?: string;
  /** Whether the audit log of an earlier start goes on, as its bucket does. */
  readonly keep?: boolean;
  /** More or other settings of the worker. */
  readonly env?: Record<string, string>;
  /** The control plane to register with; none where it is left out. */
  readonly controlPlane?: ControlPlaneService;
  /** What the policy file holds besides accepting asserted votes, as YAML. */
  readonly policy?: string;
}

/** A connector that is ready to work for a stack, but whose worker does not run yet. */
export interface PreparedConnector {
  readonly clusterId: string;
  readonly folder: string;
  readonly auditDir: string;
  readonly policyPath: string;
  /** Development key: its public half is in the stack's Vault. */
  readonly privateKeyPem: string;
  readonly publicKeyPath: string;
  /** Private key of a development approver, `DEV_APPROVER`; its public half is in the stack's Vault too. */
  readonly approverKeyPath: string;
  /** All settings of the worker. */
  readonly env: Record<string, string>;
}

const START_TIMEOUT_MS = 30_000;

/** Who votes with the development approver's key. */
export const DEV_APPROVER = { identity: 'bob@example.com', groups: ['sre'] } as const;

/** Where the connector of a stack keeps its things. */
export function connectorFolder(stateDir: string): string {
  return join(stateDir, 'connector');
}

/** Makes what an installation has: a trusted key and an approver's in Vault, a policy, a place for the audit log. */
export async function prepareConnector(options: ConnectorOptions): Promise<PreparedConnector> {
  const { services, folder, clusterId = DEV_CLUSTER } = options;
  const files = filesIn(folder);
  // What an earlier stack left would contradict this one: its audit log is in a bucket that is gone.
  if (!options.keep) await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { privateKeyPem, publicKeyPem } = generateKeyPair();
  await writeFile(files.publicKey, publicKeyPem);
  await writeFile(files.privateKey, privateKeyPem, { mode: 0o600 });
  await makeVaultLogins(services.vault, clusterId, files.vaultLogins);
  await trustKey(services, clusterId, 'development', publicKeyPem);
  const approver = generateKeyPair();
  await writeFile(files.approverKey, approver.privateKeyPem, { mode: 0o600 });
  await trustApprover(services, clusterId, 'development', { pem: approver.publicKeyPem, ...DEV_APPROVER });
  await writeFile(files.policy, options.policy ?? DEV_POLICY);
  return prepared(options, privateKeyPem);
}

/** Finds the connector that a stack was started with. */
export async function existingConnector(options: ConnectorOptions): Promise<PreparedConnector> {
  return prepared(options, await readFile(filesIn(options.folder).privateKey, 'utf8'));
}

/** The development key of a connector. */
export function privateKeyFile(folder: string): string {
  return filesIn(folder).privateKey;
}

function filesIn(folder: string) {
  return {
    publicKey: join(folder, 'signing-key.pub'),
    privateKey: join(folder, 'signing-key.pem'),
    approverKey: join(folder, 'approver-key.pem'),
    policy: join(folder, 'policy.yaml'),
    vaultLogins: join(folder, 'vault'),
    data: join(folder, 'data'),
  };
}

/** The settings by which the connector finds the control plane. */
function linkSettings({ controlPlane }: ConnectorOptions): Record<string, string> {
  if (!controlPlane) return {};
  return { CONTROL_PLANE_URL: controlPlane.url, BYOC_CONTROL_PLANE_CA: controlPlane.caFile };
}

async function prepared(options: ConnectorOptions, privateKeyPem: string): Promise<PreparedConnector> {
  const { services, folder, clusterId = DEV_CLUSTER, env } = options;
  const files = filesIn(folder);
  const found = environmentOf(services);
  delete found['VAULT_TOKEN']; // root's, which no worker ever has
  return {
    clusterId,
    folder,
    auditDir: join(files.data, 'audit'),
    policyPath: files.policy,
    privateKeyPem,
    publicKeyPath: files.publicKey,
    approverKeyPath: files.approverKey,
    env: {
      ...found,
      ...(await vaultLoginSettings(services.vault, files.vaultLogins)),
      BYOC_CLUSTER_ID: clusterId,
      BYOC_DATA_DIR: files.data,
      BYOC_POLICY: files.policy,
      BYOC_WRITER: 'worker-0',
      ...linkSettings(options),
      ...env,
    },
  };
}

/** Puts a public key where the connector of the cluster looks for those it trusts. */
export async function trustKey(services: VaultServices, clusterId: string, name: string, pem: string): Promise<void> {
  await putSecret(services, `byoc/${clusterId}/signing-keys/${name}`, { pem });
}

/** Puts an approver's public key where the connector of the cluster looks for those whose votes it counts. */
export async function trustApprover(
  services: VaultServices,
  clusterId: string,
  name: string,
  approver: { readonly pem: string; readonly identity: string; readonly groups: readonly string[] },
): Promise<void> {
  await putSecret(services, `byoc/${clusterId}/approvers/${name}`, approver);
}

type VaultServices = Pick<Services, 'vault'>;

async function putSecret({ vault }: VaultServices, path: string, data: object): Promise<void> {
  const { address, caFile, token } = vault;
  const options = { ca: await readFile(caFile, 'utf8'), token };
  const { ok, status } = await post(`${address}/v1/secret/data/${path}`, { data }, options);
  if (!ok) throw new Error(`Vault answered ${status} when a key was stored`);
}

/** Starts the worker as a process of its own, as a pod would run it, and resolves when it is ready. */
export async function startWorker({ env, folder }: PreparedConnector, signal?: AbortSignal): Promise<Program> {
  const entry = join(import.meta.dirname, '..', 'worker', `main${extname(import.meta.filename)}`);
  const program = new Program({
    name: 'worker',
    command: process.execPath,
    args: [entry],
    env: { PATH: '/usr/bin:/bin', HOME: folder, ...env },
    logFile: join(folder, 'worker.log'),
  });
  const isReady = () => Promise.resolve(program.output().includes('"message":"ready"'));
  try {
    await untilHealthy(program, isReady, { timeoutMs: START_TIMEOUT_MS, signal });
  } catch (error) {
    await program.kill();
    throw error;
  }
  return program;
}

/** In development a bare signal counts: there is nobody here whose identity could be proven. */
export const DEV_POLICY = `# Policy of the embedded development stack.
apiVersion: neuralops.io/v1
kind: Policy
approvals:
  acceptAsserted: true
`;
