import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Stack } from '../../dev/stack.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { SlowNetwork } from '../support/slow-network.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';
/** So many, and so slow, that a package is at work for ten seconds: 16 writes are under way at a time. */
const OBJECTS = 500;
const HELD_MS = 300;
/** A package begins with some 18 requests, each of which is held. */
const HELD_UP_MS = 60_000;
/** Nobody may write who has not read the freeze within this time. */
const STALE_MS = 2_000;

/** In this order: Temporal goes last. */
describe('when a cluster is stopped in the middle of a package', () => {
  let stack: Stack;
  let network: SlowNetwork;
  let connector: TestConnector;
  let uses = 0;

  beforeAll(async () => {
    stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes']);
    network = await SlowNetwork.start(stack.kubernetes);
    connector = await TestConnector.start({ services: stack, through: network });
  }, 180_000);
  afterAll(async () => {
    await connector.stop();
    await network.stop();
    await stack.stop();
  });

  interface Started extends WaitingPackage {
    readonly label: string;
  }

  async function startLongPackage(): Promise<Started> {
    const label = `long-${(uses += 1)}`;
    const manifests = Array.from({ length: OBJECTS }, (_, index) => {
      const one = configMap(`${label}-${index}`, connector.namespace, {});
      return { ...one, metadata: { ...one.metadata, labels: { part: label } } };
    });
    const one = await connector.submitAndPlan({ steps: [applyStep(...manifests)] });
    await network.holdAnswers(HELD_MS);
    await connector.signalApproval(one.workflowId, { approver: BOB, planDigest: one.planDigest });
    await until('some objects', async () => (await written(label)) > 20, HELD_UP_MS);
    return { ...one, label };
  }
  async function written(label: string): Promise<number> {
    const names = await connector.kubectl('get', 'cm', '-n', connector.namespace, '-l', `part=${label}`, '-o', 'name');
    return names.split('\n').filter((line) => line !== '').length;
  }
  const stopAll = async () => {
    const { code, stdout, stderr } = await connector.byoc('stop', '--all', '--reason', 'test', '-o', 'json');
    return { code, stderr, told: JSON.parse(stdout) as Record<string, unknown> };
  };
  /** Long enough for anything that was still on its way. */
  async function expectNoMoreWrites(label: string): Promise<void> {
    const before = await written(label);
    expect(before).toBeLessThan(OBJECTS);
    await sleep(3_000);
    expect(await written(label)).toBe(before);
  }
  async function recover(): Promise<void> {
    await connector.byoc('resume', '--reason', 'test');
  }

  it('nothing is written after the command has returned', async () => {
    const one = await startLongPackage();
    expect(await stopAll()).toMatchObject({ code: 0, told: { frozen: true, executors: [{ fate: 'acknowledged' }] } });
    await expectNoMoreWrites(one.label);
    await network.letAnswersThrough();
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'stopped' });
    await recover();
  }, 180_000);

  it('whose worker has not heard from the API server for two seconds, nothing is written, whatever the freeze says', async () => {
    const one = await startLongPackage();
    await network.letAnswersThrough();
    await network.holdAnswers(6_000);
    await sleep(STALE_MS + 500);
    await expectNoMoreWrites(one.label);
    await network.letAnswersThrough();
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
  }, 180_000);

  it('whose worker is cut off, the command waits for its Lease to run out, and nothing is written once it is back', async () => {
    const one = await startLongPackage();
    await network.cut();
    const stopped = await stopAll();
    await network.letAnswersThrough();
    await network.join();
    // One that lapsed before, with something under way, may be there as well.
    expect(stopped).toMatchObject({ code: 0, told: { frozen: true } });
    expect(stopped.told['executors']).toContainEqual({ holder: 'worker-0', fate: 'expired', writesInFlight: 0 });
    await expectNoMoreWrites(one.label);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'stopped' });
    await recover();
  }, 180_000);

  it('by an executor that does not answer, the command says which, and that the freeze is set', async () => {
    const one = await startLongPackage();
    await network.letAnswersThrough();
    await network.holdAnswers(15_000);
    const { code, stdout, stderr } = await connector.byoc('stop', '--all', '--reason', 'test', '--timeout', '2');
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: expect.stringMatching(/FREEZE_UNACKNOWLEDGED.*worker-0 \(writes under way: \d+\)/),
    });
    expect(stdout).toContain('executor worker-0: NO ANSWER');
    await network.letAnswersThrough();
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'stopped' });
    await recover();
  }, 180_000);

  it('while Temporal is down, halts it all the same, and says which part was done', async () => {
    const one = await startLongPackage();
    await stack.kill('temporal');
    expect(await stopAll()).toMatchObject({
      code: 0,
      told: { frozen: true, executors: [{ fate: 'acknowledged' }], cancelled: [], errors: ['TEMPORAL_UNAVAILABLE'] },
    });
    await expectNoMoreWrites(one.label);
    await network.letAnswersThrough();
    const claim = await connector.kubectl(
      ...[
        'get',
        'configmap',
        `wpk-${one.wpkId.toLowerCase()}`,
        '-n',
        connector.stateNamespace,
        '-o',
        'jsonpath={.data.ended}',
      ],
    );
    expect(claim).toBe('stopped');
  }, 180_000);
});
