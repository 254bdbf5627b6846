import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError, isErrorCode } from '../../domain/errors.ts';
import type { PlanBinding } from '../../domain/plan.ts';
import { windowState } from '../../domain/maintenance-windows.ts';
import { resultDenials } from '../../domain/policy.ts';
import type { ExecutionReport, Progress } from '../../domain/status.ts';
import type { SignedWpk, Wpk } from '../../domain/wpk.ts';
import type { ExecutionOptions, ExecutionProgress, GrowingReport } from '../kubernetes/execution-types.ts';
import type { Executor } from '../kubernetes/executor.ts';
import type { DryRun, Planner } from '../kubernetes/planner.ts';
import type { StateSecrets, Writer } from '../kubernetes/writer.ts';
import type { Witness } from '../temporal/witness.ts';
import type { Admission, AdmittedWpk } from './admission.ts';
import type { Use } from '../audit/used-ids.ts';
import type { Caller } from './authorization.ts';
import { assertApproved, assertCaller, assertClaim, assertPlan, packageOf } from './authorization.ts';
import type { Claims, ExecutionEnd } from './claims.ts';
import { exclusively } from './exclusive.ts';
import type { Locks } from './locks.ts';
import { forgetJournal, Journal, whileHeld } from './journal.ts';
import { makePlan } from './planning.ts';
import type { PolicySource } from '../policy/load-policy.ts';
import type { PackageRecords } from './records.ts';
import type { Sequences } from './sequences.ts';
import type { StatementProver } from './statements.ts';

export interface ExecuteInput {
  readonly signed: SignedWpk;
  readonly planDigest: Digest;
  readonly binding: PlanBinding;
}

export type ExecuteOutcome =
  | { readonly outcome: 'succeeded' | 'stopped'; readonly report: ExecutionReport }
  /**
   * Nothing was written: the cluster or the policy is not as it was when the plan was approved, or no maintenance
   * window is open.
   */
  | { readonly outcome: 'plan-changed' | 'window-closed' };

export interface ExecutionDeps {
  readonly clusterId: string;
  readonly sha256: Sha256;
  readonly admit: Admission;
  readonly claims: Claims;
  readonly planner: Planner;
  readonly writer: Writer;
  readonly executor: Executor;
  readonly locks: Locks;
  readonly witness: Witness;
  readonly prove: StatementProver;
  readonly sequences: Sequences;
  /** Where what undoing a package needs is kept. */
  readonly secrets: StateSecrets;
  readonly policy: PolicySource;
  readonly now: () => Date;
  /** Puts the log where it can't be deleted, if there is such a place; without that nothing is written. */
  readonly uploadAudit: () => Promise<void>;
  /** Notes outside of cluster and Temporal that this run uses the package's id; WPK_ALREADY_USED where another one did. */
  readonly useOnce: (use: Use) => Promise<void>;
}

export interface ExecutionContext {
  readonly caller: Caller;
  readonly signal: AbortSignal;
  /** From 1, as Temporal counts. */
  readonly attempt: number;
  /** When Temporal gave this attempt out, ms since the epoch: its clock may know better than ours that a package has expired. */
  readonly scheduledAt: number;
  /** Whether somebody wants the package stopped: the signal also aborts when only this worker ends. */
  readonly stopRequested: () => boolean;
  readonly onProgress: (progress: Progress) => void;
  readonly recordsFor: (admitted: AdmittedWpk) => PackageRecords;
}

/** Carries the partial report of an execution that failed on the way. */
export class ExecutionFailed extends ConnectorError {
  readonly report: ExecutionReport;

  constructor(cause: ConnectorError, report: ExecutionReport) {
    super(cause.code, cause.detail, { cause, ...(cause.place && { place: cause.place }) });
    this.report = report;
  }
}

/** Carries out an approved plan: checks everything again, plans again, and only then writes. */
export async function executePlan(
  deps: ExecutionDeps,
  input: ExecuteInput,
  context: ExecutionContext,
): Promise<ExecuteOutcome> {
  return deps.executor.during((executor) => executeAlone(deps, input, context, executor));
}

/** @param executor name of the Lease under which it is executed */
async function executeAlone(
  deps: ExecutionDeps,
  input: ExecuteInput,
  context: ExecutionContext,
  executor: string,
): Promise<ExecuteOutcome> {
  const { caller, signal } = context;
  const wpkId = packageOf(caller, deps.clusterId);
  const claim = await deps.claims.read(wpkId);
  const begun = claim?.executing !== undefined;
  const admitted = await deps.admit(input.signed, { begun, fresh: true });
  const { wpk, wpkDigest } = admitted;
  assertCaller(caller, deps.clusterId, wpk.metadata.id);
  assertClaim(claim, caller, wpkDigest);
  assertPlan(deps.sha256, input, wpkDigest);

  if (claim.ended !== undefined) return endedBefore(claim.ended);
  if (!begun) assertInTime(wpk, context.scheduledAt);
  if (!begun) await deps.executor.assertMayWrite(); // what is frozen holds nothing up
  const onWait = (waitingFor: string) => context.onProgress(waitingProgress(wpk, waitingFor));
  const progress = { begun };
  const goesOn = (error: unknown) =>
    error instanceof ExecutionFailed ? wpk.onFailure === 'rollback' : progress.begun && !isFinal(error, signal);
  const request = { wpk, runId: caller.runId, executor, signal, onWait, goesOn };
  return exclusively(deps.locks, request, () => carryOut(deps, input, context, admitted, progress));
}

/** Our own clock was asked with the rest; one that is behind would give a package time that it has not. */
function assertInTime({ metadata: { expiresAt } }: Wpk, scheduledAt: number): void {
  if (scheduledAt < Date.parse(expiresAt)) return;
  throw new ConnectorError('WPK_EXPIRED', `It expired at ${expiresAt}, by Temporal's clock.`);
}

/** @param progress told when the package is begun: from then on it keeps its objects until it has ended */
async function carryOut(
  deps: ExecutionDeps,
  input: ExecuteInput,
  context: ExecutionContext,
  admitted: AdmittedWpk,
  progress: { begun: boolean },
): Promise<ExecuteOutcome> {
  const { caller, signal } = context;
  const { wpkDigest } = admitted;
  const wpkId = admitted.wpk.metadata.id;
  // Another attempt may have gone on while this one waited for the objects.
  const claim = await deps.claims.read(wpkId);
  assertClaim(claim, caller, wpkDigest);
  if (claim.ended !== undefined) return endedBefore(claim.ended);
  const resumed = claim.executing !== undefined;
  progress.begun = resumed;
  if (resumed && claim.executing !== input.planDigest) {
    throw new ConnectorError('PLAN_CHANGED', 'Another plan of this package was begun.');
  }
  const frozen = await frozenNow(deps, wpkId, resumed);
  if (frozen) return frozen;
  const report: GrowingReport = { steps: [] };
  const { halt } = deps.executor;
  try {
    const outcome = await executeResumably(deps, input, context, admitted, { progress, report, halt });
    if (outcome) return outcome;
  } catch (error) {
    if (!progress.begun) throw error;
    if (context.stopRequested() || halt.aborted) {
      await deps.claims.markEnded(wpkId, 'stopped');
      return { outcome: 'stopped', report };
    }
    if (!isFinal(error, signal)) throw error;
    deps.executor.assertHolds(); // or another executor is at it by now
    const failure = error instanceof ConnectorError ? error : new ConnectorError('INTERNAL', '', { cause: error });
    await deps.claims.markEnded(wpkId, `failed:${failure.code}`);
    throw new ExecutionFailed(failure, report);
  }
  deps.executor.assertHolds();
  await deps.claims.markEnded(wpkId, 'succeeded');
  await forgetJournal(deps.secrets, wpkId).catch(leftToReconcile);
  return { outcome: 'succeeded', report };
}

/** @returns undefined where all of it is carried out */
async function executeResumably(
  deps: ExecutionDeps,
  input: ExecuteInput,
  context: ExecutionContext,
  admitted: AdmittedWpk,
  run: {
    readonly progress: { begun: boolean };
    readonly report: GrowingReport;
    readonly halt: AbortSignal;
  },
): Promise<ExecuteOutcome | undefined> {
  const { caller, signal } = context;
  const { wpk, wpkDigest } = admitted;
  const { progress, report, halt } = run;
  const resumed = progress.begun;
  const secrets = whileHeld(deps.secrets, deps.executor);
  const journal = resumed ? await Journal.read(secrets, wpk) : Journal.begin(secrets, wpk);
  const done = journal.done();
  const { plan, dryRun } = await makePlan(deps.planner, deps.sha256, admitted, signal, new Set(done.keys()));
  if (!resumed && plan.digest !== input.planDigest) return { outcome: 'plan-changed' };

  const records = context.recordsFor(admitted);
  const { planDigest } = input;
  if (!resumed) {
    if (!windowState(admitted.policy.policy, wpk, deps.now()).open) return { outcome: 'window-closed' };
    // Once only: a vote that comes when it has begun is told that it is too late; what ends it then is a stop.
    const { requirement, approvers } = await assertApproved(deps, admitted, caller, input);
    // What was decided is in the log before anything is written; without the log nothing is.
    const decided = { approvers: [...approvers], auto: requirement.auto, reason: requirement.reason };
    await records.write('package.approved', 'succeeded', decided, { planDigest, key: planDigest });
    const use = { wpkId: wpk.metadata.id, workflowId: caller.workflowId, runId: caller.runId, wpkDigest };
    await Promise.all([deps.uploadAudit(), deps.useOnce(use)]);
    await deps.sequences.advance(wpk);
    progress.begun = true;
    await deps.claims.markExecuting(wpk.metadata.id, planDigest);
  }

  await deps.writer.execute({
    wpk,
    dryRun,
    approved: new Set(input.binding.objects),
    resumed,
    signal: AbortSignal.any([signal, halt]),
    report,
    journal,
    done,
    beforeWrite: policyGuard(deps, input.signed, admitted, dryRun),
    onStep: async (step) => {
      // A step before may have waited for hours: a key may be revoked and the policy may deny by now.
      if ('started' in step) await deps.admit(input.signed, { begun: true, fresh: true });
      await recordStep(records, step, planDigest, context.attempt);
    },
    onProgress: (progress) => context.onProgress(progressOf(wpk, progress)),
  });
  return undefined;
}

/** What is kept too long is removed by the schedule `reconcile`; nothing that has ended may fail because of it. */
export function leftToReconcile(): void {
  // The schedule says what keeps it from doing so.
}

/**
 * Whether Temporal does not try again what failed so. What nobody foresaw is no less final than what is in the table of
 * errors; what a worker breaks off that ends goes on elsewhere.
 */
export function isFinal(error: unknown, signal: AbortSignal): boolean {
  return error instanceof ConnectorError ? !error.traits.retryable : !signal.aborted;
}

/**
 * A package that was begun ends where it is when the cluster is frozen, whoever froze it; one that was not waits.
 * @throws {ConnectorError} FROZEN, FREEZE_UNKNOWN
 */
async function frozenNow(
  { executor, claims }: ExecutionDeps,
  wpkId: string,
  begun: boolean,
): Promise<ExecuteOutcome | undefined> {
  try {
    await executor.assertMayWrite();
    return undefined;
  } catch (error) {
    if (!begun || !executor.halt.aborted) throw error;
    await claims.markEnded(wpkId, 'stopped');
    return { outcome: 'stopped', report: { steps: [] } };
  }
}

/** A policy that changes while a package is carried out decides at the next write: of its contents and of who signed it. */
function policyGuard(
  { policy, admit }: Pick<ExecutionDeps, 'policy' | 'admit'>,
  signed: SignedWpk,
  admitted: AdmittedWpk,
  { writes }: DryRun,
): () => Promise<void> {
  let allowed = admitted.policy.digest;
  return async () => {
    const { policy: now, digest } = await policy();
    if (digest === allowed) return;
    await admit(signed, { begun: true });
    const changed = writes.filter(({ planned }) => planned.change !== 'unchanged').map(({ after }) => after);
    const denials = resultDenials(now, changed);
    if (denials.length > 0) throw new ConnectorError('POLICY_DENIED', `${denials.join('; ')}.`);
    allowed = digest;
  };
}

/**
 * The answer to a call for a package whose execution has ended, such as an attempt whose predecessor was killed just
 * before it could report. What was done is in the audit log; nothing is done again.
 */
function endedBefore(ended: ExecutionEnd): ExecuteOutcome {
  if (ended === 'succeeded' || ended === 'stopped') return { outcome: ended, report: { steps: [] } };
  if (ended === 'cut-off' || ended === 'settled') {
    throw new ConnectorError('CALLER_UNTRUSTED', 'The run of the package has ended.');
  }
  const code = ended.slice('failed:'.length);
  const detail = 'An earlier attempt ended so; the audit log has the steps.';
  throw new ExecutionFailed(new ConnectorError(isErrorCode(code) ? code : 'INTERNAL', detail), { steps: [] });
}

type StepEvent = Parameters<NonNullable<ExecutionOptions['onStep']>>[0];

async function recordStep(
  records: PackageRecords,
  event: StepEvent,
  planDigest: Digest,
  attempt: number,
): Promise<void> {
  if ('started' in event) {
    const { id, action } = event.started;
    return records.write('step.started', 'succeeded', { id, action }, { key: id, planDigest });
  }
  const { finished } = event;
  // A step that a crash cut short ends more than once, each time with what that attempt did.
  const key = `${finished.id}/${attempt}`;
  const outcome = finished.outcome === 'partial' ? 'failed' : 'succeeded';
  const { id, action, outcome: how, objects, startedAt, finishedAt } = finished; // no logs: anything may be in them
  const detail = { id, action, outcome: how, objects, startedAt, finishedAt };
  await records.write('step.finished', outcome, detail, { key, planDigest });
}

export function waitingProgress({ steps }: Wpk, waitingFor: string): Progress {
  const since = new Date().toISOString();
  return { step: '', index: 0, of: steps.length, done: 0, total: 0, since, waitingFor };
}

function progressOf({ steps }: Wpk, { step, done, total, waitingFor }: ExecutionProgress): Progress {
  const index = steps.findIndex(({ id }) => id === step) + 1;
  return {
    step,
    index,
    of: steps.length,
    done,
    total,
    since: new Date().toISOString(),
    ...(waitingFor && { waitingFor }),
  };
}
