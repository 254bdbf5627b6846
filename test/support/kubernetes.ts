import { createHash, createHmac } from 'node:crypto';
import { ulid } from 'ulid';
import type { GrowingReport } from '../../activities/kubernetes/execution-types.ts';
import type { ExecutionReport } from '../../domain/status.ts';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { at, type KubeObject, listAt } from '../../activities/kubernetes/kube-object.ts';
import { createPlanner, type DryRun, type Planner } from '../../activities/kubernetes/planner.ts';
import { createWriter, type Writer } from '../../activities/kubernetes/writer.ts';
import { canonicalJson, type Digest } from '../../domain/digest.ts';
import type { Manifest, Step, Wpk } from '../../domain/wpk.ts';
import { adminApi } from './kubernetes-admin.ts';
import { sharedServices } from './stack.ts';
import { until } from './until.ts';

export const sha256 = (data: string | Uint8Array): Digest =>
  `sha256:${createHash('sha256').update(data).digest('hex')}`;
export const mask = (value: string): string => `masked:${createHmac('sha256', 'test').update(value).digest('hex')}`;

/** A namespace of a test's own on the shared API server, with a planner and a writer to try on it. */
export interface TestCluster {
  readonly api: KubeApi;
  readonly namespace: string;
  readonly planner: Planner;
  readonly writer: Writer;
  /** A planner without memory of what it planned. */
  newPlanner(): Planner;
  /** Where the API server serves an object of the namespace: `at('apis/apps/v1', 'deployments', 'web')`. */
  path(group: string, plural: string, name: string): string;
  read(group: string, plural: string, name: string): Promise<KubeObject | undefined>;
  /** A change by somebody else. */
  applyAs(manager: string, path: string, object: unknown, force?: boolean): Promise<KubeObject>;
  merge(path: string, body: unknown, manager?: string): Promise<KubeObject>;
  /** Plans and executes a package as if its plan had been approved. */
  run(wpk: Wpk): Promise<ExecutionReport>;
  stop(): Promise<void>;
}

export async function testCluster(): Promise<TestCluster> {
  const { kubernetes } = await sharedServices();
  const api = adminApi(kubernetes.kubeconfig);
  const namespace = `test-${ulid().toLowerCase()}`;
  const newPlanner = () => createPlanner({ api, sha256, mask });
  const planner = newPlanner();
  const writer = createWriter({ api, planner });
  const path = (group: string, plural: string, name: string) => `/${group}/namespaces/${namespace}/${plural}/${name}`;
  const patch = (path: string, contentType: string, body: unknown, query: Record<string, string>) =>
    api.write({ method: 'PATCH', path, query, contentType, body: JSON.stringify(body) });
  const applyAs: TestCluster['applyAs'] = (fieldManager, path, object, force = false) =>
    patch(path, 'application/apply-patch+yaml', object, { fieldManager, force: String(force) });

  const own = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
  await applyAs('test', `/api/v1/namespaces/${namespace}`, own);
  return {
    api,
    namespace,
    planner,
    writer,
    newPlanner,
    path,
    read: (group, plural, name) => api.get(path(group, plural, name)),
    applyAs,
    merge: (path, body, fieldManager = 'test') => patch(path, 'application/merge-patch+json', body, { fieldManager }),
    run: async (wpk) => execute(writer, wpk, await planner.dryRun(wpk, digestOf(wpk))),
    async stop() {
      const body = JSON.stringify({ apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background' });
      const contentType = 'application/json';
      await api.write({ method: 'DELETE', path: `/api/v1/namespaces/${namespace}`, query: {}, contentType, body });
      await api.close();
    },
  };
}

const OWN_TAINT = { key: 'test.byoc/own', effect: 'NoSchedule' };

/** What makes a pod go to a node of a test's own. */
export function onNode(name: string) {
  return { nodeSelector: { 'kubernetes.io/hostname': name }, tolerations: [{ ...OWN_TAINT, operator: 'Exists' }] };
}

/**
 * A node that no other test's pods go to. Remove it in `afterAll`.
 * @param kubeletPort where on this machine its kubelet listens; by default it has none
 */
export async function testNode({ api }: TestCluster, kubeletPort?: number) {
  const name = `node-${ulid().toLowerCase()}`;
  const path = `/api/v1/nodes/${name}`;
  const capacity = { cpu: '32', memory: '128Gi', pods: '500' };
  const kubelet = kubeletPort !== undefined && {
    addresses: ['Hostname', 'InternalIP'].map((type) => ({ type, address: '127.0.0.1' })),
    daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } },
  };
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    spec: { taints: [OWN_TAINT] },
    status: { capacity, allocatable: capacity, ...kubelet },
  };
  const contentType = 'application/json';
  await api.write({ method: 'POST', path: '/api/v1/nodes', query: {}, contentType, body: JSON.stringify(node) });
  await until(`${name} to be ready`, async () => {
    const live = await api.get(path);
    const isReady = (one: unknown) => at(one, 'type') === 'Ready' && at(one, 'status') === 'True';
    return listAt(live, 'status', 'conditions').some(isReady) && listAt(live, 'spec', 'taints').length === 1;
  });
  const remove = () => api.write({ method: 'DELETE', path, query: {}, contentType, body: '{}' });
  return { name, remove };
}

/** Executes a plan that was approved as it is. */
export function execute(writer: Writer, wpk: Wpk, dryRun: DryRun): Promise<ExecutionReport> {
  const report: GrowingReport = { steps: [] };
  const beforeWrite = () => undefined;
  return writer.execute({ wpk, dryRun, approved: digestsOf(dryRun), resumed: false, beforeWrite, report });
}

export function digestsOf(dryRun: DryRun): ReadonlySet<Digest> {
  return new Set(dryRun.writes.map(({ planned }) => planned.digest));
}

export function digestOf(wpk: Wpk): Digest {
  return sha256(canonicalJson(wpk));
}

/** A package around some steps; what planner and writer don't look at is the same in all. */
export function packageOf(...steps: readonly Step[]): Wpk {
  return {
    apiVersion: 'neuralops.io/v1',
    kind: 'WorkPackage',
    metadata: {
      id: ulid(),
      name: 'test',
      playbook: { id: 'test', version: '1' },
      author: 'author@example.com',
      sequence: 1,
      notBefore: '2026-01-01T00:00:00Z',
      expiresAt: '2026-01-02T00:00:00Z',
    },
    target: { clusterId: 'test', namespaces: [] },
    risk: 'low',
    reason: 'a test',
    steps: [...steps],
    onFailure: 'halt',
  };
}

export function applyStep(id: string, ...manifests: readonly Manifest[]): Extract<Step, { action: 'apply' }> {
  return { id, action: 'apply', manifests: [...manifests] };
}

export function configMap(namespace: string, name: string, data: Readonly<Record<string, string>>): Manifest {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data };
}

/** What becomes of a pod on the simulated nodes (`dev/servers/pod-fates.yaml`). */
export type Fate = 'image-pull' | 'crash-loop' | 'probe' | 'failure' | 'slow-start';

export function podTemplate(app: string, fate?: Fate, spec: object = {}) {
  const annotations = fate && { 'kwok.byoc/fate': fate };
  return {
    metadata: { labels: { app }, ...(annotations && { annotations }) },
    spec: { containers: [{ name: 'main', image: 'registry.example/app:1' }], ...spec },
  };
}

export function job(namespace: string, name: string, fate?: Fate, spec: object = {}): Manifest {
  const template = podTemplate(name, fate, { restartPolicy: 'Never' });
  return { apiVersion: 'batch/v1', kind: 'Job', metadata: { name, namespace }, spec: { template, ...spec } };
}

export function deployment(namespace: string, name: string, spec: Readonly<Record<string, unknown>> = {}): Manifest {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: podTemplate(name),
      ...spec,
    },
  };
}

/** A step that makes a Deployment and waits for ever, because no node has the label that its pods want. */
export function neverReady(name: string, namespace: string): Step {
  const template = {
    metadata: { labels: { app: name } },
    spec: {
      nodeSelector: { 'example.com/none': 'yes' },
      containers: [{ name: 'main', image: 'registry.example/app:1' }],
    },
  };
  const wait = { for: 'ready', timeoutSeconds: 300 } as const;
  return { id: 'apply', action: 'apply', manifests: [deployment(namespace, name, { template })], wait };
}

/** The definition of namespaced Widgets. @param group such as `test.example.com` */
export function widgetDefinition(group: string): Manifest {
  const schema = { openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object' } } } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `widgets.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind: 'Widget', plural: 'widgets' },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    },
  };
}
