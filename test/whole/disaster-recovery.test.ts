import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Stack } from '../../dev/stack.ts';
import { scheduleIdOf } from '../../domain/names.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';
/** Pods would go back in time with etcd, and their tokens with them. */
const AS_A_PROCESS = { clothes: 'development' } as const;

const STATE = ['-n', 'byoc-system'];

/** What reads from the API server, and would go on from a state that there is no more. */
const CONTROLLERS = ['kube-controller-manager', 'kube-scheduler', 'kwok'] as const;

/** R30, R35: the yearly test of docs/calendar.md, in its order. */
describe('when Temporal is wiped, the node is lost, and etcd is restored from a backup', () => {
  let stack: Stack;
  let connector: TestConnector;
  /** Another cluster's connector, without a bucket: what the bucket is worth. */
  let withoutBucket: TestConnector;
  let before: Executed;
  let waiting: WaitingPackage;
  let after: Executed;
  let unprotected: Executed;
  let heldBack: SignedWpk;

  interface Executed {
    readonly signed: SignedWpk;
    readonly wpkId: string;
    readonly name: string;
  }

  const signedWith = (where: TestConnector, name: string, more: object = {}) =>
    where.signed({ steps: [applyStep(configMap(name, where.namespace, {}))], ...more });
  const approve = (where: TestConnector, { workflowId, planDigest }: WaitingPackage) =>
    where.signalApproval(workflowId, { approver: BOB, planDigest });
  async function runs(where: TestConnector, name: string, more: object = {}): Promise<Executed> {
    const signed = signedWith(where, name, more);
    const one = await where.untilWaiting(await where.client.submit(signed));
    await approve(where, one);
    expect(await where.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
    return { signed, wpkId: one.wpkId, name };
  }
  /** Somebody who has the signed package sends it once more, and an approver who suspects nothing approves it. */
  async function again(where: TestConnector, signed: SignedWpk): Promise<WaitingPackage> {
    const one = await where.untilWaiting(await where.client.submit(signed));
    await approve(where, one);
    return one;
  }

  beforeAll(async () => {
    stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes'], { persist: true });
    [connector, withoutBucket] = await Promise.all([
      TestConnector.start({ services: stack, ...AS_A_PROCESS }),
      TestConnector.start({ services: stack, ...AS_A_PROCESS }),
    ]);
    await withoutBucket.stopWorker();
    delete withoutBucket.prepared.env['S3_BUCKET'];
    await withoutBucket.startWorker();

    before = await runs(connector, 'before', { playbook: 'any', sequence: 1 });
    waiting = await connector.submitAndPlan();
    await backUp();
    after = await runs(connector, 'after', { playbook: 'held-back', sequence: 8 });
    heldBack = signedWith(connector, 'held-back', { playbook: 'held-back', sequence: 7 });
    unprotected = await runs(withoutBucket, 'unprotected');
    await until('the log to be in the bucket', async () => (await connector.log()).length > 0);

    await Promise.all([connector.stopWorker(), withoutBucket.stopWorker()]);
    await disaster();
    await rm(connector.prepared.auditDir, { recursive: true, force: true }); // a pod's disk goes with its node
    // Before any worker runs: the backup says that the cluster was open.
    await connector.kubectl('patch', 'configmap', `byoc-freeze-${connector.clusterId}`, ...STATE, ...FROZEN);
    await Promise.all([connector.startWorker(), withoutBucket.startWorker()]);
  }, 240_000);
  afterAll(async () => {
    await connector.stop();
    await withoutBucket.stop();
    await stack.stop();
  });

  const etcd = () => join(stack.stateDir, 'etcd');
  async function backUp(): Promise<void> {
    await stack.kill('etcd');
    await cp(etcd(), `${etcd()}-backup`, { recursive: true });
    await stack.restart('etcd');
    await connector.kubectl('get', '--raw', '/readyz');
  }
  async function disaster(): Promise<void> {
    for (const part of [...CONTROLLERS, 'kube-apiserver', 'etcd', 'temporal'] as const) await stack.kill(part);
    await rm(join(stack.stateDir, 'temporal', 'temporal.db'));
    await rm(etcd(), { recursive: true });
    await cp(`${etcd()}-backup`, etcd(), { recursive: true });
    for (const part of ['etcd', 'kube-apiserver', ...CONTROLLERS, 'temporal'] as const) await stack.restart(part);
  }

  it('begins frozen, with nothing left of what was done since the backup', async () => {
    const { stdout } = await connector.byoc('list');
    expect(stdout).toMatch(/^ID .*\n$/);
    expect(await connector.dataOf(before.name)).toBeDefined();
    expect(await connector.dataOf(after.name)).toBeUndefined();
    const claim = `wpk-${after.wpkId.toLowerCase()}`;
    expect(await connector.kubectl('get', 'configmap', claim, ...STATE, '--ignore-not-found')).toBe('');
  });

  it('says that the log on the disk is lost, and goes on in another chain', async () => {
    const types = (await connector.audit()).map(({ type }) => type);
    expect(types).toContain('audit.chain-begun');
    expect(await connector.log()).toContainEqual(expect.objectContaining({ alert: 'audit-lost' }));
  });

  it('closes what waited for people: its run is gone, and its claim is not', async () => {
    // The schedule, made anew by the worker, comes within a minute by itself.
    await connector.client.client.schedule.getHandle(scheduleIdOf(connector.clusterId, 'reconcile')).trigger();
    await until('the package to be cut off', async () =>
      (await connector.audit({ workflowId: waiting.workflowId })).some(({ type }) => type === 'package.cut-off'),
    );
  }, 120_000);

  it('denies what was executed before the backup, by its claim', async () => {
    await connector.client.submit(before.signed);
    expect(await connector.client.result(before.wpkId)).toMatchObject({
      phase: 'denied',
      error: { code: 'WPK_ALREADY_USED' },
    });
  });

  it('denies what was executed after the backup, by the bucket, even when people approve it once more', async () => {
    const one = await again(connector, after.signed);
    const { stdout } = await connector.byoc('list');
    expect(stdout).toContain('frozen');
    expect((await connector.byoc('resume', '--reason', 'restored', '--as', BOB)).code).toBe(0);
    expect(await connector.client.result(one.wpkId)).toMatchObject({
      phase: 'denied',
      error: { code: 'WPK_ALREADY_USED' },
    });
    expect(await connector.dataOf(after.name)).toBeUndefined();
  });

  it('has forgotten sequences: an older package, held back and valid still, is executed once it is approved', async () => {
    const one = await again(connector, heldBack);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
  });

  it('works again', async () => {
    await runs(connector, 'new');
  });

  it('leaves a log in the bucket that verifies as a whole', async () => {
    await until('all of it to be in the bucket', async () => {
      const { code, stdout } = await connector.byoc('audit', 'verify', bucketUrl());
      return code === 0 && stdout.includes('_2');
    });
    const found = await connector.byoc(
      'audit',
      'search',
      '--package',
      after.wpkId,
      '--type',
      'step.started',
      bucketUrl(),
    );
    expect(found).toMatchObject({ code: 0, stdout: expect.stringContaining('step.started') });
  });
  const bucketUrl = () => `s3://${stack.s3.bucket}/byoc/${connector.clusterId}`;

  it('without a bucket executes a second time what is valid still and approved once more', async () => {
    const one = await again(withoutBucket, unprotected.signed);
    expect(await withoutBucket.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
  });
});

const FROZEN = ['--type=merge', '-p', JSON.stringify({ data: { frozen: 'true', reason: 'restored from a backup' } })];
