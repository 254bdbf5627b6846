import type { Approval } from '../domain/approval-statement.ts';
import { approvalStatement, approvalStatementBytes } from '../domain/approval-statement.ts';
import type { Approve, Reject } from '../domain/approvals.ts';
import type { Plan } from '../domain/plan.ts';
import { signStatement } from './sign.ts';
import type { Signer } from './signer.ts';

/** What a vote is about: a plan, in one run. */
export interface VotedPlan {
  readonly workflowId: string;
  readonly runId: string;
  readonly plan: Pick<Plan, 'wpkDigest' | 'digest' | 'policyDigest' | 'clusterUid'>;
}

interface SignedVote {
  /** Who votes: as the entry of the key in Vault has it. */
  readonly approver: string;
  readonly signer: Signer;
  /** When it is signed; of each person the newest vote counts. The current time where it is left out. */
  readonly time?: Date;
}

/**
 * Makes the argument of the signal `approve` (or of `decide`) that proves who sent it, whichever way it travels.
 * @throws {ConnectorError} APPROVAL_MALFORMED, and those of the signer
 */
export async function signApproval(
  about: VotedPlan,
  vote: SignedVote & { readonly comment?: string },
): Promise<Approve> {
  const { approver, comment } = vote;
  const planDigest = about.plan.digest;
  const statement = await signVote(about, 'approve', vote, comment);
  return { approver, planDigest, ...(comment !== undefined && { comment }), statement };
}

/**
 * The same for the signal `reject`.
 * @throws {ConnectorError} APPROVAL_MALFORMED, and those of the signer
 */
export async function signRejection(about: VotedPlan, vote: SignedVote & { readonly reason: string }): Promise<Reject> {
  const { approver, reason } = vote;
  const statement = await signVote(about, 'reject', vote, reason);
  return { approver, planDigest: about.plan.digest, reason, statement };
}

/**
 * Signs that what was executed of the plan is to be undone.
 * @throws {ConnectorError} APPROVAL_MALFORMED, and those of the signer
 */
export function signRollback(about: VotedPlan, by: SignedVote): Promise<unknown> {
  return signVote(about, 'rollback', by, undefined);
}

function signVote(
  { workflowId, runId, plan }: VotedPlan,
  decision: Approval['decision'],
  { approver, signer, time = new Date() }: SignedVote,
  comment: string | undefined,
): Promise<unknown> {
  const { wpkDigest, digest: planDigest, policyDigest, clusterUid } = plan;
  const run = { wpkDigest, planDigest, policyDigest, clusterUid, workflowId, runId };
  const said = { decision, approver, time: time.toISOString(), ...(comment !== undefined && { comment }) };
  return signStatement(approvalStatementBytes(approvalStatement({ ...run, ...said })), signer);
}
