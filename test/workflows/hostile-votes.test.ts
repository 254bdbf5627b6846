import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';
const LONE_SURROGATE = '\ud800';
const FLOOD = 1_500;
/** How many votes without effect the status shows. */
const SHOWN = 50;
const SENT_AT_A_TIME = 50;
const WORKED_OFF_MS = 20_000;

describe('votes that mean harm', () => {
  let connector: TestConnector;
  let uses = 0;
  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  const waiting = (): Promise<WaitingPackage> =>
    connector.submitAndPlan({ steps: [applyStep(configMap(`settings-${(uses += 1)}`, connector.namespace, {}))] });
  const auditedVotes = async ({ workflowId }: WaitingPackage) =>
    (await connector.audit({ workflowId })).filter(({ type }) => type === 'vote.recorded');
  const untilVotes = ({ wpkId }: WaitingPackage, count: number) =>
    until(`${count} votes`, async () => {
      const { votes } = await connector.client.get(wpkId);
      return votes.length >= count && votes;
    });
  /** The run still hears what it is told, and none of its tasks has failed. */
  async function expectUnharmed(one: WaitingPackage): Promise<void> {
    await connector.signal(one.workflowId, 'approve', { approver: BOB, planDigest: one.planDigest });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
    const { events } = await connector.client.client.workflow.getHandle(one.workflowId).fetchHistory();
    expect((events ?? []).filter((event) => event.workflowTaskFailedEventAttributes)).toEqual([]);
  }

  it.each([
    ['a comment with a lone surrogate', { comment: `fine ${LONE_SURROGATE}` }, { comment: 'fine \ufffd' }],
    ['a lone surrogate in the name', { approver: `eve${LONE_SURROGATE}` }, { approver: 'eve\ufffd' }],
    ['control characters in the name', { approver: 'eve\u001b[2J\u0000\r\nmallory' }, {}],
    ['marks that turn the text around in the name', { approver: '\u202eeve' }, {}],
    ['the longest comment', { comment: 'x'.repeat(4096) }, {}],
  ])('count like any other with %s, and the log says what was sent', async (_, fields, kept) => {
    const one = await waiting();
    const vote = { approver: 'eve@example.com', planDigest: one.planDigest, ...fields };
    const taken = { ...vote, ...kept };
    await connector.signal(one.workflowId, 'approve', vote);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [taken.approver] });
    expect(await auditedVotes(one)).toMatchObject([{ outcome: 'succeeded', actor: { id: taken.approver } }]);
    const [recorded] = await auditedVotes(one);
    const said = 'comment' in taken ? taken.comment : undefined;
    // The log clips long texts; what it keeps is what was said.
    expect(said?.startsWith(String(recorded?.detail['comment']).replace(/…$/, '')) ?? true).toBe(true);
  });

  it.each([
    ['a comment over the limit', { comment: 'x'.repeat(4097) }],
    ['a comment of a megabyte', { comment: 'x'.repeat(1024 * 1024) }],
    ['a name over the limit', { approver: 'x'.repeat(257) }],
    ['a name of nothing but blanks', { approver: ' \t\n' }],
    ['a digest of a megabyte', { planDigest: 'x'.repeat(1024 * 1024) }],
  ])('are refused and recorded with %s, and a good one still counts', async (_, fields) => {
    const one = await waiting();
    const vote = { approver: 'eve@example.com', planDigest: one.planDigest, ...fields };
    await connector.signal(one.workflowId, 'approve', vote);
    expect(await untilVotes(one, 1)).toMatchObject([{ refused: { code: 'APPROVAL_MALFORMED' } }]);
    await expectUnharmed(one);
    expect(await auditedVotes(one)).toMatchObject([{ outcome: 'refused' }, { outcome: 'succeeded' }]);
  });

  it('are recorded when they are sent by a name that there is not, and a good one still counts', async () => {
    const one = await waiting();
    await connector.signal(one.workflowId, 'aprove', { approver: BOB, planDigest: one.planDigest });
    expect(await untilVotes(one, 1)).toMatchObject([
      { refused: { code: 'APPROVAL_MALFORMED', why: expect.stringContaining('"aprove"') } },
    ]);
    await expectUnharmed(one);
    expect(await auditedVotes(one)).toMatchObject([{ outcome: 'refused' }, { outcome: 'succeeded' }]);
  });

  it.each(['__temporal_x', '__stack_trace', '__proto__', 'toString'])(
    'cannot harm the run when they are sent by the name %s',
    async (name) => {
      const one = await waiting();
      await connector.signal(one.workflowId, name, { approver: BOB, planDigest: one.planDigest });
      await expectUnharmed(one);
    },
  );

  it('are refused and recorded with a statement that is nested without end', async () => {
    const one = await waiting();
    const deep = `{"statement":${'['.repeat(4_500)}${']'.repeat(4_500)}}`;
    await connector.temporal('workflow', 'signal', '-w', one.workflowId, '--name', 'approve', '--input', deep);
    expect(await untilVotes(one, 1)).toMatchObject([{ refused: { code: 'APPROVAL_MALFORMED' } }]);
    await expectUnharmed(one);
  });

  it('are refused and recorded with a statement that would be quoted in the reason', async () => {
    const one = await waiting();
    const statement = { payload: 'e30=', payloadType: 'application/vnd.in-toto+json', signatures: [{ sig: 'AA==' }] };
    const quoted = { ...statement, [`${LONE_SURROGATE}${'x'.repeat(20_000)}`]: 1 };
    await connector.signal(one.workflowId, 'approve', {
      approver: 'eve',
      planDigest: one.planDigest,
      statement: quoted,
    });
    const [vote] = await untilVotes(one, 1);
    expect(vote?.refused?.code).toBe('APPROVAL_MALFORMED');
    expect(vote?.refused?.why.length).toBeLessThan(400);
    await expectUnharmed(one);
    expect(await auditedVotes(one)).toHaveLength(2);
  });

  it('are refused and recorded with a digest that has no canonical form', async () => {
    const one = await waiting();
    await connector.signal(one.workflowId, 'approve', { approver: 'eve', planDigest: LONE_SURROGATE });
    expect(await untilVotes(one, 1)).toMatchObject([{ refused: { code: 'APPROVAL_PLAN_MISMATCH' } }]);
    await expectUnharmed(one);
  });

  it('reject like any other with a reason that has no canonical form', async () => {
    const one = await waiting();
    await connector.signal(one.workflowId, 'reject', { approver: BOB, reason: LONE_SURROGATE });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'rejected' });
  });

  describe(`in a flood of ${FLOOD} while no worker runs`, () => {
    /** A package with so many votes, of many people for a plan that is none, and a worker that just came back. */
    async function flooded(): Promise<WaitingPackage> {
      const one = await waiting();
      await connector.stopWorker();
      const votes = Array.from({ length: FLOOD }, (_, index) => ({ approver: `eve-${index}`, planDigest: `${index}` }));
      for (let start = 0; start < FLOOD; start += SENT_AT_A_TIME) {
        const some = votes.slice(start, start + SENT_AT_A_TIME);
        await Promise.all(some.map((vote) => connector.signal(one.workflowId, 'approve', vote)));
      }
      await connector.startWorker();
      return one;
    }

    it('are worked off and all in the log, the newest are shown, and a good one still counts', async () => {
      const one = await flooded();
      const votes = await until(
        'the flood to be worked off',
        async () => (await auditedVotes(one)).length === FLOOD && untilVotes(one, SHOWN),
        WORKED_OFF_MS,
      );
      expect(votes).toHaveLength(SHOWN);
      expect(new Set(votes.map(({ refused }) => refused?.code))).toEqual(new Set(['APPROVAL_PLAN_MISMATCH']));
      await expectUnharmed(one);
      const people = (await auditedVotes(one)).map(({ actor }) => actor.id);
      expect(new Set(people).size).toBe(FLOOD + 1);
    }, 120_000);

    it('leave the emergency stop working', async () => {
      const { wpkId } = await flooded();
      expect(await connector.client.stop(wpkId)).toMatchObject({ phase: 'stopped' });
    }, 120_000);
  });
});
