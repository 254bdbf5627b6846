import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { at, type KubeObject, listAt } from '../../activities/kubernetes/kube-object.ts';
import type { Step } from '../../domain/wpk.ts';
import { deployment, job } from './kubernetes.ts';
import { configMap } from './packages.ts';
import { until } from './until.ts';

/** Effects that each show when they come twice: a list that grows, a rollout, a Job, a deletion, a number of replicas. */
export function stepsOnce(ns: string, name: string): Step[] {
  const target = { kind: 'Deployment', name, namespace: ns };
  const wait = { for: 'ready', timeoutSeconds: 60 } as const;
  const value = { name: 'ADDED', value: 'once' };
  return [
    {
      id: 'maps',
      action: 'apply',
      manifests: Array.from({ length: 20 }, (_, index) => configMap(`${name}-${index}`, ns, { name })),
    },
    {
      id: 'append',
      action: 'patch',
      target,
      patch: { type: 'json', operations: [{ op: 'add', path: '/spec/template/spec/containers/0/env/-', value }] },
      wait,
    },
    { id: 'run', action: 'run', manifest: job(ns, name), timeoutSeconds: 60 },
    { id: 'restart', action: 'restart', target, wait },
    { id: 'delete', action: 'delete', target: { kind: 'ConfigMap', name: `${name}-old`, namespace: ns } },
  ];
}

/** What the steps change and delete, as somebody else has made it. */
export async function prepareTarget(api: KubeApi, ns: string, name: string): Promise<void> {
  const main = { name: 'main', image: 'registry.example/app:1', env: [{ name: 'FIRST', value: 'x' }] };
  const template = { metadata: { labels: { app: name } }, spec: { containers: [main] } };
  const apply = (path: string, object: unknown) =>
    api.write({
      method: 'PATCH',
      path,
      query: { fieldManager: 'kubectl' },
      contentType: 'application/apply-patch+yaml',
      body: JSON.stringify(object),
    });
  await apply(`/apis/apps/v1/namespaces/${ns}/deployments/${name}`, deployment(ns, name, { template }));
  await apply(`/api/v1/namespaces/${ns}/configmaps/${name}-old`, configMap(`${name}-old`, ns, { key: 'value' }));
  await until(`${name} to be available`, async () => {
    const live = await api.get(`/apis/apps/v1/namespaces/${ns}/deployments/${name}`);
    return at(live, 'status', 'availableReplicas') === 2;
  });
}

/** Everything that the steps do and that shows when it comes twice. */
export async function effectsOf(api: KubeApi, ns: string, name: string) {
  const live = await api.get(`/apis/apps/v1/namespaces/${ns}/deployments/${name}`);
  const list = async (path: string) => (await api.list(`${path}`, { atMost: 10_000 })) ?? [];
  const ofApp = (objects: readonly KubeObject[]) => objects.filter(({ metadata }) => metadata.labels?.['app'] === name);
  const maps = await list(`/api/v1/namespaces/${ns}/configmaps`);
  const jobs = await list(`/apis/batch/v1/namespaces/${ns}/jobs`);
  const sets = await list(`/apis/apps/v1/namespaces/${ns}/replicasets`);
  const [main] = listAt(live, 'spec', 'template', 'spec', 'containers');
  return {
    env: listAt(main, 'env').map((one) => at(one, 'name')),
    generation: live?.metadata.generation,
    replicaSets: ofApp(sets).length,
    jobs: jobs.filter(({ metadata }) => metadata.name.startsWith(`${name}-`)).length,
    maps: maps.filter(({ metadata }) => new RegExp(`^${name}-\\d+$`).test(metadata.name)).length,
    old: maps.some(({ metadata }) => metadata.name === `${name}-old`),
  };
}

/** What `effectsOf` finds where everything came to pass once. */
export const ONCE = { env: ['FIRST', 'ADDED'], generation: 3, replicaSets: 3, jobs: 1, maps: 20, old: false };
