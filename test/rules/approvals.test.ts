import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Vote, VoteContext, VoteRecord } from '../../domain/approvals.ts';
import { parseVote, refusalOf, sameIdentity, tally } from '../../domain/approvals.ts';
import type { Requirement } from '../../domain/policy.ts';

const PLAN = `sha256:${'a'.repeat(64)}` as const;
const onePerson: Requirement = {
  auto: false,
  quorum: 1,
  groups: [],
  acceptAsserted: true,
  timeoutSeconds: 60,
  maxClockSkewSeconds: 60,
  reason: '',
};
const waiting: VoteContext = { open: true, author: 'alice@example.com', planDigest: PLAN, requirement: onePerson };
const yes: Vote = { decision: 'approve', approver: 'bob', planDigest: PLAN, proof: 'asserted' };
const no: Vote = { decision: 'reject', approver: 'bob', comment: 'not today', proof: 'asserted' };
const taken = (vote: Vote): VoteRecord => ({ ...vote, receivedAt: '2026-01-01T00:00:00.000Z', via: 'signal' });

describe('a vote on the current plan', () => {
  it('has an effect', () => {
    expect(refusalOf(yes, waiting)).toBeUndefined();
    expect(refusalOf(no, waiting)).toBeUndefined();
  });

  it.each([
    ['approves another plan', { ...yes, planDigest: `sha256:${'b'.repeat(64)}` }, waiting, 'APPROVAL_PLAN_MISMATCH'],
    ['comes from the author', { ...yes, approver: 'alice@example.com' }, waiting, 'APPROVAL_BY_AUTHOR'],
    ['comes when nobody asks', yes, { ...waiting, open: false }, 'APPROVAL_CLOSED'],
    ['comes before there is a plan', yes, { ...waiting, requirement: undefined }, 'APPROVAL_CLOSED'],
    ['rejects without a reason', { ...no, comment: '' }, waiting, 'APPROVAL_REASON_MISSING'],
    ['rejects another plan', { ...no, planDigest: 'sha256:other' }, waiting, 'APPROVAL_PLAN_MISMATCH'],
    [
      'is only asserted where policy wants proof',
      yes,
      { ...waiting, requirement: { ...onePerson, acceptAsserted: false } },
      'APPROVAL_NOT_ACCEPTED',
    ],
    [
      'is only asserted where two people must approve',
      yes,
      { ...waiting, requirement: { ...onePerson, quorum: 2 } },
      'APPROVAL_NOT_ACCEPTED',
    ],
  ] satisfies [string, Vote, VoteContext, string][])('is refused when it %s', (_, vote, context, code) => {
    expect(refusalOf(vote, context)?.code).toBe(code);
  });

  it('is taken early when it rejects', () => {
    expect(refusalOf(no, { ...waiting, planDigest: undefined, requirement: undefined })).toBeUndefined();
  });

  it.each(['Alice@Example.com', ' alice@example.com ', 'ａｌｉｃｅ@example.com', 'alice\u200b@example.com'])(
    'knows the author under another spelling: %j',
    (approver) => {
      expect(refusalOf({ ...yes, approver }, waiting)?.code).toBe('APPROVAL_BY_AUTHOR');
    },
  );
});

describe('counting votes', () => {
  it('approves when the quorum is met', () => {
    expect(tally([taken(yes)], onePerson)).toEqual({ outcome: 'approved', approvers: ['bob'], missing: 0 });
  });

  it('counts a person once, under whatever spelling', () => {
    const twice = [taken(yes), taken({ ...yes, approver: 'BOB' })];
    expect(tally(twice, { ...onePerson, quorum: 2 })).toMatchObject({ outcome: 'waiting', missing: 1 });
  });

  it('takes one rejection as no, however many approve', () => {
    const votes = ['carol', 'dave', 'erin'].map((approver) => taken({ ...yes, approver }));
    expect(tally([...votes, taken(no)], onePerson).outcome).toBe('rejected');
  });

  it('lets the newest vote of a person win', () => {
    expect(tally([taken(no), taken(yes)], onePerson).outcome).toBe('approved');
    expect(tally([taken(yes), taken(no)], onePerson).outcome).toBe('rejected');
  });

  it('ignores votes that were refused', () => {
    const refused: VoteRecord = { ...taken(yes), refused: { code: 'APPROVAL_CLOSED', why: 'early' } };
    expect(tally([refused], onePerson).outcome).toBe('waiting');
  });
});

describe('the argument of a vote', () => {
  it('is read', () => {
    const argument = { approver: ' bob ', planDigest: PLAN, comment: 'looks right' };
    expect(parseVote('approve', 'signal', argument)).toEqual({ ...yes, comment: 'looks right' });
  });

  it('must say which decision it is when it comes as an update', () => {
    const argument = { decision: 'maybe', approver: 'bob', planDigest: PLAN };
    expect(parseVote('approve', 'update', argument)).toMatchObject({ malformed: { code: 'APPROVAL_MALFORMED' } });
  });

  it('never throws, whatever was sent', () => {
    fc.assert(
      fc.property(fc.constantFrom('approve' as const, 'reject' as const), fc.anything(), (decision, argument) => {
        const parsed = parseVote(decision, 'signal', argument);
        expect('malformed' in parsed || parsed.approver.length > 0).toBe(true);
      }),
    );
  });
});

describe('an identity', () => {
  it('is itself and nobody else', () => {
    fc.assert(
      fc.property(fc.emailAddress(), (email) => expect(sameIdentity(email, ` ${email.toUpperCase()}`)).toBe(true)),
    );
    expect(sameIdentity('bob@example.com', 'bob@example.org')).toBe(false);
  });
});
