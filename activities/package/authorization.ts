import type { VoteRecord } from '../../domain/approvals.ts';
import { refusalOf, sameIdentity, tally } from '../../domain/approvals.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { EXECUTE_WPK, workflowIdOf } from '../../domain/names.ts';
import type { PlanBinding } from '../../domain/plan.ts';
import { planDigest } from '../../domain/plan.ts';
import { requirementFor } from '../../domain/policy.ts';
import type { Requirement } from '../../domain/policy.ts';
import type { Witness } from '../temporal/witness.ts';
import type { AdmittedWpk } from './admission.ts';
import type { Claim, RunRef } from './claims.ts';
import { sameRun } from './claims.ts';

/**
 * Temporal orders, it does not authorise (R38): whoever has access to its namespace can schedule our activities with
 * whatever arguments. What follows therefore believes nothing that came as an argument.
 */

/** Who calls: from the Temporal service, which the caller cannot choose. */
export interface Caller extends RunRef {
  readonly workflowType: string;
}

/**
 * A run that merely bears the right name is at home on another queue, where somebody else's code carries it.
 * @throws {ConnectorError} CALLER_UNTRUSTED, TEMPORAL_UNAVAILABLE
 */
export async function assertAtHome(witness: Witness, caller: Caller, taskQueue: string): Promise<void> {
  const run = await witness.describe(caller);
  if (run.taskQueue !== taskQueue) throw new ConnectorError('CALLER_UNTRUSTED', `The run is on the queue ${run.taskQueue}.`);
}

/** The caller must be the workflow of this very package. */
export function assertCaller(caller: Caller, clusterId: string, wpkId: string): void {
  if (caller.workflowType !== EXECUTE_WPK || caller.workflowId !== workflowIdOf(clusterId, wpkId)) {
    throw new ConnectorError('CALLER_UNTRUSTED', `${caller.workflowType} ${caller.workflowId} is not the run of ${wpkId}.`);
  }
}

/** The id of the package whose run calls, by the run's own id; what is recorded under it is only what the run says of itself. */
export function packageOf(caller: Caller, clusterId: string): string {
  const prefix = workflowIdOf(clusterId, '');
  if (caller.workflowType !== EXECUTE_WPK || !caller.workflowId.startsWith(prefix)) {
    throw new ConnectorError('CALLER_UNTRUSTED', `${caller.workflowType} ${caller.workflowId} is not the run of a package.`);
  }
  return caller.workflowId.slice(prefix.length);
}

/** The run must be the one that claimed the package. */
export function assertClaim(claim: Claim | undefined, caller: Caller, wpkDigest: Digest): asserts claim is Claim {
  if (!claim || !sameRun(claim, caller) || claim.wpkDigest !== wpkDigest) {
    throw new ConnectorError('CALLER_UNTRUSTED', 'The run did not claim the package.');
  }
}

export interface ApprovalInput {
  readonly planDigest: Digest;
  readonly binding: PlanBinding;
  readonly votes: readonly VoteRecord[];
}

export interface ApprovalDeps {
  readonly sha256: Sha256;
  readonly witness: Witness;
}

/** What the policy wanted, and whose votes met it. */
export interface Approval {
  readonly requirement: Requirement;
  readonly approvers: readonly Pick<VoteRecord, 'approver' | 'proof'>[];
}

/**
 * Checks that this plan was approved as the policy wants it, counting the votes anew.
 * @throws {ConnectorError} PLAN_CHANGED where the approved plan was made for another package or under another policy,
 *   APPROVAL_MISSING, or CALLER_UNTRUSTED where Temporal's own history does not hold the votes.
 */
export async function assertApproved(
  deps: ApprovalDeps,
  admitted: AdmittedWpk,
  caller: Caller,
  { planDigest: digest, binding, votes }: ApprovalInput,
): Promise<Approval> {
  const { wpk, wpkDigest, stepsDigest, policy } = admitted;
  if (planDigest(deps.sha256, binding) !== digest || binding.wpkDigest !== wpkDigest) {
    throw new ConnectorError('CALLER_UNTRUSTED', 'The plan is not what its digest says.');
  }
  if (binding.policyDigest !== policy.digest) throw new ConnectorError('PLAN_CHANGED', 'The policy changed.');
  const requirement = requirementFor(policy.policy, wpk, stepsDigest, binding);
  if (requirement.auto) return { requirement, approvers: [] };

  const context = { open: true, author: wpk.metadata.author, planDigest: digest, requirement };
  const judged = votes.map((vote) => {
    const refused = refusalOf(vote, context);
    return refused ? { ...vote, refused } : vote;
  });
  const { outcome, missing, approvers } = tally(judged, requirement);
  if (outcome !== 'approved') throw new ConnectorError('APPROVAL_MISSING', `${missing} missing: ${requirement.reason}.`);
  const counted = judged.filter(({ refused }) => !refused);
  await assertWitnessed(deps, caller, counted);
  const voteOf = (name: string) => counted.find(({ approver }) => approver === name);
  return { requirement, approvers: approvers.map((approver) => ({ approver, proof: voteOf(approver)?.proof ?? 'asserted' })) };
}

/** An asserted vote is only as good as its trace: it must be in the history of the run. */
async function assertWitnessed({ witness }: ApprovalDeps, caller: Caller, votes: VoteRecord[]): Promise<void> {
  const seen = await witness.votes(caller);
  for (const { decision, approver, planDigest: digest } of votes) {
    const found = seen.some(
      (vote) =>
        vote.decision === decision &&
        typeof vote.approver === 'string' &&
        sameIdentity(vote.approver, approver) &&
        vote.planDigest === digest,
    );
    if (!found) throw new ConnectorError('CALLER_UNTRUSTED', `The history of the run holds no such vote of ${approver}.`);
  }
}
