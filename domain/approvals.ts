import type { Approval } from './approval-statement.ts';
import type { Digest } from './digest.ts';
import type { ErrorCode } from './errors.ts';
import { ConnectorError, isErrorCode } from './errors.ts';
import { sameIdentity } from './identity.ts';
import type { Requirement } from './policy.ts';

/** How far an identity is proven: a bare message only asserts it. */
export type Proof = 'asserted' | 'verified';

export type Decision = 'approve' | 'reject';

/** Argument of the signal `approve`. */
export interface Approve {
  readonly approver: string;
  /** Digest of the plan that is approved; any other than the current one has no effect. */
  readonly planDigest: string;
  readonly comment?: string;
  /** The same, signed (`domain/approval-statement.ts`): what counts is then what was signed. */
  readonly statement?: unknown;
}

/** Argument of the signal `reject`. */
export interface Reject {
  readonly approver: string;
  readonly planDigest?: string;
  readonly reason: string;
  readonly statement?: unknown;
}

/** Argument of the update `decide`. */
export type Decide = ({ decision: 'approve' } & Approve) | ({ decision: 'reject' } & Reject);

/** Why a vote has no effect; `why` adds to the sentence of the code and may be empty. */
export interface VoteRefusal {
  readonly code: ErrorCode;
  readonly why: string;
}

/** Why a vote has no effect, in words. A run that is somebody else's may tell of a code that there is not. */
export function refusalText({ code, why }: VoteRefusal): string {
  return isErrorCode(code) ? new ConnectorError(code, why).message : why;
}

/** What a message says, before anything in it is proven. */
export interface VoteMessage {
  readonly decision: Decision;
  /** Absent where only the signed statement says it. */
  readonly approver?: string;
  readonly planDigest?: string;
  /** Comment of an approval, reason of a rejection. */
  readonly comment?: string;
  readonly statement?: unknown;
  /** Set where the message does not have the form that it must have. */
  readonly malformed?: VoteRefusal;
}

/** What became of a signed statement: who signed what, or why it proves nothing. */
export type StatementProof =
  | {
      readonly statement: Approval;
      /** Who the key belongs to, by the entry that trusts it. */
      readonly identity: string;
      readonly groups: readonly string[];
      readonly keyFingerprint: string;
    }
  | { readonly refused: VoteRefusal };

export interface Vote {
  readonly decision: Decision;
  readonly approver: string;
  readonly planDigest?: string;
  readonly comment?: string;
  readonly proof: Proof;
  /** When it was given, RFC 3339 in UTC: as it was signed, or for a bare message when it came in. */
  readonly at: string;
  /** Of a verified vote: base64 of the SHA-256 over the key's SPKI in DER. */
  readonly keyFingerprint?: string;
  /** Of a verified vote: what the entry of the key says that its owner belongs to. */
  readonly groups?: readonly string[];
}

/** How a message came in. */
export interface Receipt {
  /** RFC 3339 in UTC. */
  readonly receivedAt: string;
  readonly via: 'signal' | 'update';
}

/** A vote with what became of it. All are kept and audited; only those without `refused` have an effect. */
export interface VoteRecord extends Vote, Receipt {
  readonly refused?: VoteRefusal;
}

/** What a signed statement must name to be a vote in this run and no other. */
export interface RunIdentity {
  readonly workflowId: string;
  readonly runId: string;
  readonly wpkDigest: Digest | undefined;
  readonly clusterUid: string | undefined;
  readonly policyDigest: Digest | undefined;
}

/** What a vote is judged against. */
export interface VoteContext {
  /** Whether a vote can still change anything. */
  readonly open: boolean;
  readonly author: string;
  /** Fingerprint of the key that signed the package: whoever holds it is its author too. */
  readonly signerFingerprint: string | undefined;
  /** Who signed the package without a key, as the certificate says it: its author too, whatever the package claims. */
  readonly signerIdentity: string | undefined;
  readonly planDigest: Digest | undefined;
  /** Absent before there is a plan. */
  readonly requirement: Requirement | undefined;
  readonly run: RunIdentity;
}

/**
 * Says what becomes of a vote: the one rule for signals, updates and the writing activity.
 * @param proof what became of the message's statement; undefined for a bare message
 */
export function judgeVote(
  message: VoteMessage,
  proof: StatementProof | undefined,
  receipt: Receipt,
  context: VoteContext,
): VoteRecord {
  const vote = voteIn(message, proof, receipt);
  const refused = message.malformed ?? refusalOfStatement(message, proof, receipt, context) ?? refusalOf(vote, context);
  return { ...vote, ...receipt, ...(refused && { refused: briefly(refused) }) };
}

const MAX_WHY_CHARS = 300;

/** A reason may quote what was sent: it must neither outgrow a message nor lack a canonical form. */
export function briefly({ code, why }: VoteRefusal): VoteRefusal {
  return { code, why: (why.length > MAX_WHY_CHARS ? `${why.slice(0, MAX_WHY_CHARS)}…` : why).toWellFormed() };
}

/** Of a signed vote what was signed counts, and whose key it was; nothing of what stands beside it. */
function voteIn(message: VoteMessage, proof: StatementProof | undefined, { receivedAt }: Receipt): Vote {
  const { decision } = message;
  if (proof && 'statement' in proof) {
    const { planDigest, comment, time } = proof.statement;
    const { identity, groups, keyFingerprint } = proof;
    const said = comment?.trim();
    const signed = { decision, approver: identity, planDigest, proof: 'verified', at: time } as const;
    return { ...signed, ...(said && { comment: said }), keyFingerprint, groups };
  }
  const { approver = 'unknown', planDigest, comment } = message;
  return {
    decision,
    approver,
    proof: 'asserted',
    at: receivedAt,
    ...(planDigest === undefined ? {} : { planDigest }),
    ...(comment === undefined ? {} : { comment }),
  };
}

/** Why a statement is no vote of its signer in this run, or undefined where it is one. */
function refusalOfStatement(
  message: VoteMessage,
  proof: StatementProof | undefined,
  { receivedAt }: Receipt,
  { run, requirement, planDigest }: VoteContext,
): VoteRefusal | undefined {
  if (message.statement === undefined) return undefined;
  if (!proof) return { code: 'APPROVAL_SIGNATURE_INVALID', why: 'Nobody could check it.' };
  if ('refused' in proof) return proof.refused;
  const { statement, identity } = proof;
  const other = (what: string) => ({ code: 'APPROVAL_STATEMENT_MISMATCH', why: `It names another ${what}.` }) as const;
  if (!sameIdentity(statement.approver, identity)) return other('approver than the owner of the key');
  if (message.approver !== undefined && !sameIdentity(message.approver, identity)) {
    return other('approver than the message around it');
  }
  if (statement.decision !== message.decision) return other('decision than the message around it');
  if (statement.workflowId !== run.workflowId || statement.runId !== run.runId) return other('run');
  if (run.wpkDigest !== undefined && statement.wpkDigest !== run.wpkDigest) return other('package');
  if (run.clusterUid !== undefined && statement.clusterUid !== run.clusterUid) return other('cluster');
  if (message.planDigest !== undefined && message.planDigest !== statement.planDigest) {
    return other('plan than the message around it');
  }
  if (statement.planDigest === planDigest && statement.policyDigest !== run.policyDigest) return other('policy');
  const skewMs = (requirement?.maxClockSkewSeconds ?? 0) * 1000;
  if (!(Date.parse(statement.time) <= Date.parse(receivedAt) + skewMs)) {
    return { code: 'APPROVAL_TIME_INVALID', why: `It says ${statement.time} and came in at ${receivedAt}.` };
  }
  return undefined;
}

/** Why a vote has no effect as things stand, or undefined where it has one. */
export function refusalOf(vote: Vote, context: VoteContext): VoteRefusal | undefined {
  const { requirement, planDigest, author, signerFingerprint, signerIdentity } = context;
  const closed = { code: 'APPROVAL_CLOSED', why: '' } as const;
  if (!context.open) return closed;
  if (sameIdentity(vote.approver, author)) return { code: 'APPROVAL_BY_AUTHOR', why: `${vote.approver} wrote it.` };
  if (signerIdentity !== undefined && sameIdentity(vote.approver, signerIdentity)) {
    return { code: 'APPROVAL_BY_AUTHOR', why: `${vote.approver} signed it.` };
  }
  if (vote.keyFingerprint !== undefined && vote.keyFingerprint === signerFingerprint) {
    return { code: 'APPROVAL_BY_AUTHOR', why: 'The key of the vote signed the package.' };
  }
  if (vote.decision === 'reject') {
    if (!vote.comment) return { code: 'APPROVAL_REASON_MISSING', why: '' };
    if (vote.planDigest !== undefined && vote.planDigest !== planDigest) return mismatch(planDigest);
    // It may come before there is a plan; then it is looked at again once policy says what counts.
    return requirement && refusalOfBare(vote, { ...requirement, quorum: 1, groups: [] });
  }
  if (!requirement) return closed;
  if (vote.planDigest !== planDigest) return mismatch(planDigest);
  return refusalOfBare(vote, requirement);
}

/** A bare message proves nothing: a stranger's no would stop whatever it likes under anybody's name, as a yes would start it. */
function refusalOfBare({ proof }: Vote, { acceptAsserted, quorum, groups }: Requirement): VoteRefusal | undefined {
  const refused = (why: string) => ({ code: 'APPROVAL_NOT_ACCEPTED', why }) as const;
  if (proof === 'verified') return undefined;
  if (!acceptAsserted) return refused('The policy counts signed votes only: byoc approve --key, byoc reject --key.');
  if (quorum > 1) return refused(`${quorum} different people must approve, which takes signed votes.`);
  if (groups.length > 0) return refused(`Somebody of ${groups.join(', ')} must approve, which takes a signed vote.`);
  return undefined;
}

function mismatch(planDigest: Digest | undefined): VoteRefusal {
  return {
    code: 'APPROVAL_PLAN_MISMATCH',
    why: planDigest ? `The current plan is ${planDigest}.` : 'There is no plan yet.',
  };
}
