import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { KubeReader } from '../../../activities/kubernetes/kube-api.ts';
import { createPlanner } from '../../../activities/kubernetes/planner.ts';
import { makePlan } from '../../../activities/package/planning.ts';
import type { Plan } from '../../../domain/plan.ts';
import { BUILT_IN_POLICY } from '../../../domain/policy.ts';
import type { Manifest, Step, Target, Wpk } from '../../../domain/wpk.ts';
import { applyStep, configMap, deployment, digestOf, mask, packageOf, sha256 } from '../../support/kubernetes.ts';
import { type TestCluster, testCluster } from '../../support/kubernetes.ts';

let cluster: TestCluster;
let ns: string;
beforeAll(async () => {
  cluster = await testCluster();
  ns = cluster.namespace;
});
afterAll(() => cluster.stop());

const policy = { policy: BUILT_IN_POLICY, digest: sha256('policy') };

/** The whole plan, by a planner that remembers nothing. */
async function planOf(wpk: Wpk, api: KubeReader = cluster.api): Promise<Plan> {
  const planner = createPlanner({ api, sha256, mask });
  return (await makePlan(planner, sha256, { wpk, wpkDigest: digestOf(wpk), policy })).plan;
}

const DEPLOYMENTS = 'apis/apps/v1';
const existing = (manifest: Manifest, group = 'api/v1', plural = 'configmaps', manager = 'byoc-connector') =>
  cluster.applyAs(manager, cluster.path(group, plural, manifest.metadata.name), manifest);
const target = (kind: string, name: string): Target => ({ kind, name, namespace: ns });
const changesOf = ({ objects }: Plan) => objects.flatMap(({ changes }) => changes);

/** An API server that answers as the real one does, but late, and with lists and maps in another order. */
function shuffled(api: KubeReader, seed: number): KubeReader {
  let state = seed;
  const random = (below: number) => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) % below;
  const late = async <T>(answer: Promise<T>): Promise<T> => {
    await sleep(random(15));
    const value = await answer;
    await sleep(random(15));
    return turned(value) as T; // as it was, but for the order of keys
  };
  return {
    server: api.server,
    get: (...args) => late(api.get(...args)),
    getDocument: (...args) => late(api.getDocument(...args)),
    getText: (...args) => late(api.getText(...args)),
    list: async (...args) => (await late(api.list(...args)))?.sort(() => random(3) - 1),
    dryRun: (...args) => late(api.dryRun(...args)),
    clusterUid: (...args) => api.clusterUid(...args),
  };
}

function turned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(turned);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, turned(inner)] as const);
  return Object.fromEntries(entries.reverse());
}

describe('the digest of a plan', () => {
  it('is the same in whatever order the server answers', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `order-${index}`);
    await Promise.all(names.slice(0, 8).map((name) => existing(configMap(ns, name, { a: '1', b: '2', c: '3' }))));
    await existing(deployment(ns, 'order'), DEPLOYMENTS, 'deployments');
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'order', namespace: ns },
      stringData: { a: 'x' },
    };
    const wpk = packageOf(
      applyStep('maps', ...names.map((name) => configMap(ns, name, { a: '2', c: '3', d: '4' }))),
      applyStep('refused', configMap('no-such-namespace', 'x', {}), deployment(ns, 'typo', { replica: 1 })),
      applyStep('others', secret, deployment(ns, 'order', { replicas: 3, minReadySeconds: 1 })),
      { id: 'restart', action: 'restart', target: target('Deployment', 'order') },
    );
    const first = await planOf(wpk);
    expect(first.objects).toHaveLength(15);
    expect(first.problems).toHaveLength(2);
    for (let seed = 1; seed <= 10; seed++) {
      const again = await planOf(wpk, shuffled(cluster.api, seed));
      expect(again.digest).toBe(first.digest);
      expect(again).toEqual(first);
    }
  });
});

describe('a plan that waits for approval', () => {
  /** One object without labels and annotations, and a package that does something to it. */
  const STEPS: readonly [string, (name: string) => Step][] = [
    ['an apply', (name) => applyStep('one', withNote(deploymentWithoutReplicas(name, 'registry.example/app:2')))],
    ['a restart', (name) => ({ id: 'one', action: 'restart', target: target('Deployment', name) })],
    [
      'a merge patch',
      (name) => {
        const body = { metadata: { labels: { ours: '1' } }, spec: { paused: true } };
        return { id: 'one', action: 'patch', target: target('Deployment', name), patch: { type: 'merge', body } };
      },
    ],
    ['a JSON patch', replaceFirstImage],
    ['a deletion', (name) => ({ id: 'one', action: 'delete', target: target('Deployment', name) })],
  ];

  /** What others write while people decide, and no package here sets. */
  const OTHERS: readonly [string, (path: string) => Promise<unknown>][] = [
    ['an autoscaler', (path) => cluster.merge(`${path}/scale`, { spec: { replicas: 7 } }, 'autoscaler')],
    ['the status', (path) => cluster.merge(`${path}/status`, { status: { replicas: 7, observedGeneration: 1 } })],
    [
      'a controller that counts revisions',
      (path) => cluster.merge(path, { metadata: { annotations: { 'deployment.kubernetes.io/revision': '9' } } }),
    ],
    [
      "a controller's first annotation",
      (path) => cluster.merge(path, { metadata: { annotations: { 'controller.example/seen': 'yes' } } }, 'controller'),
    ],
  ];
  /** The same, but for a deletion, which takes it away. */
  const FIELDS: readonly (typeof OTHERS)[number][] = [
    ['the first label of somebody', (path) => cluster.merge(path, { metadata: { labels: { theirs: '1' } } }, 'other')],
    ['a field of somebody', (path) => cluster.merge(path, { spec: { minReadySeconds: 3 } }, 'other')],
    [
      'the first annotation on the pods by somebody',
      (path) => {
        const metadata = { annotations: { 'kubectl.kubernetes.io/restartedAt': '2026-01-01T00:00:00Z' } };
        return cluster.merge(path, { spec: { template: { metadata } } }, 'kubectl');
      },
    ],
  ];

  const cases = STEPS.flatMap(([what, step]) =>
    [...OTHERS, ...(what === 'a deletion' ? [] : FIELDS)].map(([who, change]) => ({ what, who, step, change })),
  );

  it.each(cases.map((one, index) => ({ ...one, index })))(
    'stays the same, for $what, when $who changes the object',
    async ({ step, change, index }) => {
      const name = `still-${index}`;
      await existing(deploymentWithoutReplicas(name, 'registry.example/app:1'), DEPLOYMENTS, 'deployments');
      const path = cluster.path(DEPLOYMENTS, 'deployments', name);
      const wpk = packageOf(step(name));
      const approved = await planOf(wpk);
      expect(approved.problems).toEqual([]);
      expect(approved.objects.map((one) => one.change)).not.toContain('unchanged');
      await change(path);
      const now = await planOf(wpk);
      expect(changesOf(now)).toEqual(changesOf(approved));
      expect(now.digest).toBe(approved.digest);
    },
  );

  it('has the same objects when somebody adds a sidecar; only the risk, which looks at whole pods, may differ', async () => {
    await existing(deploymentWithoutReplicas('joined', 'registry.example/app:1'), DEPLOYMENTS, 'deployments');
    const wpk = packageOf(applyStep('one', deploymentWithoutReplicas('joined', 'registry.example/app:2')));
    const approved = await planOf(wpk);
    const containers = [{ name: 'sidecar', image: 'registry.example/sidecar:1' }];
    const manifest = deployment(ns, 'joined');
    const path = cluster.path(DEPLOYMENTS, 'deployments', 'joined');
    await cluster.applyAs('injector', path, { ...manifest, spec: { template: { spec: { containers } } } });
    expect((await planOf(wpk)).objects).toEqual(approved.objects);
  });

  it('stays the same when the controller of volumes writes what it found on a claim', async () => {
    const claim: Manifest = {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'claim', namespace: ns },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, storageClassName: 'none' },
    };
    await existing(claim, 'api/v1', 'persistentvolumeclaims');
    const wpk = packageOf(applyStep('one', { ...claim, metadata: { ...claim.metadata, labels: { team: 'shop' } } }));
    const approved = await planOf(wpk);
    const annotations = { 'volume.kubernetes.io/storage-provisioner': 'x', 'pv.kubernetes.io/bind-completed': 'yes' };
    await cluster.merge(cluster.path('api/v1', 'persistentvolumeclaims', 'claim'), { metadata: { annotations } });
    expect((await planOf(wpk)).digest).toBe(approved.digest);
  });

  it('stays the same when another manager sets the same value as well', async () => {
    await existing(configMap(ns, 'shared', { key: '1' }));
    const wpk = packageOf(applyStep('one', configMap(ns, 'shared', { key: '1', more: '2' })));
    const approved = await planOf(wpk);
    await existing(configMap(ns, 'shared', { key: '1' }), 'api/v1', 'configmaps', 'other-tool');
    expect((await planOf(wpk)).digest).toBe(approved.digest);
  });

  it('is another one when a value changes that the package overwrites', async () => {
    await existing(configMap(ns, 'moved', { key: '1', beside: '1' }));
    const wpk = packageOf(applyStep('one', configMap(ns, 'moved', { key: '2', beside: '1' })));
    const approved = await planOf(wpk);
    await existing(configMap(ns, 'moved', { key: '9', beside: '1' }));
    const now = await planOf(wpk);
    expect(changesOf(now)).toEqual([{ path: '/data/key', before: '9', after: '2' }]);
    expect(now.digest).not.toBe(approved.digest);
  });

  it('is another one when the object is another one of the same name', async () => {
    const manifest = configMap(ns, 'reborn', { key: '1' });
    await existing(manifest);
    const wpk = packageOf(applyStep('one', configMap(ns, 'reborn', { key: '2' })));
    const approved = await planOf(wpk);
    await cluster.run(packageOf({ id: 'delete', action: 'delete', target: target('ConfigMap', 'reborn') }));
    await existing(manifest);
    const now = await planOf(wpk);
    expect(changesOf(now)).toEqual(changesOf(approved));
    expect(now.digest).not.toBe(approved.digest);
  });

  it('is another one when the place in a list that a patch names is that of another item', async () => {
    const container = (name: string) => ({ name, image: 'registry.example/app:1' });
    const spec = (...names: string[]) => ({
      template: { metadata: { labels: { app: 'list' } }, spec: { containers: names.map(container) } },
    });
    const path = cluster.path(DEPLOYMENTS, 'deployments', 'list');
    await existing(deployment(ns, 'list', spec('app', 'proxy')), DEPLOYMENTS, 'deployments');
    const wpk = packageOf(replaceFirstImage('list'));
    const approved = await planOf(wpk);
    await cluster.merge(path, { spec: spec('proxy', 'app') });
    const [was, now] = [approved, await planOf(wpk)].map((plan) => changesOf(plan).find(({ names }) => names));
    expect(was).toMatchObject({ path: now?.path, before: now?.before, after: now?.after });
    expect([was?.names, now?.names]).toEqual([
      { '/spec/template/spec/containers/0': 'app' },
      { '/spec/template/spec/containers/0': 'proxy' },
    ]);
    expect((await planOf(wpk)).digest).not.toBe(approved.digest);
  });

  it('is another one when a label of what is deleted changes, for it may say that it must stay', async () => {
    await existing(configMap(ns, 'kept', { key: '1' }));
    const wpk = packageOf({ id: 'one', action: 'delete', target: target('ConfigMap', 'kept') });
    const approved = await planOf(wpk);
    const path = cluster.path('api/v1', 'configmaps', 'kept');
    await cluster.merge(path, { metadata: { labels: { keep: 'please' } } });
    expect((await planOf(wpk)).digest).not.toBe(approved.digest);
  });

  function replaceFirstImage(name: string): Step {
    const path = '/spec/template/spec/containers/0/image';
    const operations = [{ op: 'replace' as const, path, value: 'registry.example/app:2' }];
    return { id: 'one', action: 'patch', target: target('Deployment', name), patch: { type: 'json', operations } };
  }

  function deploymentWithoutReplicas(name: string, image: string): Manifest {
    const labels = { app: name };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image }] } };
    return { ...deployment(ns, name), spec: { selector: { matchLabels: labels }, template } };
  }

  function withNote(manifest: Manifest): Manifest {
    return { ...manifest, metadata: { ...manifest.metadata, annotations: { ours: '1' }, labels: { ours: '1' } } };
  }
});

describe('what an apply changes', () => {
  it('includes a field that was the package’s and is no longer in it', async () => {
    await existing(configMap(ns, 'less', { stays: '1', goes: '1' }));
    const wpk = packageOf(applyStep('one', configMap(ns, 'less', { stays: '1' })));
    const plan = await planOf(wpk);
    expect(changesOf(plan)).toEqual([{ path: '/data/goes', before: '1' }]);
    // Once another manager wants it too, it stays.
    await existing(configMap(ns, 'less', { goes: '1' }), 'api/v1', 'configmaps', 'other-tool');
    const now = await planOf(wpk);
    expect(now.objects[0]?.change).toBe('unchanged');
    expect(now.digest).not.toBe(plan.digest);
  });

  it('is nothing where quantities and defaults are only written otherwise', async () => {
    const resources = (cpu: string, memory: string) => {
      const containers = [{ name: 'main', image: 'registry.example/app:1', resources: { limits: { cpu, memory } } }];
      return { template: { metadata: { labels: { app: 'sizes' } }, spec: { containers } } };
    };
    await existing(deployment(ns, 'sizes', resources('1', '1Gi')), DEPLOYMENTS, 'deployments');
    const written = deployment(ns, 'sizes', { ...resources('1000m', '1024Mi'), revisionHistoryLimit: 10 });
    expect((await planOf(packageOf(applyStep('one', written)))).objects[0]?.change).toBe('unchanged');
  });

  it('is checked by the API server as soon as it can be: when the namespace is there', async () => {
    const name = `${ns}-soon`;
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
    const wpk = packageOf(applyStep('one', namespace, configMap(name, 'inside', { key: '1' })));
    const verified = async () => (await planOf(wpk)).objects.map((one) => one.verified.by);
    expect(await verified()).toEqual(['server', 'nobody']);
    await cluster.applyAs('other-tool', `/api/v1/namespaces/${name}`, namespace);
    expect(await verified()).toEqual(['server', 'server']);
  });
});

describe('while an admission webhook does not answer', () => {
  it('there is no plan, and the reason is told as one that may pass', async () => {
    const path = `/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/${ns}`;
    await cluster.applyAs('test', path, {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: ns },
      webhooks: [
        {
          name: 'away.example.com',
          admissionReviewVersions: ['v1'],
          clientConfig: { url: 'https://127.0.0.1:1/' },
          failurePolicy: 'Fail',
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': ns } },
          rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['*'], resources: ['configmaps'] }],
          sideEffects: 'None',
        },
      ],
    });
    try {
      const wpk = packageOf(applyStep('one', configMap(ns, 'judged', { key: '1' })));
      const planned = async () => {
        // The server takes a moment to ask a new webhook.
        for (let tries = 0; tries < 50; tries++) {
          await planOf(wpk);
          await sleep(100);
        }
      };
      await expect(planned()).rejects.toMatchObject({
        code: 'KUBERNETES_UNAVAILABLE',
        message: expect.stringContaining('away.example.com'),
      });
    } finally {
      const body = JSON.stringify({ apiVersion: 'v1', kind: 'DeleteOptions' });
      await cluster.api.write({ method: 'DELETE', path, query: {}, contentType: 'application/json', body });
    }
  });
});
