import { describe, expect, it } from '@jest/globals';
import type { VoteContext } from '../../domain/approvals.ts';
import { Ballot } from '../../workflows/ballot.ts';

const PLAN = `sha256:${'a'.repeat(64)}` as const;
const context: VoteContext = {
  open: true,
  author: 'alice@example.com',
  signerFingerprint: 'signer',
  signerIdentity: undefined,
  planDigest: PLAN,
  requirement: {
    ...{ auto: false, quorum: 1, groups: [], acceptAsserted: true },
    ...{ maxClockSkewSeconds: 60, timeoutSeconds: 60, reason: '' },
  },
  run: { workflowId: 'w', runId: 'r', wpkDigest: undefined, clusterUid: undefined, policyDigest: undefined },
};
const yes = { approver: 'bob@example.com', planDigest: PLAN };
const no = { approver: 'carol@example.com', reason: 'not today' };

describe('a ballot', () => {
  it('is settled once what had come in is, whatever keeps coming', () => {
    const ballot = new Ballot();
    const received = ballot.receive('approve', 'signal', yes);
    const vote = ballot.judge(received, undefined, context);
    const isSettled = ballot.settlement();
    const junk = ballot.receive('approve', 'signal', 'junk');
    expect(isSettled()).toBe(false);
    ballot.settle(received, vote, true);
    expect(isSettled()).toBe(true);
    expect(ballot.settlement()()).toBe(false);
    ballot.settle(junk, ballot.judge(junk, undefined, context), true);
    expect(ballot.settlement()()).toBe(true);
  });

  it('keeps signals by names that there are not as what they are, short, and only so many of them', () => {
    const ballot = new Ballot();
    for (const name of ['aprove', 'x'.repeat(100_000), ...Array.from({ length: 50 }, (_, n) => `s${n}`)]) {
      const received = ballot.receiveUnknown(name);
      if (received) ballot.settle(received, ballot.judge(received, undefined, context), true);
    }
    const shown = ballot.shown(context);
    expect(shown).toHaveLength(20);
    expect(shown[0]?.refused).toEqual({
      code: 'APPROVAL_MALFORMED',
      why: 'There is no signal "aprove"; votes are the signals approve and reject.',
    });
    for (const { refused } of shown) expect(refused?.why.length).toBeLessThan(200);
    expect(ballot.count(context)).toMatchObject({ outcome: 'waiting', missing: 1 });
  });

  it('knows whether a vote that counts is not in the audit log yet, and passes over those that count for nothing', () => {
    const ballot = new Ballot();
    ballot.judge(ballot.receive('approve', 'signal', 'junk'), undefined, context);
    expect(ballot.isRecorded).toBe(true);
    const received = ballot.receive('reject', 'signal', no);
    const vote = ballot.judge(received, undefined, context);
    expect(ballot.isRecorded).toBe(false);
    ballot.settle(received, vote, true);
    expect(ballot.isRecorded).toBe(true);
  });

  it('takes a no that came too late back in when nothing was begun, and no late yes', () => {
    const ballot = new Ballot();
    const closed = { ...context, open: false };
    ballot.judge(ballot.receive('approve', 'signal', yes), undefined, closed);
    ballot.judge(ballot.receive('reject', 'signal', no), undefined, closed);
    ballot.judge(ballot.receive('reject', 'signal', { ...no, approver: 'alice@example.com' }), undefined, closed);
    expect(ballot.count(context)?.outcome).toBe('waiting');
    expect(ballot.reopenRejections(context)).toMatchObject([{ decision: 'reject', approver: no.approver }]);
    expect(ballot.count(context)).toMatchObject({ outcome: 'rejected', approvers: [] });
    const codes = ballot.shown(context).map(({ refused }) => refused?.code);
    expect(codes).toEqual(['APPROVAL_CLOSED', undefined, 'APPROVAL_BY_AUTHOR']);
  });
});
