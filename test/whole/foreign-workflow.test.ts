import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ExecuteInput } from '../../activities/package/execution.ts';
import { Program, untilHealthy } from '../../dev/process.ts';
import type { VoteRecord } from '../../domain/approvals.ts';
import { taskQueueOf, workflowIdOf } from '../../domain/names.ts';
import { bindingOf } from '../../domain/plan.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import type { ForeignCall } from '../support/foreign/workflows.ts';
import { applyStep, configMap } from '../support/packages.ts';

const OTHER_DIGEST = `sha256:${'0'.repeat(64)}` as const;

/** R38: whoever shares the Temporal namespace can schedule our activities, with whatever arguments; nothing comes of it. */
describe('a foreign workflow in the same Temporal namespace', () => {
  let connector: TestConnector;
  let foreigner: Program;
  let uses = 0;
  const queue = () => `foreign.${connector.clusterId}`;

  beforeAll(async () => {
    connector = await TestConnector.start();
    const { address, namespace } = connector.services.temporal;
    foreigner = new Program({
      name: 'foreign worker',
      command: process.execPath,
      args: [join(import.meta.dirname, '../support/foreign/worker.ts'), address, namespace, queue()],
      env: { PATH: '/usr/bin:/bin' },
      logFile: join(connector.prepared.folder, 'foreign.log'),
    });
    const ready = () => Promise.resolve(foreigner.lastLines().includes('ready'));
    await untilHealthy(foreigner, ready, { timeoutMs: 30_000 });
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
  async function forgedInput({ wpkId, signed, planDigest }: WaitingPackage & { signed: SignedWpk }): Promise<ExecuteInput> {
    const plan = await connector.client.plan(wpkId);
    if (!plan) throw new Error('there is no plan');
    const vote = (approver: string): VoteRecord => ({
      decision: 'approve',
      approver,
      planDigest,
      proof: 'verified',
      via: 'update',
      receivedAt: new Date().toISOString(),
    });
    return { signed, planDigest: plan.digest, binding: bindingOf(plan), votes: [vote('bob@example.com'), vote('carol@example.com')] };
  }

  /** Runs a foreign workflow; resolves to what it was refused with. */
  async function steal(type: string, workflowId: string, activity: string, argument: unknown): Promise<string> {
    const call: ForeignCall = { taskQueue: taskQueueOf(connector.clusterId, 'execution'), activity, argument };
    const { workflow } = connector.client.client;
    return workflow.execute<(call: ForeignCall) => Promise<string>>(type, { taskQueue: queue(), workflowId, args: [call] });
  }

  async function expectRefused(workflowId: string, activity: string, code: string): Promise<void> {
    expect(await connector.audit({ workflowId })).toContainEqual(
      expect.objectContaining({ type: 'call.refused', outcome: 'refused', detail: expect.objectContaining({ activity, code }) }),
    );
    expect(await connector.log()).toContainEqual(expect.objectContaining({ alert: 'refused', activity, code, workflowId }));
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

  it('is refused under the name and the id of the package’s own run, once that has ended', async () => {
    const one = await waiting();
    const input = await forgedInput(one);
    await connector.client.stop(one.wpkId);
    expect(await steal('executeWpk', one.workflowId, 'executePackage', input)).toBe('CALLER_UNTRUSTED');
    await expectRefused(one.workflowId, 'executePackage', 'CALLER_UNTRUSTED');
    expect(await connector.dataOf(one.name)).toBeUndefined();
  });

  it('is refused the votes of a package that it has claimed itself, because its history holds none', async () => {
    const name = `wanted-${(uses += 1)}`;
    const wpk = connector.wpk({ steps: [applyStep(configMap(name, connector.namespace, {}))] });
    const original = await connector.client.submit(connector.signed({ steps: wpk.steps }));
    const { planDigest } = await connector.untilWaiting(original);
    const plan = await connector.client.plan(original.wpkId);
    await connector.client.stop(original.wpkId);
    expect(plan?.digest).toBe(planDigest);

    const signed = connector.signed({ id: wpk.metadata.id, steps: wpk.steps });
    const workflowId = workflowIdOf(connector.clusterId, wpk.metadata.id);
    expect(await steal('executeWpk', workflowId, 'verifyPackage', { signed })).toBe('done');
    expect(await connector.dataOf(name)).toBeUndefined();
  });

  it.each([
    ['nothing', undefined],
    ['a number', 7],
    ['an empty object', {}],
    ['a package of rubbish', { signed: { payload: '!', bundle: {} }, planDigest: OTHER_DIGEST, binding: {}, votes: 'all' }],
  ])('is refused when it sends %s to the writing activity', async (what, argument) => {
    const workflowId = `${queue()}/rubbish/${what}`;
    expect(await steal('stealActivity', workflowId, 'executePackage', argument)).toBe('BUNDLE_MALFORMED');
    await expectRefused(workflowId, 'executePackage', 'BUNDLE_MALFORMED');
  });
});
