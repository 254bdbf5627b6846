import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { forEachLimited } from '../../../activities/kubernetes/concurrency.ts';
import type { Services } from '../../../dev/stack.ts';
import type { Account, Call, InstalledRights } from '../../support/chart-rights.ts';
import { ACCOUNTS, installRights, renderRights } from '../../support/chart-rights.ts';
import { sharedServices } from '../../support/stack.ts';
import { callKubernetes } from '../../support/kubernetes-admin.ts';

// R7, R16, R22

const CLUSTER = 'rights';
const RELEASE = { release: 'connector', namespace: 'RELEASE' };
const DOCUMENT = join(import.meta.dirname, '../../../docs/roles.md');

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** One right as the table of docs/roles.md has it. */
interface Right {
  readonly account: string;
  readonly namespace: string;
  readonly resource: string;
  readonly verbs: string;
}

interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly name: string };
  readonly subjects?: readonly { readonly name: string; readonly namespace: string }[];
}

async function render(values: object): Promise<Rendered[]> {
  const rights = { clusterId: CLUSTER, namespaces: ['shop'], stateNamespace: 'STATE', values: { ...values } };
  const documents = parseAllDocuments(await renderRights(RELEASE, rights));
  return documents.map((document) => document.toJSON() as Rendered | null).filter((one) => one !== null);
}

function rightsIn(rendered: readonly Rendered[]): Right[] {
  return rendered.flatMap(({ metadata, rules = [] }) =>
    rules.flatMap(({ resources, resourceNames = [''], verbs }) =>
      resources.flatMap((resource) =>
        resourceNames.map((name) => ({
          account: metadata.name.replace('connector-', ''),
          namespace: metadata.namespace ?? '*',
          resource: name === '' ? resource : `${resource}/${name}`,
          verbs: verbs.join(' '),
        })),
      ),
    ),
  );
}

const inOrder = (rights: readonly Right[]) => rights.map((right) => JSON.stringify(right)).sort();

describe('the rights in the chart', () => {
  it('are those of the table in docs/roles.md', async () => {
    const lines = (await readFile(DOCUMENT, 'utf8')).split('\n');
    const documented = lines.flatMap((line) => {
      const [, account, namespace, resource, verbs] =
        /^\| (\w+) \| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|/.exec(line) ?? [];
      return account && namespace && resource && verbs ? [{ account, namespace, resource, verbs }] : [];
    });
    const rendered = rightsIn(await render({ rbac: { clusterScope: true } }));
    expect(inOrder(documented)).toEqual(inOrder(rendered.filter(({ account }) => account !== 'apply')));
  });

  it('hold in namespaces only, unless a value says otherwise', async () => {
    const kinds = new Set((await render({})).map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual(['Role', 'RoleBinding', 'ServiceAccount']);
  });

  it('bind each account to its own rights and to no other', async () => {
    const bindings = (await render({ rbac: { clusterScope: true } })).filter(({ kind }) => kind.endsWith('Binding'));
    for (const { metadata, roleRef, subjects } of bindings) {
      expect(roleRef?.name).toBe(metadata.name);
      expect(subjects).toEqual([{ kind: 'ServiceAccount', name: metadata.name, namespace: 'RELEASE' }]);
    }
    expect(bindings.length).toBeGreaterThan(6);
  });

  it('are not made where the customer makes them', async () => {
    const kinds = new Set((await render({ rbac: { create: false } })).map(({ kind }) => kind));
    expect([...kinds]).toEqual(['ServiceAccount']);
  });

  it.each<[string, object, string]>([
    ['where the connector lives', { namespaces: ['RELEASE'] }, 'namespaces must not hold RELEASE'],
    ['where its state is', { namespaces: ['STATE'] }, 'namespaces must not hold STATE'],
    ['where Kubernetes itself lives', { namespaces: ['kube-system'] }, 'namespaces must not hold kube-system'],
    [
      'in the whole cluster without saying so',
      { apply: { clusterRules: [{ apiGroups: [''], resources: ['nodes'], verbs: ['patch'] }] } },
      'set rbac.clusterScope to true',
    ],
    [
      'to Secrets of the whole cluster',
      {
        rbac: { clusterScope: true },
        apply: { clusterRules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'] }] },
      },
      'apply.clusterRules must not hold secrets',
    ],
    [
      'to make pods in the whole cluster, which could run as the connector',
      {
        rbac: { clusterScope: true },
        apply: { clusterRules: [{ apiGroups: [''], resources: ['pods'], verbs: ['list', 'create'] }] },
      },
      'apply.clusterRules must not create pods',
    ],
    [
      'to change Deployments of the whole cluster, the connector among them',
      {
        rbac: { clusterScope: true },
        apply: { clusterRules: [{ apiGroups: ['apps'], resources: ['deployments'], verbs: ['get', 'patch'] }] },
      },
      'apply.clusterRules must not patch deployments',
    ],
    [
      'to be somebody else',
      {
        rbac: { clusterScope: true },
        apply: { clusterRules: [{ apiGroups: [''], resources: ['things'], verbs: ['impersonate'] }] },
      },
      'apply.clusterRules must not hold the verb impersonate',
    ],
  ])('cannot be given to packages %s', async (_, values, message) => {
    await expect(render(values)).rejects.toThrow(message);
  });
});

const NAMESPACED = {
  '/api/v1': ['configmaps', 'secrets', 'pods', 'services', 'serviceaccounts', 'events', 'persistentvolumeclaims'],
  '/apis/apps/v1': ['deployments', 'daemonsets', 'statefulsets'],
  '/apis/batch/v1': ['jobs'],
  '/apis/coordination.k8s.io/v1': ['leases'],
  '/apis/rbac.authorization.k8s.io/v1': ['roles', 'rolebindings'],
  '/apis/networking.k8s.io/v1': ['networkpolicies'],
} as const;
const CLUSTER_SCOPED = {
  '/api/v1': ['nodes', 'namespaces', 'persistentvolumes'],
  '/apis/rbac.authorization.k8s.io/v1': ['clusterroles', 'clusterrolebindings'],
  '/apis/apiextensions.k8s.io/v1': ['customresourcedefinitions'],
  '/apis/admissionregistration.k8s.io/v1': ['validatingwebhookconfigurations', 'mutatingwebhookconfigurations'],
  '/apis/certificates.k8s.io/v1': ['certificatesigningrequests'],
} as const;

/** What each verb is in HTTP; nothing is kept of what is let through. */
const VERBS: Readonly<Record<string, (collection: string) => Call>> = {
  get: (collection) => ({ method: 'GET', path: `${collection}/some` }),
  list: (collection) => ({ method: 'GET', path: `${collection}?limit=1` }),
  watch: (collection) => ({ method: 'GET', path: `${collection}?watch=true&timeoutSeconds=1` }),
  create: (collection) => ({ method: 'POST', path: `${collection}?dryRun=All`, body: {} }),
  update: (collection) => ({ method: 'PUT', path: `${collection}/some?dryRun=All`, body: {} }),
  patch: (collection) => ({ method: 'PATCH', path: `${collection}/some?dryRun=All`, body: {} }),
  delete: (collection) => ({ method: 'DELETE', path: `${collection}/some?dryRun=All` }),
  deletecollection: (collection) => ({ method: 'DELETE', path: `${collection}?dryRun=All&labelSelector=none=none` }),
};

/** The rights that hold for whatever name, by account, namespace and resource. */
function mayOf(rendered: readonly Rendered[], nameOf: (account: Account) => string) {
  const may = new Set<string>();
  for (const { metadata, rules = [] } of rendered) {
    for (const account of ACCOUNTS.filter((one) => nameOf(one) === metadata.name)) {
      for (const { resources, resourceNames, verbs } of rules) {
        if (resourceNames) continue;
        for (const resource of resources)
          for (const verb of verbs) may.add(`${account} ${verb} ${resource} ${metadata.namespace ?? ''}`);
      }
    }
  }
  return may;
}

describe('an account of the chart at the API server', () => {
  let services: Services;
  let folder: string;
  let shop: string;
  let rights: InstalledRights;

  beforeAll(async () => {
    services = await sharedServices();
    folder = await mkdtemp(join(tmpdir(), 'byoc-rights-'));
    shop = `shop-${Date.now()}`;
    await callKubernetes(services, 'create', 'namespace', shop);
    rights = await installRights(services, folder, { clusterId: CLUSTER, namespaces: [shop] });
  });
  afterAll(async () => {
    await rights.remove();
    await callKubernetes(services, 'delete', 'namespace', shop, '--wait=false');
    await rm(folder, { recursive: true, force: true });
  });

  it.each(ACCOUNTS)(
    '%s is refused each verb on each kind that its rights do not name',
    async (account) => {
      const { namespace, stateNamespace, nameOf } = rights;
      const release = { release: nameOf('apply').replace('-apply', ''), namespace };
      const text = await renderRights(release, { clusterId: CLUSTER, namespaces: [shop], stateNamespace });
      const may = mayOf(
        parseAllDocuments(text).map((document) => document.toJSON() as Rendered),
        nameOf,
      );
      const places = [namespace, stateNamespace, shop, 'kube-system', 'default'];
      const table = [
        ...Object.entries(NAMESPACED).flatMap(([group, resources]) =>
          places.flatMap((place) =>
            resources.map((resource) => ({ place, resource, collection: `${group}/namespaces/${place}/${resource}` })),
          ),
        ),
        ...Object.entries(CLUSTER_SCOPED).flatMap(([group, resources]) =>
          resources.map((resource) => ({ place: '', resource, collection: `${group}/${resource}` })),
        ),
      ].flatMap((one) => Object.entries(VERBS).map(([verb, call]) => ({ ...one, verb, call: call(one.collection) })));
      const wrong: string[] = [];
      let refused = 0;
      await forEachLimited(table, 8, async ({ place, resource, verb, call }) => {
        const status = await rights.callAs(account, call);
        const isAllowed = may.has(`${account} ${verb} ${resource} ${place}`);
        if (status === 403) refused += 1;
        if ((status === 403) === isAllowed) wrong.push(`${verb} ${resource} in ${place || 'the cluster'}: ${status}`);
      });
      expect(wrong).toEqual([]);
      console.log(`${account}: ${refused} of ${table.length} calls refused`);
    },
    60_000,
  );

  /** What would be the end of it, whatever tables say. */
  const DANGEROUS: [string, readonly Account[], (names: InstalledRights) => Call][] = [
    [
      'become another user',
      ACCOUNTS,
      () => ({
        method: 'GET',
        path: '/api/v1/namespaces/kube-system/secrets',
        headers: { 'impersonate-user': 'system:admin', 'impersonate-group': 'system:masters' },
      }),
    ],
    [
      'become execution',
      ['registration', 'metrics', 'apply'],
      ({ namespace, nameOf }) => ({
        method: 'GET',
        path: '/api/v1/namespaces',
        headers: { 'impersonate-user': `system:serviceaccount:${namespace}:${nameOf('execution')}` },
      }),
    ],
    ...(['registration', 'metrics', 'execution'] as const).map(
      (whose): [string, readonly Account[], (names: InstalledRights) => Call] => [
        `get a token of ${whose}`,
        ACCOUNTS,
        ({ namespace, nameOf }) => tokenRequest(namespace, nameOf(whose)),
      ],
    ),
    [
      'get a token for applying packages',
      ['registration', 'metrics', 'apply'],
      ({ namespace, nameOf }) => tokenRequest(namespace, nameOf('apply')),
    ],
    ['get a token of a controller', ACCOUNTS, () => tokenRequest('kube-system', 'deployment-controller')],
    [
      'read the key that audit heads are signed with',
      ['apply'],
      ({ stateNamespace }) => ({ method: 'GET', path: `/api/v1/namespaces/${stateNamespace}/secrets/byoc-audit-key` }),
    ],
    [
      'read the key that Secrets are masked with',
      ['registration', 'metrics', 'apply'],
      ({ stateNamespace }) => ({
        method: 'GET',
        path: `/api/v1/namespaces/${stateNamespace}/secrets/byoc-masking-key`,
      }),
    ],
    [
      'lift the freeze',
      ['registration', 'metrics', 'apply'],
      ({ stateNamespace }) => ({
        method: 'PATCH',
        path: `/api/v1/namespaces/${stateNamespace}/configmaps/byoc-freeze-${CLUSTER}?dryRun=All`,
        body: { data: { frozen: 'false' } },
      }),
    ],
    [
      'change its own Role',
      ACCOUNTS,
      ({ namespace, nameOf }) => ({
        method: 'PATCH',
        path: `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/roles/${nameOf('execution')}?dryRun=All`,
        body: { rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] },
      }),
    ],
    [
      'look into a pod',
      ACCOUNTS,
      ({ namespace }) => ({
        method: 'POST',
        path: `/api/v1/namespaces/${namespace}/pods/some/exec?command=sh&stdin=true`,
      }),
    ],
    ['go through a kubelet', ACCOUNTS, () => ({ method: 'GET', path: '/api/v1/nodes/some/proxy/pods' })],
  ];

  it.each(DANGEROUS)('may not %s', async (_, accounts, call) => {
    for (const account of accounts) {
      expect([account, await rights.callAs(account, call(rights))]).toEqual([account, 403]);
    }
  });

  it('execution gets a token for applying packages, and with it no more than that account has', async () => {
    const { namespace, nameOf } = rights;
    expect(await rights.callAs('execution', tokenRequest(namespace, nameOf('apply')))).toBe(201);
    const here = `/api/v1/namespaces/${shop}/configmaps`;
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'one' } };
    expect(await rights.callAs('execution', { method: 'POST', path: here, body })).toBe(403);
    expect(await rights.callAs('apply', { method: 'POST', path: here, body })).toBe(201);
  });
});

function tokenRequest(namespace: string, name: string): Call {
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
  return { method: 'POST', path: `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`, body };
}
