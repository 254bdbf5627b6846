import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import type { Step } from '../../domain/wpk.ts';
import { adminApi } from '../support/kubernetes-admin.ts';
import { stateOf } from '../support/cluster-state.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { deployment } from '../support/kubernetes.ts';
import { configMap } from '../support/packages.ts';

let connector: TestConnector;
let api: KubeApi;
let ns: string;
beforeAll(async () => {
  connector = await TestConnector.start();
  ns = connector.namespace;
  api = adminApi(connector.services.kubernetes.kubeconfig);
});
afterAll(async () => {
  await api.close();
  await connector.stop();
});

const approve = ({ workflowId, planDigest }: WaitingPackage) =>
  connector.signalApproval(workflowId, { approver: 'bob@example.com', planDigest });
const auditOf = async (workflowId: string) => (await connector.audit({ workflowId })).map(({ type }) => type);

/** Something to change, to delete and to restart. */
async function prepare(name: string): Promise<void> {
  for (const object of [configMap(`${name}-old`, ns, { key: 'old' }), deployment(ns, name)]) {
    const file = await connector.save(`${object.metadata.name}.json`, JSON.stringify(object));
    await connector.kubectl('apply', '--server-side', '-f', file);
  }
  await connector.kubectl('rollout', 'status', `deployment/${name}`, '-n', ns, '--timeout=30s');
}

const target = (kind: string, name: string) => ({ kind, name, namespace: ns });

/** Creates, deletes, restarts and scales; the fifth step waits for what never comes. */
function failing(name: string, timeoutSeconds = 1): Step[] {
  return [
    { id: 'create', action: 'apply', manifests: [configMap(`${name}-new`, ns, { key: 'new' })] },
    { id: 'delete', action: 'delete', target: target('ConfigMap', `${name}-old`) },
    { id: 'restart', action: 'restart', target: target('Deployment', name) },
    { id: 'scale', action: 'scale', target: target('Deployment', name), replicas: 3 },
    {
      id: 'never',
      action: 'wait',
      target: target('ConfigMap', 'nobody-makes-it'),
      for: 'ready',
      timeoutSeconds,
    },
  ];
}

async function secretsKept(wpkId: string): Promise<string> {
  const label = `neuralops.io/about=undo-${wpkId.toLowerCase()}`;
  return connector.kubectl('get', 'secrets', '-n', connector.stateNamespace, '-l', label, '-o', 'name');
}

describe('a package that fails in its fifth step', () => {
  it('and says rollback, ends as rolled-back: nothing of it is left, and the report names each object', async () => {
    await prepare('shop');
    const before = await stateOf(api, ns);
    const one = await connector.submitAndPlan({ steps: failing('shop'), onFailure: 'rollback' });
    await approve(one);
    const result = await connector.client.result(one.wpkId);
    expect(result).toMatchObject({ phase: 'rolled-back', error: { code: 'NOT_READY' } });
    expect(result.report?.undo?.complete).toBe(true);
    expect(result.report?.undo?.objects.map(({ step, outcome }) => [step, outcome])).toEqual([
      ['scale', 'undone'],
      ['restart', 'undone'],
      ['delete', 'undone'],
      ['create', 'undone'],
    ]);
    expect(await stateOf(api, ns)).toEqual(before);
    expect(await auditOf(one.workflowId)).toEqual(expect.arrayContaining(['rollback.finished', 'package.rolled-back']));
    expect(await secretsKept(one.wpkId)).toBe('');
    const { stdout } = await connector.byoc('show', one.wpkId);
    expect(stdout).toContain(`undone ConfigMap ${ns}/shop-old (step delete)`);
  }, 60_000);

  it('and says halt, stays as it is until somebody rolls it back', async () => {
    await prepare('halted');
    const before = await stateOf(api, ns);
    const one = await connector.submitAndPlan({ steps: failing('halted') });
    await approve(one);
    const result = await connector.client.result(one.wpkId);
    expect(result).toMatchObject({ phase: 'failed', error: { code: 'NOT_READY' } });
    expect(result.report?.steps.map(({ id, outcome }) => [id, outcome])).toEqual([
      ['create', 'done'],
      ['delete', 'done'],
      ['restart', 'done'],
      ['scale', 'done'],
      ['never', 'partial'],
    ]);
    expect(await connector.dataOf('halted-new')).toEqual({ key: 'new' });

    const { code, stdout } = await connector.rollback(one.wpkId);
    expect(stdout).toContain(`undone ConfigMap ${ns}/halted-old (step delete)`);
    expect(code).toBe(0);
    expect(await stateOf(api, ns)).toEqual(before);
    expect(await secretsKept(one.wpkId)).toBe('');
    expect(await auditOf(`rollback/${connector.clusterId}/${one.wpkId}`)).toEqual(['rollback.finished']);
    const said = /rolled back by bob@example\.com at \d{4}-\S+Z: \d+ undone, 0 left/;
    expect((await connector.byoc('show', one.wpkId)).stdout).toMatch(said);
    expect((await connector.byoc('list')).stdout).toMatch(said);
    expect((await connector.byoc('watch', one.wpkId)).stderr).toMatch(said);
    const late = await connector.byoc('approve', one.wpkId, '--plan', `sha256:${'0'.repeat(64)}`);
    expect(late).toMatchObject({ code: 1, stderr: expect.stringMatching(/APPROVAL_CLOSED.*It ended as failed/) });
    expect(await connector.rollback(one.wpkId)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('all is undone already'),
    });
  }, 60_000);

  it('ends as failed where something is left, and says what and why', async () => {
    await prepare('edited');
    const one = await connector.submitAndPlan({ steps: failing('edited', 4), onFailure: 'rollback' });
    await approve(one);
    await connector.untilView(one.wpkId, ({ progress }) => progress?.step === 'never');
    await connector.kubectl('patch', 'configmap', 'edited-new', '-n', ns, '-p', '{"data":{"theirs":"x"}}');
    const result = await connector.client.result(one.wpkId);
    expect(result).toMatchObject({ phase: 'failed', report: { undo: { complete: false } } });
    expect(result.report?.undo?.objects).toContainEqual(
      expect.objectContaining({ outcome: 'left', why: '/data/theirs was changed since by "kubectl-patch"' }),
    );
    expect((await connector.rollback(one.wpkId)).code).toBe(1);
    await connector.kubectl('delete', 'configmap', 'edited-new', '-n', ns);
    expect((await connector.rollback(one.wpkId)).code).toBe(0);
  }, 60_000);
});

describe('a package that is stopped', () => {
  it('stays where it was, and can be rolled back then', async () => {
    await prepare('stopped');
    const before = await stateOf(api, ns);
    const one = await connector.submitAndPlan({ steps: failing('stopped', 600), onFailure: 'rollback' });
    await approve(one);
    await connector.untilView(one.wpkId, ({ progress }) => progress?.step === 'never');
    expect(await connector.client.stop(one.wpkId)).toMatchObject({ phase: 'stopped' });
    expect(await connector.dataOf('stopped-new')).toEqual({ key: 'new' });
    expect((await connector.rollback(one.wpkId)).code).toBe(0);
    expect(await stateOf(api, ns)).toEqual(before);
  }, 60_000);
});

describe('what cannot be rolled back', () => {
  it('is a package that succeeded, waits, or is unknown', async () => {
    const done = await connector.submitAndPlan();
    await approve(done);
    await connector.client.result(done.wpkId);
    expect(await secretsKept(done.wpkId)).toBe('');
    expect(await connector.rollback(done.wpkId)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('It succeeded.'),
    });
    const waiting = await connector.submitAndPlan();
    expect(await connector.rollback(waiting.wpkId)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Nothing of it was executed.'),
    });
    expect(await connector.rollback('01JD0000000000000000000000')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('There is no work package with this id.'),
    });
  });

  it('is another package under the id of one that failed, and one by a run that is no rollback', async () => {
    await prepare('forged');
    const one = await connector.submitAndPlan({ steps: failing('forged') });
    await approve(one);
    await connector.client.result(one.wpkId);
    const { workflow } = connector.client.client;
    const rollback = (workflowId: string, signed: object) =>
      workflow.execute('rollbackWpk', {
        workflowId,
        taskQueue: `byoc.${connector.clusterId}.execution`,
        args: [{ signed }],
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      });
    const other = connector.signed({ id: one.wpkId });
    const own = `rollback/${connector.clusterId}/${one.wpkId}`;
    for (const [workflowId, signed] of [
      [own, other],
      [own, { ...other, bundle: {} }],
      ['somebody', other],
    ] as const) {
      await expect(rollback(workflowId, signed)).rejects.toThrow();
    }
    expect(await connector.dataOf('forged-new')).toEqual({ key: 'new' });
    const refusals = (await connector.audit()).filter(({ type }) => type === 'call.refused');
    expect(refusals.map(({ detail }) => detail['code'])).toEqual(
      expect.arrayContaining(['CALLER_UNTRUSTED', 'BUNDLE_EMPTY']),
    );
  });
});
