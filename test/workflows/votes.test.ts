import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { taskQueueOf, workflowIdOf } from '../../domain/names.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import { asyncErrorOf } from '../support/expect-code.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { policyText } from '../support/policies.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';
const OTHER_DIGEST = `sha256:${'0'.repeat(64)}`;

describe('a package that waits for a person', () => {
  let connector: TestConnector;
  let uses = 0;
  const anotherName = () => `settings-${(uses += 1)}`;

  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  /** A package that creates a ConfigMap of its own, waiting for approval. */
  async function waiting(): Promise<WaitingPackage & { readonly configMap: string }> {
    const name = anotherName();
    const steps = [applyStep(configMap(name, connector.namespace, { colour: 'blue' }))];
    return { ...(await connector.submitAndPlan({ steps })), configMap: name };
  }

  const votesOn = async ({ wpkId }: WaitingPackage) => (await connector.client.get(wpkId)).votes;
  const untilVoted = (one: WaitingPackage, count: number) =>
    until(`${count} votes`, async () => {
      const votes = await votesOn(one);
      return votes.length >= count && votes;
    });
  const auditedVotes = async ({ workflowId }: WaitingPackage) =>
    (await connector.audit({ workflowId })).filter(({ type }) => type === 'vote.recorded');

  /** Proves that the run still hears what it is told: a good vote carries the package to its end. */
  async function approveAndFinish(one: WaitingPackage): Promise<void> {
    await connector.signal(one.workflowId, 'approve', { approver: BOB, planDigest: one.planDigest });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
  }

  it('runs after the signal approve, and the vote is kept as asserted', async () => {
    const one = await waiting();
    expect(await connector.dataOf(one.configMap)).toBeUndefined();
    await approveAndFinish(one);
    expect(await connector.dataOf(one.configMap)).toEqual({ colour: 'blue' });
    expect(await auditedVotes(one)).toMatchObject([
      { outcome: 'succeeded', actor: { id: BOB, proof: 'asserted' }, detail: { decision: 'approve', via: 'signal' } },
    ]);
  });

  it('runs after the update decide, which answers with the status', async () => {
    const one = await waiting();
    const status = await connector.client.approve(one.wpkId, {
      approver: BOB,
      planDigest: one.planDigest,
      comment: 'fine',
    });
    expect(status).toMatchObject({ approvers: [BOB], missing: 0, votes: [{ comment: 'fine', via: 'update' }] });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
  });

  it('ends as rejected after the signal reject with a reason, and nothing was written', async () => {
    const one = await waiting();
    await connector.signal(one.workflowId, 'reject', { approver: BOB, reason: 'not during the sale' });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'rejected' });
    expect(await connector.dataOf(one.configMap)).toBeUndefined();
    expect(await auditedVotes(one)).toMatchObject([{ detail: { decision: 'reject', comment: 'not during the sale' } }]);
    expect((await connector.audit({ workflowId: one.workflowId })).at(-1)).toMatchObject({ type: 'package.rejected' });
  });

  it.each([
    ['for an outdated plan', 'approve', { approver: BOB, planDigest: OTHER_DIGEST }, 'APPROVAL_PLAN_MISMATCH'],
    ['by the author', 'approve', { approver: 'alice@example.com' }, 'APPROVAL_BY_AUTHOR'],
    ['by the author in another spelling', 'approve', { approver: ' ＡLICE@Example.com ' }, 'APPROVAL_BY_AUTHOR'],
    ['without an approver', 'approve', { approver: '' }, 'APPROVAL_MALFORMED'],
    ['without a digest', 'approve', { approver: BOB, planDigest: undefined }, 'APPROVAL_MALFORMED'],
    ['with wrong types', 'approve', { approver: 7, planDigest: [] }, 'APPROVAL_MALFORMED'],
    ['to reject without a reason', 'reject', { approver: BOB, planDigest: undefined }, 'APPROVAL_REASON_MISSING'],
    [
      'to reject an outdated plan',
      'reject',
      { approver: BOB, planDigest: OTHER_DIGEST, reason: 'no' },
      'APPROVAL_PLAN_MISMATCH',
    ],
  ])('refuses a vote %s: decide with the reason, the signal without effect', async (_, decision, fields, code) => {
    const one = await waiting();
    const argument = { planDigest: one.planDigest, ...fields };
    const handle = connector.client.client.workflow.getHandle(one.workflowId);
    await expect(handle.executeUpdate('decide', { args: [{ decision, ...argument }] })).rejects.toMatchObject({
      cause: { type: code },
    });
    await connector.signal(one.workflowId, decision, argument);
    expect(await untilVoted(one, 2)).toMatchObject([
      { via: 'update', refused: { code } },
      { via: 'signal', refused: { code } },
    ]);
    await approveAndFinish(one);
    expect(await auditedVotes(one)).toMatchObject([
      { outcome: 'refused', detail: { refused: { code } } },
      { outcome: 'refused', detail: { refused: { code } } },
      { outcome: 'succeeded' },
    ]);
  });

  it('refuses a decision that is none', async () => {
    const one = await waiting();
    const handle = connector.client.client.workflow.getHandle(one.workflowId);
    for (const argument of [undefined, null, 7, 'yes', [], {}, { decision: 'maybe', approver: BOB }]) {
      const error: unknown = await handle
        .executeUpdate('decide', { args: [argument] })
        .catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ cause: { type: 'APPROVAL_MALFORMED' } });
    }
    await approveAndFinish(one);
  });

  it('takes the same vote twice as one', async () => {
    const one = await waiting();
    const vote = { approver: BOB, planDigest: one.planDigest };
    await Promise.all([
      connector.signal(one.workflowId, 'approve', vote),
      connector.signal(one.workflowId, 'approve', vote),
    ]);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
    const audited = await connector.audit({ workflowId: one.workflowId });
    expect(audited.filter(({ type }) => type === 'package.approved')).toMatchObject([
      { detail: { approvers: [{ approver: BOB, proof: 'asserted' }] } },
    ]);
  });

  it('takes no vote before there is a plan', async () => {
    const signed = connector.signed({ steps: [applyStep(configMap(anotherName(), connector.namespace, {}))] });
    const { client, clusterId } = connector;
    const wpkId = idOf(signed);
    const handle = await client.client.workflow.signalWithStart('executeWpk', {
      args: [signed],
      workflowId: workflowIdOf(clusterId, wpkId),
      taskQueue: taskQueueOf(clusterId, 'execution'),
      signal: 'approve',
      signalArgs: [{ approver: BOB, planDigest: OTHER_DIGEST }],
    });
    const one = await connector.untilWaiting({ wpkId, workflowId: handle.workflowId, runId: handle.signaledRunId });
    expect((await client.get(wpkId)).votes).toMatchObject([{ refused: { code: 'APPROVAL_CLOSED' } }]);
    await approveAndFinish({ ...one });
  });

  it('counts no bare signal where the policy wants two people, and says so', async () => {
    await connector.setPolicy(policy('acceptAsserted: true, low: 2'));
    const one = await waiting();
    const vote = { approver: BOB, planDigest: one.planDigest };
    await connector.signal(one.workflowId, 'approve', vote);
    expect(await untilVoted(one, 1)).toMatchObject([{ refused: { code: 'APPROVAL_NOT_ACCEPTED' } }]);
    expect((await asyncErrorOf(() => connector.client.approve(one.wpkId, vote))).code).toBe('APPROVAL_NOT_ACCEPTED');
    expect(await connector.client.get(one.wpkId)).toMatchObject({ phase: 'awaiting-approval', missing: 2 });
    await connector.client.stop(one.wpkId);
    await connector.setPolicy(policy('acceptAsserted: true'));
  });

  it('refuses votes after the end and says that it is closed', async () => {
    const one = await waiting();
    await approveAndFinish(one);
    const late = { approver: 'carol@example.com', planDigest: one.planDigest };
    expect((await asyncErrorOf(() => connector.client.approve(one.wpkId, late))).code).toBe('APPROVAL_CLOSED');
    expect((await asyncErrorOf(() => connector.client.reject(one.wpkId, { ...late, reason: 'no' }))).code).toBe(
      'APPROVAL_CLOSED',
    );
    expect(await connector.client.get(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
  });

  it('shows what is to be decided in the Temporal UI, and the command that stands there approves', async () => {
    const one = await waiting();
    const wrong = { approver: BOB, planDigest: `sha256:${'0'.repeat(64)}` };
    await asyncErrorOf(() => connector.client.approve(one.wpkId, wrong));
    const answer = await connector.temporal('workflow', 'metadata', '--workflow-id', one.workflowId, '-o', 'json');
    const [{ currentDetails }] = (JSON.parse(answer) as { queryResult: [{ currentDetails: string }] }).queryResult;
    expect(currentDetails).toContain(`+   colour: blue`);
    expect(currentDetails).toContain('**Risk: low**');
    expect(currentDetails).toContain(one.planDigest);
    expect(currentDetails).toMatch(new RegExp(`^- approve by ${BOB} at \\S+: \`APPROVAL_PLAN_MISMATCH\``, 'm'));
    const command = /^temporal workflow signal .*$/m.exec(currentDetails)?.[0] ?? 'no command';
    expect(await connector.shell(command)).toMatchObject({ code: 0 });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: ['YOUR NAME'] });
  });
});

function idOf({ payload }: SignedWpk): string {
  return (JSON.parse(Buffer.from(payload, 'base64').toString()) as { metadata: { id: string } }).metadata.id;
}

function policy(approvals: string): string {
  return policyText(`approvals: { ${approvals} }`);
}
