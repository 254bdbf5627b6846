import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { ApiStatusError } from '../../activities/kubernetes/api-status-error.ts';
import { applyingAccess } from '../../activities/kubernetes/applying-account.ts';
import type { KubeAccess } from '../../activities/kubernetes/credentials.ts';
import { createCredentialSource } from '../../activities/kubernetes/credentials.ts';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../../activities/kubernetes/kube-api.ts';
import { at } from '../../activities/kubernetes/kube-object.ts';
import { FreezeWatch } from '../../activities/kubernetes/freeze-watch.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { describeFreeze } from '../../domain/freeze.ts';
import { found, ok } from './check.ts';
import type { Check, CheckGroup, Told } from './check.ts';
import type { Evidence } from './evidence.ts';
import { noAnswer, shown } from './evidence.ts';
import type { Right, RightsOptions } from './kubernetes-rights.ts';
import { describeRight, forbiddenToPackages, neededRights } from './kubernetes-rights.ts';
import { certificateIn } from './certificates.ts';
import { jsonOf, probe } from './probe.ts';
import type { TlsMaterial } from './probe.ts';

export interface KubernetesOptions extends RightsOptions {
  /** Reads the kubeconfig; throws where there is none that can be used. */
  readonly access: () => Promise<KubeAccess>;
  /** Where a pod finds the name of its namespace. */
  readonly ownNamespaceFile: string;
  readonly evidence: Evidence;
  /** False before the first start: the worker makes its state itself, where it may. */
  readonly expectsWorker: boolean;
}

const CODES = { away: 'KUBERNETES_UNREACHABLE', certificate: 'KUBERNETES_CERTIFICATE' } as const;
/** The oldest minor version of 1.x that the chart installs on (`kubeVersion` in Chart.yaml). */
const OLDEST_MINOR = 31;
/** Longer than any check: what is still awaited then would hold up the closing, and with it every finding. */
const REQUEST_TIMEOUT_MS = 12_000;
const REVIEWS = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
const IDENTITIES = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
const ENFORCE = 'pod-security.kubernetes.io/enforce';

const versionSchema = z.object({ major: z.string(), minor: z.string(), gitVersion: z.string().max(64) });

export function kubernetesChecks(options: KubernetesOptions): CheckGroup {
  const { clusterId, stateNamespace, applyAccount, evidence, expectsWorker } = options;
  const rights = neededRights(options);
  const isExecuting = options.roles.includes('execution');
  let base: KubeAccess | undefined;
  let opened: KubeApi | undefined;
  const api = () => {
    if (!opened) throw new Error('not connected'); // whatever asks needs the first check
    return opened;
  };
  const later = (name: string, run: Check['run']): Check => ({ name, needs: ['kubernetes'], run });
  return {
    checks: [
      {
        name: 'kubernetes',
        async run(signal) {
          try {
            base = await options.access();
            const source = createCredentialSource(base);
            opened = createKubeApi(base, { connections: 8, requestTimeoutMs: REQUEST_TIMEOUT_MS });
            const { tls, headers } = await source.current();
            const mine = certificateIn(tls.cert);
            if (mine) evidence.certificates.set('kubernetes client', mine);
            const url = `${source.server.replace(/\/+$/, '')}/version`;
            const probed = await probe(url, { signal, tls: tls as TlsMaterial, headers });
            const where = `The API server at ${shown(source.server)}`;
            if ('trouble' in probed) return [noAnswer(probed.trouble, CODES, where)];
            evidence.take('kubernetes', probed.answer);
            return [judgeVersion(probed.answer.status, probed.answer.text, where)];
          } catch (error) {
            return [
              found(
                'KUBERNETES_SETTINGS',
                error instanceof ConnectorError ? error.detail : 'The kubeconfig cannot be read.',
              ),
            ];
          }
        },
      },
      later('kubernetes.rights', async (signal) => {
        const who = await accountOf(api(), signal);
        const answers = await Promise.all(
          rights.map(async (right) => ({ right, allowed: await isAllowed(api(), right, signal) })),
        );
        const refused = answers.filter(({ allowed }) => !allowed);
        if (refused.length === 0) return [ok(`${who} has all ${rights.length} rights that it needs.`)];
        return refused.map(({ right }) => found('KUBERNETES_RIGHT_MISSING', `${who} may not ${describeRight(right)}.`));
      }),
      ...(isExecuting
        ? [
            {
              ...later('kubernetes.apply-account', async (signal) => {
                if (!base || !applyAccount)
                  return [
                    found('APPLY_ACCOUNT_SHARED', 'Packages are applied with the account of the connector itself.'),
                  ];
                return judgeApplyAccount(api(), base, { ...options, applyAccount }, signal);
              }),
              needs: ['kubernetes', 'kubernetes.rights'],
            },
          ]
        : []),
      later('kubernetes.pod-security', async (signal) => [
        await judgePodSecurity(api(), options.ownNamespaceFile, signal),
      ]),
      ...(expectsWorker
        ? [
            later('kubernetes.state', async (signal) => [await judgeState(api(), stateNamespace, signal)]),
            {
              ...later('freeze', async () => [await judgeFreeze(api(), clusterId, stateNamespace)]),
              needs: ['kubernetes', 'kubernetes.state'],
            },
          ]
        : []),
    ],
    async close() {
      await opened?.close();
    },
  };
}

function judgeVersion(status: number, text: string, where: string): Told {
  if (status === 401) return found('KUBERNETES_DENIED', `${where} does not accept the credentials.`);
  const version = versionSchema.safeParse(jsonOf(text)).data;
  // Who may not ask for the version may still do its work.
  if (!version)
    return status === 403 ? ok(`${where} answers.`) : found('KUBERNETES_UNREACHABLE', `${where} answered ${status}.`);
  const { major, minor, gitVersion } = version;
  if (Number(major) === 1 && Number.parseInt(minor) < OLDEST_MINOR) {
    return found('KUBERNETES_OLD', `${where} is of version ${gitVersion}.`);
  }
  return ok(`${where} answers (${gitVersion}).`);
}

/** Asked as a dry run: the API server judges, and there is nothing that it could keep. */
async function isAllowed(
  api: KubeApi,
  { namespace, group, resource, subresource, verb, name }: Right,
  signal: AbortSignal,
): Promise<boolean> {
  const resourceAttributes = {
    group,
    resource,
    verb,
    ...(namespace && { namespace }),
    ...(subresource && { subresource }),
    ...(name && { name }),
  };
  const review = await askAboutSelf(api, REVIEWS, 'SelfSubjectAccessReview', { resourceAttributes }, signal);
  return at(review, 'status', 'allowed') === true;
}

/** With a token as packages are applied with: it lives for minutes, and nothing keeps it. */
async function judgeApplyAccount(
  api: KubeApi,
  base: KubeAccess,
  options: RightsOptions & { readonly applyAccount: NonNullable<RightsOptions['applyAccount']> },
  signal: AbortSignal,
): Promise<Told[]> {
  const account = options.applyAccount;
  const name = `${account.namespace}/${account.name}`;
  const nothing = () => undefined;
  const access = applyingAccess({ api, base, account, onIssued: () => Promise.resolve(), onTrouble: nothing });
  const applying = createKubeApi(access, { connections: 4, requestTimeoutMs: REQUEST_TIMEOUT_MS });
  try {
    const rights = forbiddenToPackages(options);
    const answers = await Promise.all(
      rights.map(async (right) => ({ right, allowed: await isAllowed(applying, right, signal) })),
    );
    const excess = answers.filter(({ allowed }) => allowed);
    if (excess.length === 0) return [ok(`${name} gives tokens, and may change nothing where the connector lives.`)];
    return excess.map(({ right }) => found('APPLY_ACCOUNT_EXCESS', `${name} may ${describeRight(right)}.`));
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    return [found('APPLY_ACCOUNT_UNUSABLE', error.detail || `There is no token of ${name}.`)];
  } finally {
    await applying.close();
  }
}

/** Who this account is; it may be one that may not even ask that. */
async function accountOf(api: KubeApi, signal: AbortSignal): Promise<string> {
  const review = await askAboutSelf(api, IDENTITIES, 'SelfSubjectReview', undefined, signal);
  const name = at(review, 'status', 'userInfo', 'username');
  return typeof name === 'string' ? name : 'this account';
}

/** @returns undefined where it may not ask */
async function askAboutSelf(
  api: KubeApi,
  path: string,
  kind: string,
  spec: object | undefined,
  signal: AbortSignal,
): Promise<unknown> {
  const [, , group = '', version = ''] = path.split('/');
  const body = JSON.stringify({ apiVersion: `${group}/${version}`, kind, ...(spec && { spec }) });
  const call = { method: 'POST', path, query: {}, contentType: 'application/json', body } as const;
  try {
    return await api.dryRun(call, signal);
  } catch (error) {
    if (error instanceof ApiStatusError && (error.status === 403 || error.status === 404)) return undefined;
    throw error;
  }
}

async function judgeState(api: KubeApi, name: string, signal: AbortSignal): Promise<Told> {
  try {
    const namespace = await api.get(`/api/v1/namespaces/${name}`, signal);
    if (!namespace) return found('STATE_NAMESPACE_MISSING', `There is no namespace ${name}.`);
    if (at(namespace, 'status', 'phase') === 'Terminating')
      return found('STATE_NAMESPACE_MISSING', `The namespace ${name} is being deleted.`);
    return ok(`The namespace ${name} is there.`);
  } catch (error) {
    // Its own account may read what is in it and not the namespace itself.
    if (error instanceof ConnectorError && error.code === 'KUBERNETES_FORBIDDEN')
      return ok(`${name} is not looked at: the account may not.`);
    throw error;
  }
}

async function judgeFreeze(api: KubeApi, clusterId: string, namespace: string): Promise<Told> {
  let trouble: unknown;
  const watch = new FreezeWatch({
    api,
    clusterId,
    namespace,
    onVersion: () => undefined,
    onReadable: (_, error) => (trouble = error),
    now: () => new Date(),
  });
  await watch.look();
  const freeze = watch.state();
  switch (freeze.state) {
    case 'open':
      return ok('Execution is not frozen.');
    case 'unknown': {
      const isForbidden = trouble instanceof ConnectorError && trouble.code === 'KUBERNETES_FORBIDDEN';
      return isForbidden
        ? found('KUBERNETES_RIGHT_MISSING', 'The account may not read the freeze, so nothing would be written.')
        : found('KUBERNETES_UNREACHABLE', 'The freeze cannot be read at the moment.');
    }
    case 'frozen':
      if (freeze.how === 'missing')
        return found('FREEZE_MISSING', 'The object that says whether execution is frozen is gone.');
      return found('FROZEN', `Execution is frozen${describeFreeze(freeze).replace(/^since \S+/, '')}.`);
  }
}

/** Of the namespace that this pod runs in; where it is no pod there is nothing to ask. */
async function judgePodSecurity(api: KubeApi, file: string, signal: AbortSignal): Promise<Told> {
  const name = await readFile(file, 'utf8').catch(() => undefined);
  if (!name) return ok('This is no pod, so no Pod Security applies to it.');
  try {
    const level = at(await api.get(`/api/v1/namespaces/${name.trim()}`, signal), 'metadata', 'labels', ENFORCE);
    if (level === 'restricted') return ok(`Pod Security of ${name.trim()} is restricted.`);
    return found(
      'POD_SECURITY_WEAK',
      `Pod Security of ${name.trim()} is ${typeof level === 'string' ? level : 'not enforced'}.`,
    );
  } catch (error) {
    if (error instanceof ConnectorError && error.code === 'KUBERNETES_FORBIDDEN')
      return ok(`Not looked at: the account may not read the namespace ${name.trim()}.`);
    throw error;
  }
}
