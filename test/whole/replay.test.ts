import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ConnectorClient } from '../../client/connector-client.ts';
import { startWorker } from '../../dev/connector.ts';
import { temporalSettings } from '../../dev/environment.ts';
import type { Stack } from '../../dev/stack.ts';
import { EXECUTE_WPK, taskQueueOf } from '../../domain/names.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import { TestConnector } from '../support/connector.ts';
import { asyncErrorOf } from '../support/expect-code.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { ownStack } from '../support/stack.ts';

const BOB = 'bob@example.com';
const PACKAGES = 20;
const ROUNDS = 50;
const REPLAYS = PACKAGES * ROUNDS;
const CHOSEN_EVERY = 5;
/** The worker is killed and replaced so often during the replays. */
const RESTARTS = 3;

/** R35: a used id stays used, whatever Temporal remembers, and whoever starts the run and how. */
describe('a package that was executed', () => {
  let connector: TestConnector;
  let uses = 0;
  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  interface Executed {
    readonly signed: SignedWpk;
    readonly wpkId: string;
    readonly workflowId: string;
    readonly runId: string;
    readonly name: string;
  }

  /** Executed once; what it made is removed, so that a second time would be seen. */
  async function executed(): Promise<Executed> {
    const name = `once-${(uses += 1)}`;
    const signed = connector.signed({ steps: [applyStep(configMap(name, connector.namespace, {}))] });
    const one = await connector.untilWaiting(await connector.client.submit(signed));
    await connector.signalApproval(one.workflowId, { approver: BOB, planDigest: one.planDigest });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
    await connector.kubectl('delete', 'configmap', name, '-n', connector.namespace);
    return { ...one, signed, name };
  }

  /** Starts the package as somebody would who wants it to run again; resolves to the code that ends the run. */
  async function startAgain(signed: SignedWpk, workflowId: string, more: object = {}): Promise<string> {
    const run = await connector.client.client.workflow.start(EXECUTE_WPK, {
      args: [signed],
      workflowId,
      taskQueue: taskQueueOf(connector.clusterId, 'execution'),
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      ...more,
    });
    const failed: unknown = await run.result().catch((error: unknown) => error);
    return (failed as { cause?: { type?: string } }).cause?.type ?? 'ran';
  }
  const executions = async ({ wpkId }: Executed) =>
    (await connector.audit()).filter(({ wpk, type }) => wpk === wpkId && type === 'step.started').length;

  it(`runs once in ${REPLAYS} replays of ${PACKAGES} packages, ${RESTARTS} deaths of the worker included`, async () => {
    const packages: Executed[] = [];
    while (packages.length < PACKAGES) packages.push(await executed());
    const codes = new Map<string, number>();
    for (let round = 0; round < ROUNDS; round++) {
      // Each package once a round: under its own id, where Temporal would allow it and only the claim does not, or now and
      // then under one that was chosen, which is found out before.
      const isChosen = round % CHOSEN_EVERY === CHOSEN_EVERY - 1;
      const replays = packages.map(({ signed, workflowId }, index) =>
        startAgain(signed, isChosen ? `chosen/${round}/${index}` : workflowId),
      );
      if (round % Math.ceil(ROUNDS / (RESTARTS + 1)) === 1 && round > 1) {
        await connector.killWorker();
        await connector.startWorker();
      }
      for (const code of await Promise.all(replays)) codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    const chosen = REPLAYS / CHOSEN_EVERY;
    expect(Object.fromEntries(codes)).toEqual({ WPK_ALREADY_USED: REPLAYS - chosen, CALLER_UNTRUSTED: chosen });
    const [first] = packages;
    expect((await asyncErrorOf(() => connector.client.submit(first?.signed as SignedWpk))).code).toBe(
      'WPK_ALREADY_USED',
    );
    for (const one of packages) {
      expect(await executions(one)).toBe(1);
      expect(await connector.dataOf(one.name)).toBeUndefined();
    }
  }, 600_000);

  it('does not run again under a retry policy, and each attempt is in the audit log', async () => {
    const one = await executed();
    const retry = { maximumAttempts: 3, initialInterval: '10ms' };
    expect(await startAgain(one.signed, one.workflowId, { retry })).toBe('WPK_ALREADY_USED');
    expect(await executions(one)).toBe(1);
    const refused = (await connector.audit({ workflowId: one.workflowId })).filter(
      ({ type }) => type === 'call.refused',
    );
    expect(refused).toMatchObject([{ detail: { code: 'WPK_ALREADY_USED' } }]);
  });

  it('does not run again where Temporal was wiped and knows nothing of it', async () => {
    const one = await executed();
    const fresh: Stack = await ownStack(['temporal']);
    const env = { ...connector.prepared.env, ...temporalSettings(fresh.temporal), BYOC_WRITER: 'worker-1' };
    const worker = await startWorker({ ...connector.prepared, env });
    const client = await ConnectorClient.connect(connector.clusterId, env);
    try {
      await client.submit(one.signed);
      expect(await client.result(one.wpkId)).toMatchObject({ phase: 'denied', error: { code: 'WPK_ALREADY_USED' } });
    } finally {
      await client.close();
      await worker.stop();
      await fresh.stop();
    }
    expect(await connector.dataOf(one.name)).toBeUndefined();
  }, 120_000);
});

describe('a run that was tampered with in Temporal', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  const reconcile = () =>
    connector.client.client.workflow.execute('reconcile', {
      workflowId: `byoc/${connector.clusterId}/reconcile/${Date.now()}`,
      taskQueue: taskQueueOf(connector.clusterId, 'execution'),
    });
  const cutOffs = async (workflowId: string) =>
    (await connector.audit({ workflowId })).filter(({ type }) => type === 'package.cut-off');

  it('is noticed where it was terminated, audited once, and never executes', async () => {
    const one = await connector.submitAndPlan();
    await connector.temporal('workflow', 'terminate', '--workflow-id', one.workflowId, '--reason', 'a test');
    expect(await reconcile()).toMatchObject({ cutOff: [one.wpkId] });
    expect(await reconcile()).toMatchObject({ cutOff: [] });
    expect(await cutOffs(one.workflowId)).toMatchObject([{ outcome: 'failed', detail: { fate: 'cut-off' } }]);
    expect(await connector.log()).toContainEqual(
      expect.objectContaining({ alert: 'cut-off', workflowId: one.workflowId }),
    );
  });

  it('cannot go on where it was reset to before its execution', async () => {
    const name = 'reset';
    const steps = [applyStep(configMap(name, connector.namespace, {}))];
    const one = await connector.submitAndPlan({ steps });
    const { workflowId } = one;
    await connector.temporal(
      'workflow',
      'reset',
      '--workflow-id',
      workflowId,
      '-t',
      'FirstWorkflowTask',
      '--reason',
      'x',
    );
    await connector.signalApproval(workflowId, { approver: BOB, planDigest: one.planDigest }).catch(() => undefined);
    expect(await connector.client.result(one.wpkId)).toMatchObject({
      phase: 'denied',
      error: { code: 'WPK_ALREADY_USED' },
    });
    expect(await reconcile()).toMatchObject({ cutOff: [one.wpkId] });
    expect(await connector.dataOf(name)).toBeUndefined();
  });

  it('is left alone while it waits, and when it has ended by itself', async () => {
    const [waits, ends] = [await connector.submitAndPlan(), await connector.submitAndPlan()];
    await connector.client.reject(ends.wpkId, { approver: BOB, reason: 'no' });
    await connector.client.result(ends.wpkId);
    expect(await reconcile()).toMatchObject({ cutOff: [] });
    await connector.signalApproval(waits.workflowId, { approver: BOB, planDigest: waits.planDigest });
    expect(await connector.client.result(waits.wpkId)).toMatchObject({ phase: 'succeeded' });
  });
});

describe('the sequence of a playbook', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  const settings = (name: string) => [applyStep(configMap(name, connector.namespace, {}))];
  async function run(sequence: number, playbook: string) {
    const one = await connector.submitAndPlan({ sequence, playbook, steps: settings(`${playbook}-${sequence}`) });
    return {
      wpkId: one.wpkId,
      finish: async () => {
        await connector.signalApproval(one.workflowId, { approver: BOB, planDigest: one.planDigest });
        return connector.client.result(one.wpkId);
      },
    };
  }

  it('does not go back: a package that was held back is denied once a newer one was executed', async () => {
    const [old, newer] = [await run(7, 'held-back'), await run(8, 'held-back')];
    expect(await newer.finish()).toMatchObject({ phase: 'succeeded' });
    expect(await old.finish()).toMatchObject({ phase: 'denied', error: { code: 'WPK_SEQUENCE_OLD' } });
    expect(await connector.dataOf('held-back-7')).toBeUndefined();
  });

  it('does not punish packages that only arrive out of order, or other playbooks', async () => {
    const [late, early] = [await run(8, 'in-order'), await run(7, 'in-order')];
    expect(await early.finish()).toMatchObject({ phase: 'succeeded' });
    expect(await late.finish()).toMatchObject({ phase: 'succeeded' });
    expect(await (await run(1, 'another')).finish()).toMatchObject({ phase: 'succeeded' });
  });
});
