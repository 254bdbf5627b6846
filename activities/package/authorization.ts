import type { VoteContext, VoteRecord } from '../../domain/approvals.ts';
import { judgeVote } from '../../domain/approvals.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { EXECUTE_WPK, ROLLBACK_WPK, rollbackIdOf, workflowIdOf } from '../../domain/names.ts';
import type { PlanBinding } from '../../domain/plan.ts';
import { planDigest } from '../../domain/plan.ts';
import { requirementFor } from '../../domain/policy.ts';
import type { Requirement } from '../../domain/policy.ts';
import type { EndPhase } from '../../domain/status.ts';
import { tally } from '../../domain/tally.ts';
import { readVote } from '../../domain/vote-message.ts';
import type { Witness } from '../temporal/witness.ts';
import type { AdmittedWpk } from './admission.ts';
import type { Claim, Claims, RunRef } from './claims.ts';
import { sameRun } from './claims.ts';
import type { StatementProver } from './statements.ts';

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
  if (!caller.workflowId) throw new ConnectorError('CALLER_UNTRUSTED', 'The call comes from no workflow.');
  const home = await witness.taskQueueOf(caller);
  if (home !== taskQueue) throw new ConnectorError('CALLER_UNTRUSTED', `The run is on the queue ${home}.`);
}

/** The caller must be the workflow of this very package. */
export function assertCaller(caller: Caller, clusterId: string, wpkId: string): void {
  if (caller.workflowType !== EXECUTE_WPK || caller.workflowId !== workflowIdOf(clusterId, wpkId)) {
    throw new ConnectorError(
      'CALLER_UNTRUSTED',
      `${caller.workflowType} ${caller.workflowId} is not the run of ${wpkId}.`,
    );
  }
}

/**
 * The run must be that of a package, or of a rollback, by its own id: in the connector's other runs nothing is encrypted,
 * so nothing of a package may be answered there, not even what is wrong with it.
 * @throws {ConnectorError} CALLER_UNTRUSTED
 */
export function assertPackageRun(caller: Caller, clusterId: string): void {
  const isRollback = caller.workflowType === ROLLBACK_WPK && caller.workflowId.startsWith(rollbackIdOf(clusterId, ''));
  if (!isRollback) packageOf(caller, clusterId);
}

/** The id of the package whose run calls, by the run's own id; what is recorded under it is only what the run says of itself. */
export function packageOf(caller: Caller, clusterId: string): string {
  const prefix = workflowIdOf(clusterId, '');
  if (caller.workflowType !== EXECUTE_WPK || !caller.workflowId.startsWith(prefix)) {
    throw new ConnectorError(
      'CALLER_UNTRUSTED',
      `${caller.workflowType} ${caller.workflowId} is not the run of a package.`,
    );
  }
  return caller.workflowId.slice(prefix.length);
}

/** The run must be the one that claimed the package. */
export function assertClaim(claim: Claim | undefined, caller: Caller, wpkDigest: Digest): asserts claim is Claim {
  if (!claim || !sameRun(claim, caller) || claim.wpkDigest !== wpkDigest) {
    throw new ConnectorError('CALLER_UNTRUSTED', 'The run did not claim the package.');
  }
}

/**
 * A run may not give a false account of how its package ended: the claim, which only what executes closes, knows better.
 * While the API server is away, what does not say that anything was carried out is taken as told.
 * @throws {ConnectorError} CALLER_UNTRUSTED, KUBERNETES_UNAVAILABLE
 */
export async function assertEnd(claims: Claims, caller: Caller, wpkId: string, phase: EndPhase): Promise<void> {
  const claim = await claimOf(claims, wpkId, phase);
  if (claim === 'away') return;
  const own = claim && sameRun(claim, caller) ? claim : undefined;
  if (isPossibleEnd(phase, own)) return;
  const known = own ? `the claim says ${own.ended ?? (own.executing ? 'executing' : 'nothing')}` : 'it has no claim';
  throw new ConnectorError('CALLER_UNTRUSTED', `The run says that it ended as ${phase}; ${known}.`);
}

async function claimOf(claims: Claims, wpkId: string, phase: EndPhase): Promise<Claim | undefined | 'away'> {
  try {
    return await claims.read(wpkId);
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    if (error.code === 'CALLER_UNTRUSTED') return undefined; // no package has such an id
    if (error.code === 'KUBERNETES_UNAVAILABLE' && !CARRIED_OUT.has(phase)) return 'away';
    throw error;
  }
}

/** Ends that nothing comes to but by writing. */
const CARRIED_OUT: ReadonlySet<EndPhase> = new Set<EndPhase>(['succeeded', 'rolled-back']);
/** Those of a run that never had the package, or not yet. */
const WITHOUT_CLAIM: ReadonlySet<EndPhase> = new Set<EndPhase>(['denied', 'failed', 'stopped']);

function isPossibleEnd(phase: EndPhase, claim: Claim | undefined): boolean {
  if (!claim) return WITHOUT_CLAIM.has(phase);
  const { ended, executing, undone } = claim;
  if (ended === undefined || ended === 'settled') {
    // What was begun can't be voted on or run out of time any more.
    return !CARRIED_OUT.has(phase) && (executing === undefined || WITHOUT_CLAIM.has(phase));
  }
  if (phase === 'rolled-back') return undone !== undefined;
  // What failed may have been stopped while it was undone.
  if (ended.startsWith('failed:')) return phase === 'failed' || phase === 'denied' || phase === 'stopped';
  return phase === ended;
}

export interface ApprovalInput {
  readonly planDigest: Digest;
  readonly binding: PlanBinding;
}

/** The plan must be one of this package, and the one that its digest names. */
export function assertPlan(sha256: Sha256, { planDigest: digest, binding }: ApprovalInput, wpkDigest: Digest): void {
  // A stranger may send no binding at all.
  const named = typeof binding === 'object' && binding !== null && binding.wpkDigest === wpkDigest;
  if (!named || planDigest(sha256, binding) !== digest) {
    throw new ConnectorError('CALLER_UNTRUSTED', 'The plan is not what its digest says.');
  }
}

export interface ApprovalDeps {
  readonly sha256: Sha256;
  readonly witness: Witness;
  readonly prove: StatementProver;
}

/** What the policy wanted, and whose votes met it. */
export interface GivenApproval {
  readonly requirement: Requirement;
  readonly approvers: readonly Pick<VoteRecord, 'approver' | 'proof' | 'at' | 'keyFingerprint'>[];
}

/**
 * Checks that this plan was approved as the policy wants it. The votes are taken from Temporal's own history and judged
 * anew, with the keys as they are now; what the workflow made of them counts for nothing here.
 * @param input whose plan `assertPlan` has taken
 * @throws {ConnectorError} PLAN_CHANGED where the approved plan was made under another policy, APPROVAL_MISSING,
 *   CALLER_UNTRUSTED, TEMPORAL_UNAVAILABLE, APPROVERS_UNAVAILABLE
 */
export async function assertApproved(
  deps: ApprovalDeps,
  admitted: AdmittedWpk,
  caller: Caller,
  { planDigest: digest, binding }: ApprovalInput,
): Promise<GivenApproval> {
  const { wpk, stepsDigest, policy } = admitted;
  if (binding.policyDigest !== policy.digest) throw new ConnectorError('PLAN_CHANGED', 'The policy changed.');
  const requirement = requirementFor(policy.policy, wpk, stepsDigest, binding);

  if (requirement.auto) return { requirement, approvers: [] };

  // All of them: a rejection need not name the plan, and one that a forged run passed over still holds.
  const votes = await judgedVotes(deps, caller, contextOf(admitted, caller, digest, binding, requirement));
  const { outcome, approvals, missing, missingGroups } = tally(votes, requirement);
  if (outcome === 'rejected') {
    const by = votes.find(({ decision, refused }) => decision === 'reject' && !refused);
    throw new ConnectorError('APPROVAL_MISSING', `${by?.approver} rejected it before it was begun.`);
  }
  if (outcome === 'waiting') {
    const groups = missingGroups.length > 0 ? `, nobody of ${missingGroups.join(', ')} approved` : '';
    throw new ConnectorError('APPROVAL_MISSING', `${missing} missing${groups}: ${requirement.reason}.`);
  }
  return {
    requirement,
    approvers: approvals.map(({ approver, proof, at, keyFingerprint }) => ({
      approver,
      proof,
      at,
      ...(keyFingerprint !== undefined && { keyFingerprint }),
    })),
  };
}

function contextOf(
  { wpk, facts }: AdmittedWpk,
  { workflowId, runId }: Caller,
  planDigest: Digest,
  { wpkDigest, clusterUid, policyDigest }: PlanBinding,
  requirement: Requirement,
): VoteContext {
  const run = { workflowId, runId, wpkDigest, clusterUid, policyDigest };
  const { signerFingerprint, signerIdentity } = facts;
  return {
    open: true,
    author: wpk.metadata.author,
    signerFingerprint,
    signerIdentity,
    planDigest,
    requirement,
    run,
  };
}

/** All votes of the run, in the order in which Temporal took them in. */
async function judgedVotes(deps: ApprovalDeps, caller: Caller, context: VoteContext): Promise<VoteRecord[]> {
  const votes = (await deps.witness.votes(caller)).map(({ decision, via, argument, receivedAt }) => ({
    message: readVote(decision, via, argument),
    receipt: { via, receivedAt },
  }));
  const signed = votes.filter(({ message }) => message.statement !== undefined);
  const statements = signed.map(({ message }) => message.statement);
  const proofs = statements.length > 0 ? await deps.prove(statements, { fresh: true }) : [];
  const proofOf = new Map(signed.map((vote, index) => [vote, proofs[index]]));
  return votes.map((vote) => judgeVote(vote.message, proofOf.get(vote), vote.receipt, context));
}
