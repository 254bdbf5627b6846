import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AwaitedState, Step, Target } from '../../../../domain/wpk.ts';
import { applyStep, configMap, deployment, digestOf, packageOf } from '../../../support/kubernetes.ts';
import { type TestCluster, testCluster } from '../../../support/kubernetes.ts';

let cluster: TestCluster;
let ns: string;
beforeAll(async () => {
  cluster = await testCluster();
  ns = cluster.namespace;
});
afterAll(() => cluster.stop());

const waitStep = (target: Target, state: AwaitedState, timeoutSeconds = 30): Step => ({
  id: 'wait',
  action: 'wait',
  target,
  for: state,
  timeoutSeconds,
});
const map = (name: string): Target => ({ kind: 'ConfigMap', name, namespace: ns });
const web = (name: string): Target => ({ kind: 'Deployment', name, namespace: ns });
const outcomes = async (...steps: Step[]) =>
  (await cluster.run(packageOf(...steps))).steps.map(({ outcome }) => outcome);

describe('wait', () => {
  it('ends when a condition has the status', async () => {
    expect(
      await outcomes(applyStep('apply', deployment(ns, 'fine')), waitStep(web('fine'), { condition: 'available' })),
    ).toEqual(['done', 'unchanged']);
    expect(await outcomes(waitStep(web('fine'), { condition: 'Progressing', status: 'true' }))).toEqual(['unchanged']);
  });

  it('ends when the value at a path is the one', async () => {
    await cluster.run(packageOf(applyStep('apply', configMap(ns, 'valued', { key: 'one' }))));
    const waiting = outcomes(waitStep(map('valued'), { jsonPath: '{.data.key}', equals: 'two' }));
    setTimeout(() => void cluster.merge(cluster.path('api/v1', 'configmaps', 'valued'), { data: { key: 'two' } }), 500);
    expect(await waiting).toEqual(['unchanged']);
  });

  it('ends when the object is gone, and at once where it never was', async () => {
    expect(await outcomes(waitStep(map('never-was'), 'gone'))).toEqual(['unchanged']);
  });

  it('waits for an object that is yet to come', async () => {
    const waiting = outcomes(waitStep(map('late'), 'ready'));
    setTimeout(() => {
      void cluster.applyAs('test', cluster.path('api/v1', 'configmaps', 'late'), configMap(ns, 'late', {}));
    }, 500);
    expect(await waiting).toEqual(['unchanged']);
  });

  it.each([
    [
      'a condition that is another',
      { condition: 'Available', status: 'False' },
      /condition Available is True, not False/,
    ],
    ['no such condition', { condition: 'Blessed' }, /it has no condition Blessed/],
    ['a value that is another', { jsonPath: '{.spec.replicas}', equals: '7' }, /\{\.spec\.replicas\} is not 7/],
    ['no such value', { jsonPath: '{.spec.blessed}', equals: '7' }, /\{\.spec\.blessed\} is not there/],
    ['an object at the path', { jsonPath: '{.spec.template}', equals: '7' }, /leads to an object or a list/],
  ])('ends with NOT_READY for %s', async (_what, state, message) => {
    await cluster.run(
      packageOf({ ...applyStep('apply', deployment(ns, 'steady')), wait: { for: 'ready', timeoutSeconds: 30 } }),
    );
    await expect(outcomes(waitStep(web('steady'), state, 1))).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringMatching(message),
    });
  });

  it('says what it waits for, and never what a Secret holds', async () => {
    const path = cluster.path('api/v1', 'secrets', 'hidden');
    await cluster.applyAs('test', path, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'hidden' },
      stringData: { key: 'hunter2' },
    });
    const target = { kind: 'Secret', name: 'hidden', namespace: ns };
    const waiting = outcomes(waitStep(target, { jsonPath: '{.data.key}', equals: 'x' }, 1));
    const failure: unknown = await waiting.catch((error: unknown) => error);
    expect(String(failure)).toContain(`Secret ${ns}/hidden: {.data.key} is not x when the time was up`);
    expect(String(failure)).not.toMatch(/hunter2|aHVudGVyMg/);
  });

  it('changes nothing in the plan, whichever object bears the name', async () => {
    const wpk = packageOf(waitStep(map('replaced'), 'ready'));
    const planned = async () => (await cluster.newPlanner().dryRun(wpk, digestOf(wpk))).writes[0]?.planned;
    const before = await planned();
    await cluster.run(packageOf(applyStep('apply', configMap(ns, 'replaced', {}))));
    expect(await planned()).toEqual(before);
    expect(before?.change).toBe('unchanged');
  });
});
