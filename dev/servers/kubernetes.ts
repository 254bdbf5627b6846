import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { stringify } from 'yaml';

import type { Host } from '../host.ts';
import { get } from './https.ts';
import { startKwok } from './kwok.ts';

export interface KubernetesService {
  /** URL of the API server. */
  readonly server: string;
  /** A kubeconfig file for an administrator. */
  readonly kubeconfig: string;
  readonly context: string;
  /** PEM file of the authority that the API server's certificate is verified against. */
  readonly caFile: string;
  /** Path of the `kubectl` command. */
  readonly kubectl: string;
}

/** A user of the API server with a token of their own, as `--token-auth-file` lists them. */
interface User {
  readonly name: string;
  readonly groups: readonly string[];
  readonly token: string;
}

const CONTEXT = 'byoc-dev';
const SERVICE_CIDR = '10.96.0.0/16';

/**
 * Starts a Kubernetes control plane with two nodes on which pods run as far as the API can tell (kwok).
 * @param requestLog a file in which the API server notes each write that it receives
 */
export async function startKubernetes(host: Host, requestLog?: string): Promise<KubernetesService> {
  const kubectl = await host.find('kubectl');
  const folder = host.folderOf('kubernetes');
  await mkdir(folder, { recursive: true });

  const user = (name: string, ...groups: string[]): User => ({ name, groups, token: randomBytes(24).toString('hex') });
  const admin = user('admin', 'system:masters');
  const controllerManager = user('system:kube-controller-manager');
  const scheduler = user('system:kube-scheduler');
  const kwok = user('kwok', 'system:masters');

  const etcd = await startEtcd(host);
  const { server, caFile } = await startApiServer(
    host,
    folder,
    etcd,
    [admin, controllerManager, scheduler, kwok],
    requestLog,
  );
  const ca = await readFile(caFile, 'utf8');
  const kubeconfigOf = (who: User) => writeKubeconfig(folder, who, server, ca);
  await Promise.all([
    startControllerManager(host, folder, await kubeconfigOf(controllerManager)),
    startScheduler(host, folder, await kubeconfigOf(scheduler)),
    startKwok(host, await kubeconfigOf(kwok), { server, ca, token: kwok.token }),
  ]);
  return { server, kubeconfig: await kubeconfigOf(admin), context: CONTEXT, caFile, kubectl };
}

async function startEtcd(host: Host): Promise<string> {
  const { client } = await host.withPorts(['client', 'peer'], ({ client, peer }) =>
    host.start({
      name: 'etcd',
      args: [
        `--data-dir=${host.folderOf('etcd')}`,
        ...[`--listen-client-urls=http://127.0.0.1:${client}`, `--advertise-client-urls=http://127.0.0.1:${client}`],
        ...[`--listen-peer-urls=http://127.0.0.1:${peer}`, `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`],
        `--initial-cluster=default=http://127.0.0.1:${peer}`,
        // A development cluster may lose its last moments when the machine does.
        '--unsafe-no-fsync',
        '--log-level=warn',
      ],
      healthy: async () => (await fetch(`http://127.0.0.1:${client}/health`)).ok,
    }),
  );
  return `http://127.0.0.1:${client}`;
}

async function startApiServer(
  host: Host,
  folder: string,
  etcd: string,
  users: readonly User[],
  requestLog: string | undefined,
): Promise<{ server: string; caFile: string }> {
  const tokens = join(folder, 'tokens.csv');
  const lines = users.map(({ name, groups, token }) => `${token},${name},${name},"${groups.join(',')}"`);
  await writeFile(tokens, `${lines.join('\n')}\n`, { mode: 0o600 });
  const key = await serviceAccountKey(folder);
  const logging = requestLog === undefined ? [] : await logRequests(folder, requestLog);
  const certificates = join(folder, 'apiserver');
  // The server signs its certificate itself when it has none and writes its authority behind it.
  const caFile = join(certificates, 'apiserver.crt');

  const { api } = await host.withPorts(['api'], ({ api }) => {
    const server = `https://127.0.0.1:${api}`;
    return host.start({
      name: 'kube-apiserver',
      args: [
        ...[`--etcd-servers=${etcd}`, '--bind-address=127.0.0.1', `--secure-port=${api}`, `--cert-dir=${certificates}`],
        // Nothing inside the cluster calls the API server through its service, and endpoints can't be on loopback.
        ...['--advertise-address=127.0.0.1', '--endpoint-reconciler-type=none'],
        ...[`--service-account-key-file=${key}`, `--service-account-signing-key-file=${key}`],
        ...['--service-account-issuer=https://kubernetes.default.svc', `--service-cluster-ip-range=${SERVICE_CIDR}`],
        ...[`--token-auth-file=${tokens}`, '--authorization-mode=RBAC', '--allow-privileged=true', '--profiling=false'],
        ...logging,
      ],
      healthy: () => isReady({ server, caFile }),
    });
  });
  return { server: `https://127.0.0.1:${api}`, caFile };
}

/** Who writes what when, by the server's own clock; without the bodies. */
async function logRequests(folder: string, requestLog: string): Promise<string[]> {
  const file = join(folder, 'audit-policy.yaml');
  const writes = { level: 'Metadata', verbs: ['create', 'update', 'patch', 'delete'] };
  const policy = { apiVersion: 'audit.k8s.io/v1', kind: 'Policy', rules: [writes, { level: 'None' }] };
  await writeFile(file, stringify(policy));
  // Else it begins anew after 100 MB, and whoever reads along loses its place.
  return [`--audit-policy-file=${file}`, `--audit-log-path=${requestLog}`, '--audit-log-maxsize=10000'];
}

/** Whether the API server says of itself that it is ready. */
export async function isReady({ server, caFile }: Pick<KubernetesService, 'server' | 'caFile'>): Promise<boolean> {
  return (await get(`${server}/readyz`, { ca: await readFile(caFile, 'utf8') })).ok;
}

async function startControllerManager(host: Host, folder: string, kubeconfig: string): Promise<void> {
  await startController(host, folder, 'kube-controller-manager', [
    ...[`--kubeconfig=${kubeconfig}`, '--use-service-account-credentials=true'],
    // Each controller asks for an account of its own at the start; the default rate makes that take five seconds.
    ...['--kube-api-qps=500', '--kube-api-burst=500'],
    `--service-account-private-key-file=${await serviceAccountKey(folder)}`,
    // Addresses of pods are kwok's affair.
    '--controllers=*,-node-ipam-controller',
  ]);
}

async function startScheduler(host: Host, folder: string, kubeconfig: string): Promise<void> {
  await startController(host, folder, 'kube-scheduler', [`--kubeconfig=${kubeconfig}`]);
}

async function startController(
  host: Host,
  folder: string,
  name: 'kube-controller-manager' | 'kube-scheduler',
  args: readonly string[],
): Promise<void> {
  const certificates = join(folder, name);
  await host.withPorts(['https'], ({ https }) =>
    host.start({
      name,
      args: [
        ...[...args, '--leader-elect=false', '--profiling=false'],
        ...['--bind-address=127.0.0.1', `--secure-port=${https}`, `--cert-dir=${certificates}`],
      ],
      healthy: async () => {
        const ca = await readFile(join(certificates, `${name}.crt`), 'utf8');
        return (await get(`https://127.0.0.1:${https}/healthz`, { ca })).ok;
      },
    }),
  );
}

/** The key that signs service account tokens, kept so that tokens outlive a restart. */
async function serviceAccountKey(folder: string): Promise<string> {
  const file = join(folder, 'service-account.key');
  if (!existsSync(file)) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    await writeFile(file, privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 });
  }
  return file;
}

async function writeKubeconfig(folder: string, user: User, server: string, ca: string): Promise<string> {
  const file = join(folder, `${user.name.replace('system:', '')}.kubeconfig`);
  const cluster = { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: CONTEXT, cluster }],
    users: [{ name: user.name, user: { token: user.token } }],
    contexts: [{ name: CONTEXT, context: { cluster: CONTEXT, user: user.name } }],
    'current-context': CONTEXT,
  };
  await writeFile(file, stringify(config), { mode: 0o600 });
  return file;
}
