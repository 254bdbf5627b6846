import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { at } from '../../../../activities/kubernetes/kube-object.ts';
import { STAMP_ANNOTATION } from '../../../../domain/names.ts';
import type { Manifest, Step } from '../../../../domain/wpk.ts';
import {
  digestOf,
  onNode,
  packageOf,
  podTemplate,
  type TestCluster,
  testCluster,
  testNode,
} from '../../../support/kubernetes.ts';
import { until } from '../../../support/until.ts';

let cluster: TestCluster;
let ns: string;
let node: string;
const removals: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  cluster = await testCluster();
  ns = cluster.namespace;
});
afterAll(async () => {
  await Promise.all(removals.map((remove) => remove()));
  await cluster.stop();
});

/** A node that only pods of this test go to. */
async function newNode(): Promise<string> {
  const { name, remove } = await testNode(cluster);
  removals.push(remove);
  return name;
}

const drainStep = (more: Partial<Extract<Step, { action: 'drain' }>> = {}): Step => ({
  id: 'drain',
  action: 'drain',
  target: { kind: 'Node', name: node },
  timeoutSeconds: 30,
  ...more,
});
const plan = (...steps: Step[]) => {
  const wpk = packageOf(...steps);
  return cluster.newPlanner().dryRun(wpk, digestOf(wpk));
};
const readNode = () => cluster.api.get(`/api/v1/nodes/${node}`);
const podsOf = (app: string) =>
  cluster.api.list(`/api/v1/namespaces/${ns}/pods`, { atMost: 100, labelSelector: `app=${app}` });

/** Applies a workload whose pods go to the node, and waits until they run. */
async function workload(kind: 'Deployment' | 'DaemonSet', name: string, spec: object = {}): Promise<void> {
  const template = podTemplate(name, undefined, { ...onNode(node), ...spec });
  const manifest: Manifest = {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace: ns },
    spec: { selector: { matchLabels: { app: name } }, template },
  };
  await cluster.applyAs('test', cluster.path('apis/apps/v1', `${kind.toLowerCase()}s`, name), manifest);
  await until(`${name} to run`, async () =>
    (await podsOf(name))?.some((pod) => at(pod, 'status', 'phase') === 'Running'),
  );
}

describe('drain', () => {
  it('evicts what a controller brings back, leaves DaemonSets, and stamps the node when it is empty', async () => {
    node = await newNode();
    await workload('Deployment', 'moved');
    await workload('DaemonSet', 'stays');
    const [moved] = (await podsOf('moved')) ?? [];
    const [stays] = (await podsOf('stays')) ?? [];
    const wpk = packageOf(drainStep());
    const report = await cluster.run(wpk);
    expect(report.steps.map(({ outcome }) => outcome)).toEqual(['done']);
    const drained = await readNode();
    expect(at(drained, 'spec', 'unschedulable')).toBe(true);
    expect(drained?.metadata.annotations?.[STAMP_ANNOTATION]).toBe(`${wpk.metadata.id}/drain`);
    expect((await podsOf('stays'))?.map(({ metadata }) => metadata.uid)).toContain(stays?.metadata.uid);
    expect((await podsOf('moved'))?.map(({ metadata }) => metadata.uid)).not.toContain(moved?.metadata.uid);
  });

  it('plans the same whether or not the node is cordoned, and nothing once its stamp is there', async () => {
    node = await newNode();
    const wpk = packageOf(drainStep());
    const planned = async () => (await cluster.newPlanner().dryRun(wpk, digestOf(wpk))).writes[0]?.planned;
    const before = await planned();
    expect(before?.change).toBe('update');
    expect(before?.changes.map(({ path }) => path)).toEqual(['/pods', '/spec/unschedulable']);
    await cluster.merge(`/api/v1/nodes/${node}`, { spec: { unschedulable: true } });
    expect((await planned())?.digest).toBe(before?.digest);
    await cluster.run(wpk);
    expect((await planned())?.change).toBe('unchanged');
  });

  it('respects a disruption budget: ends with NOT_READY and names pod and budget', async () => {
    node = await newNode();
    await workload('Deployment', 'guarded');
    await cluster.applyAs('test', cluster.path('apis/policy/v1', 'poddisruptionbudgets', 'guard'), {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: 'guard', namespace: ns },
      spec: { maxUnavailable: 0, selector: { matchLabels: { app: 'guarded' } } },
    });
    await until('the budget to be seen', async () =>
      at(await cluster.read('apis/policy/v1', 'poddisruptionbudgets', 'guard'), 'status', 'observedGeneration'),
    );
    await expect(cluster.run(packageOf(drainStep({ timeoutSeconds: 2 })))).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringMatching(
        /1 pod is still there when the time was up: Pod \S+\/guarded-\S+: Cannot evict pod.* disruption budget guard needs 1 healthy pods and has 1 currently/,
      ),
    });
    expect(await podsOf('guarded')).toHaveLength(1);
  });

  it('refuses pods that nobody brings back, and those with local data, unless the package says so', async () => {
    node = await newNode();
    await workload('Deployment', 'cache', { volumes: [{ name: 'cache', emptyDir: {} }] });
    const pod = podTemplate('alone', undefined, { nodeName: node });
    await cluster.applyAs('test', cluster.path('api/v1', 'pods', 'alone'), {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...pod.metadata, name: 'alone' },
      spec: pod.spec,
    });
    await until(
      'the pod to run',
      async () => at(await cluster.read('api/v1', 'pods', 'alone'), 'status', 'phase') === 'Running',
    );
    const { problems } = await plan(drainStep());
    expect(problems[0]?.message).toMatch(/Pod \S+\/alone has no controller that brings it back/);
    expect((await plan(drainStep({ evictUnmanaged: true }))).problems[0]?.message).toMatch(
      /Pod \S+\/cache-\S+ has local data that would be lost/,
    );
    await cluster.run(packageOf(drainStep({ evictUnmanaged: true, deleteEmptyDirData: true })));
    expect(await podsOf('alone')).toEqual([]);
  });
});

describe('cordon and uncordon', () => {
  it('set and clear whether pods come to a node, and plan it', async () => {
    node = await newNode();
    const target = { kind: 'Node', name: node };
    const cordon: Step = { id: 'cordon', action: 'cordon', target };
    const uncordon: Step = { id: 'uncordon', action: 'uncordon', target };
    expect((await plan(cordon)).writes[0]?.planned.changes).toContainEqual({
      path: '/spec/unschedulable',
      after: true,
    });
    await cluster.run(packageOf(cordon));
    expect(at(await readNode(), 'spec', 'unschedulable')).toBe(true);
    expect((await plan(cordon)).writes[0]?.planned.change).toBe('unchanged');
    await cluster.run(packageOf(uncordon));
    expect(at(await readNode(), 'spec', 'unschedulable')).toBeUndefined();
  });

  it('are what a later attempt tells a drain by that was done: nothing is evicted a second time', async () => {
    node = await newNode();
    const target = { kind: 'Node', name: node };
    const wpk = packageOf(drainStep(), { id: 'uncordon', action: 'uncordon', target });
    await cluster.run(wpk);
    const again = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
    expect(again.writes.map(({ planned }) => planned.change)).toEqual(['unchanged', 'unchanged']);
  });

  it('are for nodes alone', async () => {
    const target = { apiVersion: 'v1', kind: 'ConfigMap', name: 'a', namespace: ns };
    const { problems } = await plan({ id: 'cordon', action: 'cordon', target });
    expect(problems[0]?.message).toBe('a ConfigMap is no node');
  });
});
