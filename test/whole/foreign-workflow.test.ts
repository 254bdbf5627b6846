import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ExecuteInput } from '../../activities/package/execution.ts';
import type { Program } from '../../dev/process.ts';
import type { VoteRecord } from '../../domain/approvals.ts';
import { taskQueueOf, workflowIdOf } from '../../domain/names.ts';
import { bindingOf } from '../../domain/plan.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { startForeigner } from '../support/foreign/start.ts';
import type { ForeignCall } from '../support/foreign/workflows.ts';
import { applyStep, configMap } from '../support/packages.ts';

const OTHER_DIGEST = `sha256:${'0'.repeat(64)}` as const;

/** What the activity takes, and votes as it might once have believed them. */
type ForgedInput = ExecuteInput & { readonly votes: readonly VoteRecord[] };

/** R38: whoever shares the Temporal namespace can schedule our activities with any arguments; nothing comes of it. */
describe('a foreign workflow in the same Temporal namespace', () => {
  let connector: TestConnector;
  let foreigner: Program;
  let uses = 0;
  const queue = () => `foreign.${connector.clusterId}`;

  beforeAll(async () => {
    connector = await TestConnector.start({ clothes: 'development' }); // a stranger has no key
    foreigner = await startForeigner(connector, queue(), 'workflows.ts');
  });
  afterAll(async () => {
    await foreigner.kill();
    await connector.stop();
  });

  /** A package that waits for approval, with all that a foreigner can learn of it. */
  async function waiting(): Promise<WaitingPackage & { signed: SignedWpk; name: string }> {
    const name = `wanted-${(uses += 1)}`;
    const signed = connector.signed({ steps: [applyStep(configMap(name, connector.namespace, {}))] });
    return { ...(await connector.untilWaiting(await connector.client.submit(signed))), signed, name };
  }

  /** The genuine package and plan, with votes that nobody gave. */
  async function forgedInput({
    wpkId,
    signed,
    planDigest,
  }: WaitingPackage & { signed: SignedWpk }): Promise<ForgedInput> {
    const plan = await connector.client.plan(wpkId);
    if (!plan) throw new Error('there is no plan');
    const vote = (approver: string): VoteRecord => ({
      decision: 'approve',
      approver,
      planDigest,
      proof: 'verified',
      via: 'update',
      at: new Date().toISOString(),
      receivedAt: new Date().toISOString(),
    });
    return {
      signed,
      planDigest: plan.digest,
      binding: bindingOf(plan),
      votes: [vote('bob@example.com'), vote('carol@example.com')],
    };
  }

  /** Runs a foreign workflow; resolves to what it was refused with. */
  async function steal(type: string, workflowId: string, activity: string, argument: unknown): Promise<string> {
    const call: ForeignCall = { taskQueue: taskQueueOf(connector.clusterId, 'execution'), activity, argument };
    const { workflow } = connector.client.client;
    return workflow.execute<(call: ForeignCall) => Promise<string>>(type, {
      taskQueue: queue(),
      workflowId,
      args: [call],
    });
  }

  async function expectRefused(workflowId: string, activity: string, code: string): Promise<void> {
    expect(await connector.audit({ workflowId })).toContainEqual(
      expect.objectContaining({
        type: 'call.refused',
        outcome: 'refused',
        detail: expect.objectContaining({ activity, code }),
      }),
    );
    expect(await connector.log()).toContainEqual(
      expect.objectContaining({ alert: 'refused', activity, code, workflowId }),
    );
  }

  it.each(['verifyPackage', 'planPackage', 'executePackage', 'recordEvents'])(
    'is refused %s, with a genuine package and made-up votes, and nothing is written',
    async (activity) => {
      const one = await waiting();
      const input = { ...(await forgedInput(one)), events: [] };
      const workflowId = `${queue()}/${one.wpkId}`;
      expect(await steal('stealActivity', workflowId, activity, input)).toBe('CALLER_UNTRUSTED');
      await expectRefused(workflowId, activity, 'CALLER_UNTRUSTED');
      expect(await connector.dataOf(one.name)).toBeUndefined();
      expect(await connector.client.get(one.wpkId)).toMatchObject({ phase: 'awaiting-approval', votes: [] });
      await connector.client.stop(one.wpkId);
    },
  );

  it('is refused under the name and id of the package’s own run too, being on another queue', async () => {
    const one = await waiting();
    const input = { ...(await forgedInput(one)), events: [] };
    await connector.client.stop(one.wpkId);
    for (const activity of ['verifyPackage', 'planPackage', 'executePackage', 'recordEvents']) {
      expect(await steal('executeWpk', one.workflowId, activity, input)).toBe('CALLER_UNTRUSTED');
      await expectRefused(one.workflowId, activity, 'CALLER_UNTRUSTED');
    }
    expect(await connector.dataOf(one.name)).toBeUndefined();
  });

  it('cannot use the id of a package up before it is submitted', async () => {
    const wpk = connector.wpk();
    const workflowId = workflowIdOf(connector.clusterId, wpk.metadata.id);
    const signed = connector.signed({ id: wpk.metadata.id });
    expect(await steal('executeWpk', workflowId, 'verifyPackage', { signed })).toBe('CALLER_UNTRUSTED');
    const claim = `wpk-${wpk.metadata.id.toLowerCase()}`;
    expect(
      await connector.kubectl('get', 'configmap', claim, '-n', connector.stateNamespace, '--ignore-not-found'),
    ).toBe('');
  });

  // R20: by the receipt of such a call the codec server knows that its reading is recorded.
  it('has each reading recorded that it tells of, also the second of one run', async () => {
    const call = (reader: string): ForeignCall => ({
      taskQueue: taskQueueOf(connector.clusterId, 'execution'),
      activity: 'recordPayloadRead',
      argument: { reader, namespace: connector.services.temporal.namespace, nonce: 'n'.repeat(22) },
    });
    const calls = ['first@example.com', 'second@example.com', 'second@example.com'].map(call);
    const { workflow } = connector.client.client;
    const answers = await workflow.execute<(calls: readonly ForeignCall[]) => Promise<string[]>>('stealActivities', {
      taskQueue: queue(),
      workflowId: `${queue()}/readings`,
      args: [calls],
    });
    expect(answers).toEqual(['done', 'done', 'done']);
    const readings = (await connector.audit()).filter(({ type }) => type === 'payload.read');
    expect(readings.map(({ actor }) => actor.id)).toEqual(['first@example.com', 'second@example.com']);
  });

  it.each([
    ['nothing', undefined],
    ['a number', 7],
    ['an empty object', {}],
    [
      'a package of rubbish',
      { signed: { payload: '!', bundle: {} }, planDigest: OTHER_DIGEST, binding: {}, votes: 'all' },
    ],
  ])('is refused when it sends %s', async (what, argument) => {
    for (const activity of ['verifyPackage', 'planPackage', 'executePackage', 'recordEvents']) {
      const workflowId = `${queue()}/${what}/${activity}`;
      expect(await steal('stealActivity', workflowId, activity, argument)).toBe('CALLER_UNTRUSTED');
      await expectRefused(workflowId, activity, 'CALLER_UNTRUSTED');
    }
  });
});
