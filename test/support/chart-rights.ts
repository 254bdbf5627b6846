import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ulid } from 'ulid';
import { Agent, request } from 'undici';
import { stringify } from 'yaml';
import { findProgram } from '../../dev/programs.ts';
import type { Services } from '../../dev/stack.ts';
import { devSettings } from '../../dev/settings.ts';

/** The accounts of the chart. */
export const ACCOUNTS = ['registration', 'metrics', 'execution', 'apply'] as const;
export type Account = (typeof ACCOUNTS)[number];

const CHART = join(import.meta.dirname, '../../helm/connector');
/** Rendered alone: the rest of the chart wants values that say nothing about rights. */
const FILES = [
  ...['Chart.yaml', 'values.yaml', 'templates/_helpers.tpl', 'templates/rbac-accounts.yaml'],
  ...['registration', 'metrics', 'execution', 'apply'].map((name) => `templates/rbac-${name}.yaml`),
];

export interface RightsValues {
  readonly clusterId: string;
  /** Where packages may write. */
  readonly namespaces: readonly string[];
  readonly stateNamespace: string;
  /** More values of the chart. */
  readonly values?: Readonly<Record<string, unknown>>;
}

/** What the chart's templates of rights make, as YAML. Rejects with what helm says. */
export async function renderRights(
  { release, namespace }: { readonly release: string; readonly namespace: string },
  { values, ...own }: RightsValues,
): Promise<string> {
  const context = { settings: devSettings(process.env), onProgress: () => undefined, signal: undefined };
  const helm = await findProgram('helm', context);
  const folder = await mkdtemp(join(tmpdir(), 'byoc-rights-'));
  try {
    for (const file of FILES) {
      await mkdir(dirname(join(folder, file)), { recursive: true });
      await copyFile(join(CHART, file), join(folder, file));
    }
    await writeFile(join(folder, 'own.yaml'), stringify({ ...own, ...values }));
    const args = ['template', release, folder, '-n', namespace, '-f', join(folder, 'own.yaml')];
    const { stdout } = await promisify(execFile)(helm, args, { env: { PATH: '/usr/bin:/bin', HOME: folder } });
    return stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The chart's rights, installed in an API server, and a token of each account, as a pod would have it. */
export interface InstalledRights {
  /** Where the accounts are. */
  readonly namespace: string;
  readonly stateNamespace: string;
  nameOf(account: Account): string;
  tokenOf(account: Account): Promise<string>;
  /** The settings of a process that runs as an account, in a pod as far as it can tell. */
  settingsOf(account: Account): Promise<Record<string, string>>;
  /** Sends a request as an account; resolves to the status of the answer. */
  callAs(account: Account, call: Call): Promise<number>;
  remove(): Promise<void>;
}

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** JSON; a patch is a merge patch. */
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

interface KubectlResult {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Applies the rendered rights as an administrator does, in namespaces of their own.
 * @param folder for the tokens
 */
export async function installRights(
  { kubernetes }: Pick<Services, 'kubernetes'>,
  folder: string,
  { clusterId, namespaces, values }: Omit<RightsValues, 'stateNamespace'>,
): Promise<InstalledRights> {
  const id = ulid().toLowerCase();
  // At most 40 characters of it make the names of its objects.
  const release = `connector-${id}`;
  const namespace = `byoc-${id}`;
  const stateNamespace = `byoc-state-${id}`;
  const nameOf = (account: Account) => `${release}-${account}`;
  const admin = (args: readonly string[], input?: string) =>
    kubectl(kubernetes.kubectl, ['--kubeconfig', kubernetes.kubeconfig, ...args], input);
  const asAdmin = async (args: readonly string[], input?: string) => {
    const { ok, stdout, stderr } = await admin(args, input);
    if (!ok) throw new Error(stderr);
    return stdout;
  };
  for (const name of [namespace, stateNamespace]) await asAdmin(['create', 'namespace', name]);
  const rights = { clusterId, namespaces, stateNamespace, ...(values && { values }) };
  const manifests = await renderRights({ release, namespace }, rights);
  await asAdmin(['apply', '-f', '-'], manifests);
  const tokenOf = async (account: Account) =>
    (await asAdmin(['create', 'token', nameOf(account), '-n', namespace, '--duration=1h'])).trim();
  const tokens = new Map<Account, Promise<string>>();
  const tokenFor = (account: Account) => {
    const token = tokens.get(account) ?? tokenOf(account);
    tokens.set(account, token);
    return token;
  };
  const { hostname, port } = new URL(kubernetes.server);
  const dispatcher = new Agent({ connect: { ca: await readFile(kubernetes.caFile) }, connections: 8 });
  return {
    namespace,
    stateNamespace,
    nameOf,
    tokenOf,
    async settingsOf(account) {
      const pod = join(folder, 'accounts', account);
      await mkdir(pod, { recursive: true });
      await writeFile(join(pod, 'token'), await tokenOf(account), { mode: 0o600 });
      await writeFile(join(pod, 'ca.crt'), await readFile(kubernetes.caFile));
      return {
        KUBECONFIG: '',
        KUBERNETES_SERVICE_HOST: hostname,
        KUBERNETES_SERVICE_PORT: port,
        BYOC_KUBE_ACCOUNT_DIR: pod,
        BYOC_STATE_NAMESPACE: stateNamespace,
        BYOC_HEADS_NAMESPACE: namespace,
        ...(account === 'execution' && { BYOC_APPLY_SERVICE_ACCOUNT: `${namespace}/${nameOf('apply')}` }),
      };
    },
    async callAs(account, { method, path, body, headers }) {
      const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
      const { statusCode, body: answer } = await request(`${kubernetes.server}${path}`, {
        method,
        dispatcher,
        headers: { authorization: `Bearer ${await tokenFor(account)}`, 'content-type': type, ...headers },
        ...(body && { body: JSON.stringify(body) }),
      });
      await answer.dump();
      return statusCode;
    },
    async remove() {
      await dispatcher.close();
      const labels = ['-l', `app.kubernetes.io/instance=${release}`];
      for (const one of [namespace, stateNamespace]) await admin(['delete', 'namespace', one, '--wait=false']);
      const inKubeSystem = ['delete', 'role,rolebinding', '-n', 'kube-system', ...labels];
      await admin(inKubeSystem);
      await admin(['delete', 'clusterrole,clusterrolebinding', ...labels]);
    },
  };
}

function kubectl(command: string, args: readonly string[], input?: string): Promise<KubectlResult> {
  return new Promise((resolve) => {
    const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent' };
    const child = execFile(command, [...args], { env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) =>
      resolve({ ok: !error, stdout, stderr }),
    );
    child.stdin?.end(input);
  });
}
