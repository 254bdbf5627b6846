import type { Vote, VoteRecord } from './approvals.ts';
import { identityKey } from './identity.ts';
import type { Requirement } from './policy.ts';

export interface Tally {
  readonly outcome: 'approved' | 'rejected' | 'waiting';
  readonly approvers: readonly string[];
  /** The votes that make them approvers. */
  readonly approvals: readonly VoteRecord[];
  /** Approvals still missing. */
  readonly missing: number;
  /** Groups of which nobody has approved yet. */
  readonly missingGroups: readonly string[];
}

/**
 * Counts the votes that have an effect: of each person the newest by the time at which it was given (a tie counts as
 * no), each key once, and one rejection is enough for no.
 */
export function tally(votes: readonly VoteRecord[], requirement: Requirement): Tally {
  const newest = new Map<string, VoteRecord>();
  for (const vote of votes) {
    if (vote.refused) continue;
    const person = identityKey(vote.approver);
    const other = newest.get(person);
    if (!other || isNewer(vote, other)) newest.set(person, vote);
  }
  const effective = [...newest.values()];
  const approvals = effective.filter(({ decision }) => decision === 'approve').filter(isFirstOfItsKey);
  const approvers = approvals.map(({ approver }) => approver);
  const present = new Set(approvals.flatMap(({ groups = [] }) => groups));
  const missingGroups = requirement.groups.filter((group) => !present.has(group));
  const missing = Math.max(0, requirement.quorum - approvers.length, missingGroups.length > 0 ? 1 : 0);
  const isRejected = effective.some(({ decision }) => decision === 'reject');
  const outcome = isRejected ? 'rejected' : missing === 0 ? 'approved' : 'waiting';
  return { outcome, approvers, approvals, missing, missingGroups };
}

function isNewer(vote: VoteRecord, other: VoteRecord): boolean {
  const [at, otherAt] = [Date.parse(vote.at), Date.parse(other.at)];
  return at === otherAt ? vote.decision === 'reject' : at > otherAt;
}

/** One key is one person, whatever names it is listed under. */
function isFirstOfItsKey({ keyFingerprint }: Vote, index: number, votes: readonly Vote[]): boolean {
  return keyFingerprint === undefined || votes.findIndex((one) => one.keyFingerprint === keyFingerprint) === index;
}
