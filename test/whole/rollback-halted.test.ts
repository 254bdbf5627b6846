import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { ulid } from 'ulid';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { createStateSecrets } from '../../activities/kubernetes/writer.ts';
import { subjectOf } from '../../activities/package/journal.ts';
import { startWorker } from '../../dev/connector.ts';
import { scheduleIdOf } from '../../domain/names.ts';
import type { Step } from '../../domain/wpk.ts';
import { stateOf } from '../support/cluster-state.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { CLOTHES, TestConnector } from '../support/connector.ts';
import { deployment } from '../support/kubernetes.ts';
import { adminApi } from '../support/kubernetes-admin.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { SlowNetwork } from '../support/slow-network.ts';
import { sharedServices } from '../support/stack.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';
/** So many, and so slow, that undoing them takes some seconds: 16 are under way at a time. */
const OBJECTS = 100;
const HELD_MS = 300;
/** A stop asks for no key: what is encrypted it cannot tell. */
const HALTED = CLOTHES === 'production' ? 'Its rollback was told to halt' : 'Its rollback halts where it is';
/** Long enough that a command is started before all of them are undone. */
const LONG_HELD_MS = 1_000;
/** What is executed or undone begins with some 18 requests, each of which is held. */
const HELD_UP_MS = 60_000;
/** A dead worker's activity is given to another after 5 s, and its locks after its Lease has run out. */
const RECOVERY_MS = 60_000;

let network: SlowNetwork;
let connector: TestConnector;
let api: KubeApi;
let ns: string;
let uses = 0;

beforeAll(async () => {
  const { kubernetes } = await sharedServices();
  network = await SlowNetwork.start(kubernetes);
  connector = await TestConnector.start({ through: network });
  ns = connector.namespace;
  api = adminApi(kubernetes.kubeconfig);
}, 60_000);
afterAll(async () => {
  await api.close();
  await connector.stop();
  await network.stop();
});

afterEach(() => network.letAnswersThrough());

const anotherName = () => `undone-${(uses += 1)}`;
const approve = ({ workflowId, planDigest }: WaitingPackage) =>
  connector.signalApproval(workflowId, { approver: BOB, planDigest });
const never = (timeoutSeconds: number): Step => {
  const target = { kind: 'ConfigMap', name: 'nobody-makes-it', namespace: ns };
  return { id: 'never', action: 'wait', target, for: 'ready', timeoutSeconds };
};
const patchFreeze = (data: object) =>
  connector.kubectl(
    ...[
      'patch',
      'configmap',
      `byoc-freeze-${connector.clusterId}`,
      '-n',
      connector.stateNamespace,
      '--type=merge',
      '-p',
    ],
    JSON.stringify({ data }),
  );
const typesOf = async (workflowId: string) => (await connector.audit({ workflowId })).map(({ type }) => type);

/** Many objects of one name, each with a label by which they are counted. */
const many = (name: string): Step =>
  applyStep(
    ...Array.from({ length: OBJECTS }, (_, index) => {
      const one = configMap(`${name}-${index}`, ns, {});
      return { ...one, metadata: { ...one.metadata, labels: { part: name } } };
    }),
  );
async function written(name: string): Promise<number> {
  const options = { atMost: 5_000, labelSelector: `part=${name}` };
  return (await api.list(`/api/v1/namespaces/${ns}/configmaps`, options))?.length ?? 0;
}
async function expectNoMoreUndone(name: string): Promise<void> {
  const left = await written(name);
  expect(left).toBeGreaterThan(0);
  await sleep(3_000);
  expect(await written(name)).toBe(left);
}

/** A package that has failed and says halt, while somebody has it rolled back. */
async function beingRolledBack(name: string) {
  const one = await connector.submitAndPlan({ steps: [many(name), never(1)] });
  await approve(one);
  expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'failed' });
  await network.holdAnswers(LONG_HELD_MS);
  const rollback = connector.client.rollback(one.wpkId, { by: BOB });
  await until('some objects to be gone', async () => (await written(name)) < OBJECTS - 10, HELD_UP_MS);
  return { ...one, rollback };
}

async function deployed(name: string): Promise<void> {
  const file = await connector.save(`${name}.json`, JSON.stringify(deployment(ns, name)));
  await connector.kubectl('apply', '--server-side', '-f', file);
  await connector.kubectl('rollout', 'status', `deployment/${name}`, '-n', ns, '--timeout=60s');
}

async function untilNothingIsLocked(): Promise<void> {
  const table = `byoc-locks-${connector.clusterId}`;
  await until('the locks to be free', async () => {
    const data = await connector.kubectl(
      'get',
      'configmap',
      table,
      '-n',
      connector.stateNamespace,
      '-o',
      'jsonpath={.data}',
    );
    return data === '' || data === '{}';
  });
}

describe('a rollback that somebody has asked for', () => {
  it('halts where it is with byoc stop, is shown, and goes on when it is asked for again', async () => {
    const name = anotherName();
    const { wpkId, rollback } = await beingRolledBack(name);
    const view = await connector.untilView(wpkId, (one) => one.rollback?.state === 'under way');
    expect(view).toMatchObject({ phase: 'failed', rollback: { progress: { step: 'undoing apply' } } });
    expect(await connector.byoc('stop', wpkId)).toEqual({
      ...{
        code: 0,
        stdout: 'failed\n',
        stderr: expect.stringContaining(HALTED),
      },
    });
    await expectNoMoreUndone(name);
    expect(await rollback).toMatchObject({ outcome: 'stopped', report: { complete: false } });
    await network.letAnswersThrough();
    expect((await connector.byoc('show', wpkId)).stdout).toContain('rollback stopped before its end');
    const again = await connector.rollback(wpkId);
    expect({ code: again.code, left: await written(name) }).toEqual({ code: 0, left: 0 });
    expect((await connector.byoc('show', wpkId)).stdout).toContain('rolled back');
    await untilNothingIsLocked();
  }, 150_000);

  it('halts when the cluster is frozen, is refused as long as it is, and goes on after that', async () => {
    const name = anotherName();
    const { wpkId, rollback } = await beingRolledBack(name);
    await patchFreeze({ frozen: 'true', reason: 'leak' });
    expect(await rollback).toMatchObject({ outcome: 'stopped' });
    await expectNoMoreUndone(name);
    await network.letAnswersThrough();
    expect(await connector.rollback(wpkId)).toMatchObject({
      ...{ code: 1, stderr: expect.stringMatching(/ROLLBACK_REFUSED.*It is frozen since .*byoc resume/) },
    });
    await connector.byoc('resume', '--reason', 'test');
    expect(await connector.rollback(wpkId)).toMatchObject({ code: 0 });
    expect(await written(name)).toBe(0);
  }, 150_000);
});

describe('a package that is to be undone when it fails', () => {
  it('is stopped, with nothing undone, where the cluster is frozen just then, and holds nothing up', async () => {
    const name = anotherName();
    const one = await connector.submitAndPlan({
      steps: [applyStep(configMap(name, ns, { by: 'one' })), never(2)],
      onFailure: 'rollback',
    });
    await network.holdAnswers(LONG_HELD_MS);
    await approve(one);
    const claim = `wpk-${one.wpkId.toLowerCase()}`;
    await until(
      'it to have failed',
      async () => {
        const ended = await connector.kubectl(
          ...['get', 'configmap', claim, '-n', connector.stateNamespace, '-o', 'jsonpath={.data.ended}'],
        );
        return ended === 'failed:NOT_READY';
      },
      HELD_UP_MS,
    );
    await patchFreeze({ frozen: 'true', reason: 'leak' });
    expect(await connector.client.result(one.wpkId)).toMatchObject({
      ...{ phase: 'stopped', report: { undo: { objects: [], complete: false } } },
    });
    await network.letAnswersThrough();
    expect(await connector.dataOf(name)).toEqual({ by: 'one' });
    expect(await typesOf(one.workflowId)).not.toContain('rollback.finished');
    await connector.byoc('resume', '--reason', 'test');

    const next = await connector.submitAndPlan({ steps: [applyStep(configMap(name, ns, { by: 'next' }))] });
    await approve(next);
    expect(await connector.client.result(next.wpkId)).toMatchObject({ phase: 'succeeded' });
    await untilNothingIsLocked();
  }, 150_000);

  it('keeps its objects until it is undone: another package waits, also between failure and undoing', async () => {
    const name = anotherName();
    await deployed(name);
    const target = { kind: 'Deployment', name, namespace: ns };
    const body = { metadata: { annotations: { note: 'x' } } };
    const patch: Step = { id: 'patch', action: 'patch', target, patch: { type: 'merge', body } };
    const [first, second] = [
      await connector.submitAndPlan({ steps: [patch, never(3)], onFailure: 'rollback' }),
      await connector.submitAndPlan({ steps: [{ id: 'scale', action: 'scale', target, replicas: 3 }] }),
    ];
    await approve(first);
    await connector.untilView(first.wpkId, ({ progress }) => progress?.step === 'never');
    await network.holdAnswers(HELD_MS); // so that it takes some time between and in the middle
    await approve(second);
    await connector.untilView(second.wpkId, ({ progress }) => progress?.waitingFor?.includes(first.wpkId) === true);
    expect(await connector.client.result(first.wpkId)).toMatchObject({ phase: 'rolled-back' });
    expect(await connector.client.result(second.wpkId)).toMatchObject({ phase: 'succeeded' });
    await network.letAnswersThrough();
    const undone = (await connector.audit({ workflowId: first.workflowId })).find(
      ({ type }) => type === 'rollback.finished',
    );
    const started = (await connector.audit({ workflowId: second.workflowId })).find(
      ({ type }) => type === 'step.started',
    );
    expect(undone && started && started.time >= undone.time).toBe(true);
    await untilNothingIsLocked();
  }, 150_000);

  it('is undone once, also where the worker is killed in the middle of it', async () => {
    const name = anotherName();
    await deployed(name);
    const target = { kind: 'Deployment', name, namespace: ns };
    const generation = async () => (await connector.read('deployment', name))?.['metadata'] as { generation: number };
    const before = { state: await stateOf(api, ns), ...(await generation()) };
    const one = await connector.submitAndPlan({
      steps: [{ id: 'restart', action: 'restart', target }, { ...many(name), id: 'many' }, never(1)],
      onFailure: 'rollback',
    });
    await approve(one);
    await until('all objects', async () => (await written(name)) === OBJECTS);
    await network.holdAnswers(HELD_MS);
    await until('some objects to be gone', async () => (await written(name)) < OBJECTS - 10);
    await connector.killWorker();
    await network.letAnswersThrough();
    await connector.startWorker();
    const { phase, report } = await connector.client.result(one.wpkId);
    expect({ phase, complete: report?.undo?.complete }).toEqual({ phase: 'rolled-back', complete: true });
    expect(report?.undo?.objects).toHaveLength(OBJECTS + 1);
    expect(await stateOf(api, ns)).toEqual(before.state);
    expect((await generation()).generation).toBe(before.generation + 2);
    await untilNothingIsLocked();
  }, 120_000);
});

/** The next worker that is free hears of the stop, as where another one had handled the votes. */
async function forgetWorker({ workflowId, runId }: WaitingPackage): Promise<void> {
  const { workflowService, options } = connector.client.client;
  await workflowService.resetStickyTaskQueue({ namespace: options.namespace, execution: { workflowId, runId } });
}

describe('a package that is stopped while the worker that was at it is gone', () => {
  it(
    'ends as stopped, is in the audit log, and can be rolled back at once',
    async () => {
      const name = anotherName();
      const steps = [applyStep(configMap(name, ns, {})), never(600)];
      const one = await connector.submitAndPlan({ steps });
      await approve(one);
      await connector.untilView(one.wpkId, ({ progress }) => progress?.step === 'never');
      const folder = await mkdtemp(join(tmpdir(), 'byoc-second-'));
      const env = { ...connector.prepared.env, BYOC_WRITER: 'worker-1' };
      const second = await startWorker({ ...connector.prepared, folder, env });
      try {
        await forgetWorker(one);
        await connector.killWorker();
        expect(await connector.byoc('stop', one.wpkId)).toMatchObject({ code: 0, stdout: 'stopped\n' });
        expect(await connector.client.get(one.wpkId)).toMatchObject({
          ...{ phase: 'stopped', error: { code: 'WORKER_UNAVAILABLE' } },
        });
        expect(await typesOf(one.workflowId)).toContain('package.stopped');
        expect(await connector.rollback(one.wpkId)).toMatchObject({ code: 0 });
        expect(await connector.dataOf(name)).toBeUndefined();
      } finally {
        await second.stop();
        await rm(folder, { recursive: true, force: true });
        await connector.startWorker();
      }
    },
    RECOVERY_MS * 2,
  );
});

describe('what was kept for undoing a package', () => {
  it('is removed where the package has no claim any more, and stays where it may be undone', async () => {
    const secrets = createStateSecrets(api, connector.stateNamespace);
    const failed = await connector.submitAndPlan({ steps: [applyStep(configMap(anotherName(), ns, {})), never(1)] });
    await approve(failed);
    expect(await connector.client.result(failed.wpkId)).toMatchObject({ phase: 'failed' });
    const orphan = subjectOf(ulid());
    await secrets.put(`${orphan}-0-v1-0`, orphan, { part: Buffer.from('secret') });
    await connector.client.client.schedule.getHandle(scheduleIdOf(connector.clusterId, 'reconcile')).trigger();
    await until('it to be removed', async () => (await secrets.list(orphan)).size === 0);
    expect((await secrets.list(subjectOf(failed.wpkId))).size).toBeGreaterThan(0);
    expect(await connector.rollback(failed.wpkId)).toMatchObject({ code: 0 });
    expect((await secrets.list(subjectOf(failed.wpkId))).size).toBe(0);
  }, 150_000);
});
