import { z } from 'zod';
import type { Digest } from './digest.ts';
import type { ErrorCode } from './errors.ts';
import type { Requirement } from './policy.ts';

/** How far an identity is proven: a bare message only asserts it. */
export type Proof = 'asserted' | 'verified';

export type Decision = 'approve' | 'reject';

const approver = z.string().trim().min(1).max(256);
const digest = z.string().max(256);

const voteFields = z.looseObject({
  approver,
  planDigest: digest.optional(),
  comment: z.string().max(4096).optional(),
  reason: z.string().max(4096).optional(),
});

/** Argument of the signal `approve`. */
const approveSchema = voteFields.extend({ planDigest: digest });

/** Argument of the signal `reject`. */
const rejectSchema = voteFields;

export interface Approve {
  readonly approver: string;
  /** Digest of the plan that is approved; any other than the current one has no effect. */
  readonly planDigest: string;
  readonly comment?: string;
}

export interface Reject {
  readonly approver: string;
  readonly planDigest?: string;
  readonly reason: string;
}
/** Argument of the update `decide`. */
export type Decide = ({ decision: 'approve' } & Approve) | ({ decision: 'reject' } & Reject);

/** A vote as it came in, whatever it was. */
export interface Vote {
  readonly decision: Decision;
  readonly approver: string;
  readonly planDigest?: string;
  /** Comment of an approval, reason of a rejection. */
  readonly comment?: string;
  readonly proof: Proof;
}

/** A vote with what became of it. All are kept and audited; only those without `refused` have an effect. */
export interface VoteRecord extends Vote {
  /** When the workflow took it in, RFC 3339 in UTC. */
  readonly receivedAt: string;
  readonly via: 'signal' | 'update';
  /** `why` adds to the sentence of the code; it may be empty. */
  readonly refused?: { readonly code: ErrorCode; readonly why: string };
}

/** What a vote is judged against. */
export interface VoteContext {
  /** Whether a vote can still change anything. */
  readonly open: boolean;
  readonly author: string;
  readonly planDigest: Digest | undefined;
  /** Absent before there is a plan. */
  readonly requirement: Requirement | undefined;
}

/** Reads the argument of a signal or update; never throws, whatever was sent. */
export function parseVote(
  decision: Decision,
  via: VoteRecord['via'],
  argument: unknown,
): Vote | { readonly malformed: NonNullable<VoteRecord['refused']> } {
  const schema = decision === 'approve' ? approveSchema : rejectSchema;
  // An update says its decision itself; one that says something else must not pass for either.
  const parsed = (via === 'update' ? schema.extend({ decision: z.literal(decision) }) : schema).safeParse(argument);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const why = issue ? `${issue.path.join('.') || 'The argument'}: ${issue.message}.` : '';
    return { malformed: { code: 'APPROVAL_MALFORMED', why } };
  }
  const { approver, planDigest, comment, reason } = parsed.data as z.infer<typeof voteFields>;
  // A lone surrogate has no canonical form: it could be neither hashed nor recorded.
  const said = (decision === 'approve' ? comment : reason)?.trim().toWellFormed();
  return {
    decision,
    approver: approver.toWellFormed(),
    proof: 'asserted',
    ...(planDigest === undefined ? {} : { planDigest: planDigest.toWellFormed() }),
    ...(said ? { comment: said } : {}),
  };
}

/** Which form the argument of `decide` must have; one that says neither is malformed as either. */
export function decisionIn(argument: unknown): Decision {
  const said =
    typeof argument === 'object' && argument !== null && 'decision' in argument ? argument.decision : undefined;
  return said === 'reject' ? 'reject' : 'approve';
}

/** Why a vote has no effect, or undefined where it has one. The one rule for signals, updates and the writing activity. */
export function refusalOf(vote: Vote, context: VoteContext): VoteRecord['refused'] {
  const closed = { code: 'APPROVAL_CLOSED', why: '' } as const;
  if (!context.open) return closed;
  if (sameIdentity(vote.approver, context.author)) {
    return { code: 'APPROVAL_BY_AUTHOR', why: `${vote.approver} wrote it.` };
  }
  if (vote.decision === 'reject') {
    if (!vote.comment) return { code: 'APPROVAL_REASON_MISSING', why: '' };
    if (vote.planDigest !== undefined && vote.planDigest !== context.planDigest) return mismatch(context);
    return undefined; // A no needs no proof and may come early: it can only keep things from happening.
  }
  if (!context.requirement) return closed;
  if (vote.planDigest !== context.planDigest) return mismatch(context);
  if (vote.proof === 'asserted') {
    if (!context.requirement.acceptAsserted) {
      return { code: 'APPROVAL_NOT_ACCEPTED', why: 'It counts signed approvals only.' };
    }
    if (context.requirement.quorum > 1) {
      return {
        code: 'APPROVAL_NOT_ACCEPTED',
        why: `${context.requirement.quorum} different people must approve, which takes signed approvals.`,
      };
    }
  }
  return undefined;
}

export interface Tally {
  readonly outcome: 'approved' | 'rejected' | 'waiting';
  readonly approvers: readonly string[];
  readonly missing: number;
}

/** Counts the votes that have an effect; of each person the newest counts, and one rejection is enough for no. */
export function tally(votes: readonly VoteRecord[], requirement: Requirement): Tally {
  const newest = new Map<string, VoteRecord>();
  for (const vote of votes) {
    if (!vote.refused) newest.set(identityKey(vote.approver), vote);
  }
  const effective = [...newest.values()];
  const approvers = effective.filter(({ decision }) => decision === 'approve').map(({ approver }) => approver);
  const missing = Math.max(0, requirement.quorum - approvers.length);
  if (effective.some(({ decision }) => decision === 'reject')) return { outcome: 'rejected', approvers, missing };
  return { outcome: missing === 0 ? 'approved' : 'waiting', approvers, missing };
}

/** Two spellings of one name are one person: Unicode compatibility forms, case and white space do not tell people apart. */
export function sameIdentity(a: string, b: string): boolean {
  return identityKey(a) === identityKey(b);
}

function identityKey(identity: string): string {
  return identity
    .normalize('NFKC')
    .replace(/[\s\p{Cf}]/gu, '')
    .toLowerCase();
}

function mismatch({ planDigest }: VoteContext): VoteRecord['refused'] {
  return {
    code: 'APPROVAL_PLAN_MISMATCH',
    why: planDigest ? `The current plan is ${planDigest}.` : 'There is no plan yet.',
  };
}
