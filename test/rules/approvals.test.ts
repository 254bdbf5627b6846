import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Decision, StatementProof, VoteContext, VoteMessage, VoteRecord } from '../../domain/approvals.ts';
import { judgeVote, refusalOf } from '../../domain/approvals.ts';
import { tally } from '../../domain/tally.ts';
import { readVote } from '../../domain/vote-message.ts';
import { sameIdentity } from '../../domain/identity.ts';
import type { Requirement } from '../../domain/policy.ts';

const digest = (digit: string) => `sha256:${digit.repeat(64)}` as const;
const [PLAN, OTHER_PLAN, WPK, POLICY] = [digest('a'), digest('b'), digest('c'), digest('d')];
const NOON = '2026-01-01T12:00:00.000Z';
const ALICE = 'alice@example.com';
const BOB = 'bob@example.com';

const onePerson: Requirement = {
  auto: false,
  quorum: 1,
  groups: [],
  acceptAsserted: true,
  maxClockSkewSeconds: 60,
  timeoutSeconds: 60,
  reason: '',
};
const signedOnly: Requirement = { ...onePerson, acceptAsserted: false };
const run = { workflowId: 'wpk/test/1', runId: 'run-1', wpkDigest: WPK, clusterUid: 'uid', policyDigest: POLICY };
const waiting: VoteContext = {
  open: true,
  author: ALICE,
  signerFingerprint: 'signer',
  signerIdentity: undefined,
  planDigest: PLAN,
  requirement: onePerson,
  run,
};
const receipt = { receivedAt: NOON, via: 'signal' } as const;

const bare = (message: Partial<VoteMessage> = {}, context: Partial<VoteContext> = {}): VoteRecord =>
  judgeVote({ decision: 'approve', approver: BOB, planDigest: PLAN, ...message }, undefined, receipt, {
    ...waiting,
    ...context,
  });
const bareNo = (message: Partial<VoteMessage> = {}, context: Partial<VoteContext> = {}) =>
  judgeVote({ decision: 'reject', approver: BOB, comment: 'not today', ...message }, undefined, receipt, {
    ...waiting,
    ...context,
  });

interface Signed {
  readonly by?: string;
  readonly key?: string;
  readonly groups?: readonly string[];
  readonly says?: Partial<Extract<StatementProof, { statement: unknown }>['statement']>;
  readonly around?: Partial<VoteMessage>;
  readonly receivedAt?: string;
}

/** A vote whose signature holds. */
function signed(decision: Decision, { by = BOB, key = by, groups = [], says, around, receivedAt = NOON }: Signed = {}) {
  const { wpkDigest, clusterUid, policyDigest, workflowId, runId } = run;
  const statement = {
    type: 'https://neuralops.io/approval/v1',
    ...{ wpkDigest, clusterUid, policyDigest, workflowId, runId, planDigest: PLAN },
    ...{ decision, approver: by, time: NOON },
    ...(decision === 'reject' && { comment: 'not today' }),
    ...says,
  } as const;
  const proof: StatementProof = { statement, identity: by, groups, keyFingerprint: key };
  const message: VoteMessage = { decision, statement: {}, ...around };
  return (context: Partial<VoteContext> = {}) =>
    judgeVote(message, proof, { ...receipt, receivedAt }, { ...waiting, requirement: signedOnly, ...context });
}

describe('a bare vote', () => {
  it('has an effect on the current plan where the policy counts it', () => {
    expect(bare()).toMatchObject({ approver: BOB, proof: 'asserted', at: NOON });
    expect(bare().refused).toBeUndefined();
    expect(bareNo().refused).toBeUndefined();
  });

  it.each<[string, VoteRecord, string]>([
    ['approves another plan', bare({ planDigest: OTHER_PLAN }), 'APPROVAL_PLAN_MISMATCH'],
    ['comes from the author', bare({ approver: ALICE }), 'APPROVAL_BY_AUTHOR'],
    ['comes when nobody asks', bare({}, { open: false }), 'APPROVAL_CLOSED'],
    ['comes before there is a plan', bare({}, { requirement: undefined }), 'APPROVAL_CLOSED'],
    ['rejects without a reason', bareNo({ comment: '' }), 'APPROVAL_REASON_MISSING'],
    ['rejects another plan', bareNo({ planDigest: 'sha256:other' }), 'APPROVAL_PLAN_MISMATCH'],
    ['approves where policy wants proof', bare({}, { requirement: signedOnly }), 'APPROVAL_NOT_ACCEPTED'],
    ['rejects where policy wants proof', bareNo({}, { requirement: signedOnly }), 'APPROVAL_NOT_ACCEPTED'],
    ['is one of two', bare({}, { requirement: { ...onePerson, quorum: 2 } }), 'APPROVAL_NOT_ACCEPTED'],
    ['is asked of a group', bare({}, { requirement: { ...onePerson, groups: ['sre'] } }), 'APPROVAL_NOT_ACCEPTED'],
  ])('is refused when it %s', (_, vote, code) => {
    expect(vote.refused?.code).toBe(code);
  });

  it('is taken early when it rejects, and looked at again once policy says what counts', () => {
    const early = bareNo({}, { planDigest: undefined, requirement: undefined });
    expect(early.refused).toBeUndefined();
    expect(refusalOf(early, waiting)).toBeUndefined();
    expect(refusalOf(early, { ...waiting, requirement: signedOnly })?.code).toBe('APPROVAL_NOT_ACCEPTED');
  });

  it('stops a package that needs two people, where the policy counts it at all', () => {
    expect(bareNo({}, { requirement: { ...onePerson, quorum: 2, groups: ['sre'] } }).refused).toBeUndefined();
  });

  it.each(['Alice@Example.com', ' alice@example.com ', 'ａｌｉｃｅ@example.com', 'alice\u200b@example.com'])(
    'knows the author under another spelling: %j',
    (approver) => {
      expect(bare({ approver }).refused?.code).toBe('APPROVAL_BY_AUTHOR');
    },
  );
});

describe('a vote of whoever signed the package without a key', () => {
  const erin = { signerIdentity: 'erin@example.com' };

  it('is the author’s, whoever the package claims wrote it, bare or signed', () => {
    expect(bare({ approver: 'Erin@Example.com' }, erin).refused?.code).toBe('APPROVAL_BY_AUTHOR');
    expect(bareNo({ approver: 'erin@example.com' }, erin).refused?.code).toBe('APPROVAL_BY_AUTHOR');
    expect(signed('approve', { by: 'erin@example.com' })(erin).refused?.code).toBe('APPROVAL_BY_AUTHOR');
  });

  it('leaves everybody else their vote', () => {
    expect(bare({}, erin).refused).toBeUndefined();
    expect(signed('approve')(erin).refused).toBeUndefined();
  });
});

describe('a signed vote', () => {
  it('is its signer’s, as the key says, whatever stands beside it', () => {
    const vote = signed('approve', { groups: ['sre'] })();
    expect(vote).toMatchObject({ approver: BOB, proof: 'verified', groups: ['sre'], planDigest: PLAN });
    expect(vote.refused).toBeUndefined();
    expect(signed('reject')()).toMatchObject({ comment: 'not today' });
  });

  it.each<[string, Signed, string]>([
    ['another run of the same package', { says: { runId: 'run-2' } }, 'APPROVAL_STATEMENT_MISMATCH'],
    ['another workflow', { says: { workflowId: 'wpk/test/2' } }, 'APPROVAL_STATEMENT_MISMATCH'],
    ['another cluster', { says: { clusterUid: 'other' } }, 'APPROVAL_STATEMENT_MISMATCH'],
    ['another package', { says: { wpkDigest: OTHER_PLAN } }, 'APPROVAL_STATEMENT_MISMATCH'],
    ['another policy', { says: { policyDigest: OTHER_PLAN } }, 'APPROVAL_STATEMENT_MISMATCH'],
    ['another plan', { says: { planDigest: OTHER_PLAN } }, 'APPROVAL_PLAN_MISMATCH'],
    ['another plan than its message', { around: { planDigest: OTHER_PLAN } }, 'APPROVAL_STATEMENT_MISMATCH'],
    ['another person than the key', { says: { approver: 'carol@example.com' } }, 'APPROVAL_STATEMENT_MISMATCH'],
    ['another person than its message', { around: { approver: 'carol' } }, 'APPROVAL_STATEMENT_MISMATCH'],
    ['the opposite of its message', { says: { decision: 'reject' } }, 'APPROVAL_STATEMENT_MISMATCH'],
    ['the author', { by: ALICE }, 'APPROVAL_BY_AUTHOR'],
    ['the author in another spelling', { by: 'Alice@EXAMPLE.com' }, 'APPROVAL_BY_AUTHOR'],
    ['the key that signed the package', { key: 'signer' }, 'APPROVAL_BY_AUTHOR'],
    ['a time that is to come', { says: { time: '2026-01-01T12:01:00.001Z' } }, 'APPROVAL_TIME_INVALID'],
    ['a time that is none', { says: { time: 'soon' } }, 'APPROVAL_TIME_INVALID'],
  ])('is refused when it names %s', (_, what, code) => {
    expect(signed('approve', what)().refused?.code).toBe(code);
  });

  it('may be ahead of the clock by what the policy allows', () => {
    expect(signed('approve', { says: { time: '2026-01-01T12:01:00.000Z' } })().refused).toBeUndefined();
  });

  it('proves nothing where its signature does not hold, or could not be checked', () => {
    const refused = { code: 'APPROVAL_SIGNATURE_INVALID', why: '' } as const;
    const message: VoteMessage = { decision: 'approve', approver: BOB, planDigest: PLAN, statement: {} };
    for (const proof of [{ refused }, undefined]) {
      expect(judgeVote(message, proof, receipt, waiting)).toMatchObject({
        proof: 'asserted',
        refused: { code: 'APPROVAL_SIGNATURE_INVALID' },
      });
    }
  });
});

describe('counting votes', () => {
  const twoPeople = { ...signedOnly, quorum: 2 };
  const yes = (by: string, more: Signed = {}) => signed('approve', { by, ...more })();
  const no = (by: string, more: Signed = {}) => signed('reject', { by, ...more })();
  const at = (minute: number) => ({ says: { time: `2026-01-01T11:${String(minute).padStart(2, '0')}:00.000Z` } });

  it('approves when the quorum is met', () => {
    expect(tally([bare()], onePerson)).toMatchObject({ outcome: 'approved', approvers: [BOB], missing: 0 });
    expect(tally([yes('carol')], twoPeople)).toMatchObject({ outcome: 'waiting', missing: 1 });
    expect(tally([yes('carol'), yes('dave')], twoPeople)).toMatchObject({ outcome: 'approved', missing: 0 });
  });

  it('counts a person once, under whatever spelling', () => {
    expect(tally([yes('bob'), yes('BOB')], twoPeople)).toMatchObject({ outcome: 'waiting', missing: 1 });
  });

  it('counts a key once, under whatever name', () => {
    const votes = [yes('carol', { key: 'one' }), yes('dave', { key: 'one' })];
    expect(tally(votes, twoPeople)).toMatchObject({ outcome: 'waiting', approvers: ['carol'], missing: 1 });
  });

  it('wants somebody of each group that the policy names', () => {
    const required = { ...twoPeople, groups: ['sre', 'security'] };
    const both = [yes('carol', { groups: ['sre'] }), yes('dave', { groups: [] })];
    expect(tally(both, required)).toMatchObject({ outcome: 'waiting', missing: 1, missingGroups: ['security'] });
    const all = [...both, yes('erin', { groups: ['security', 'sre'] })];
    expect(tally(all, required)).toMatchObject({ outcome: 'approved', missing: 0, missingGroups: [] });
  });

  it('takes one rejection as no, however many approve', () => {
    expect(tally([yes('carol'), yes('dave'), no('erin')], signedOnly).outcome).toBe('rejected');
  });

  it('lets the newest vote of a person win, by the time at which it was signed and not by its arrival', () => {
    expect(tally([yes(BOB, at(1)), no(BOB, at(2))], signedOnly).outcome).toBe('rejected');
    expect(tally([no(BOB, at(2)), yes(BOB, at(1))], signedOnly).outcome).toBe('rejected');
    expect(tally([no(BOB, at(1)), yes(BOB, at(2))], signedOnly).outcome).toBe('approved');
  });

  it('takes a tie of a person with themselves as no', () => {
    expect(tally([yes(BOB, at(1)), no(BOB, at(1))], signedOnly).outcome).toBe('rejected');
    expect(tally([no(BOB, at(1)), yes(BOB, at(1))], signedOnly).outcome).toBe('rejected');
  });

  it('ignores votes that were refused', () => {
    const refused: VoteRecord = { ...bare(), refused: { code: 'APPROVAL_CLOSED', why: 'early' } };
    expect(tally([refused], onePerson).outcome).toBe('waiting');
  });

  it('gives one answer, whatever the order in which the votes arrive', () => {
    const vote = fc.record({
      by: fc.constantFrom('bob', 'carol', 'dave'),
      decision: fc.constantFrom<Decision>('approve', 'reject'),
      minute: fc.nat(5),
    });
    fc.assert(
      fc.property(
        fc
          .array(vote, { maxLength: 8 })
          .chain((votes) => fc.tuple(fc.constant(votes), fc.shuffledSubarray(votes, { minLength: votes.length }))),
        ([votes, shuffled]) => {
          const counted = (some: typeof votes) =>
            tally(
              some.map(({ by, decision, minute }) => signed(decision, { by, ...at(minute) })()),
              twoPeople,
            );
          expect(counted(shuffled).outcome).toBe(counted(votes).outcome);
          expect(counted(shuffled).missing).toBe(counted(votes).missing);
        },
      ),
    );
  });
});

describe('the argument of a vote', () => {
  it('is read', () => {
    const argument = { approver: ' bob ', planDigest: PLAN, comment: 'looks right' };
    expect(readVote('approve', 'signal', argument)).toEqual({
      decision: 'approve',
      approver: 'bob',
      planDigest: PLAN,
      comment: 'looks right',
    });
  });

  it.each([
    ['beside the names', { approver: BOB, planDigest: PLAN, statement: { payload: 'e30=' } }],
    ['alone', { statement: { payload: 'e30=' } }],
  ])('may hold a signed statement %s', (_, argument) => {
    expect(readVote('approve', 'signal', argument)).toMatchObject({ statement: argument.statement });
  });

  it('may be the file that a DSSE tool wrote, as it is', () => {
    for (const file of [
      { mediaType: 'x', dsseEnvelope: {} },
      { payload: '', payloadType: '', signatures: [] },
    ]) {
      expect(readVote('approve', 'signal', file)).toEqual({ decision: 'approve', statement: file });
    }
  });

  it.each([
    ['says another decision as an update', 'update', { decision: 'maybe', approver: BOB, planDigest: PLAN }],
    ['names nobody', 'signal', { planDigest: PLAN }],
    ['names no plan', 'signal', { approver: BOB }],
    ['names nobody and holds no statement', 'signal', { planDigest: PLAN, statement: null }],
    ['holds a statement without end', 'signal', { statement: 'x'.repeat(40_000) }],
  ] as const)('is malformed where it %s', (_, via, argument) => {
    expect(readVote('approve', via, argument)).toMatchObject({ malformed: { code: 'APPROVAL_MALFORMED' } });
  });

  it('never throws, whatever was sent', () => {
    fc.assert(
      fc.property(fc.constantFrom<Decision>('approve', 'reject'), fc.anything(), (decision, argument) => {
        const message = readVote(decision, 'signal', argument);
        const vote = judgeVote(message, undefined, receipt, waiting);
        expect(vote.approver.length).toBeGreaterThan(0);
      }),
    );
  });
});

describe('an identity', () => {
  it('is itself and nobody else', () => {
    fc.assert(
      fc.property(fc.emailAddress(), (email) => expect(sameIdentity(email, ` ${email.toUpperCase()}`)).toBe(true)),
    );
    expect(sameIdentity(BOB, 'bob@example.org')).toBe(false);
  });
});
