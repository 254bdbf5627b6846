import type { VoteRecord } from '../../domain/approvals.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { PlanBinding } from '../../domain/plan.ts';
import type { ExecutionReport, Progress } from '../../domain/status.ts';
import type { SignedWpk, Wpk } from '../../domain/wpk.ts';
import type { ExecutionOptions, ExecutionProgress, GrowingReport } from '../kubernetes/execution-types.ts';
import type { Planner } from '../kubernetes/planner.ts';
import type { Writer } from '../kubernetes/writer.ts';
import type { Witness } from '../temporal/witness.ts';
import type { Admission, AdmittedWpk } from './admission.ts';
import type { Caller, ApprovalInput } from './authorization.ts';
import { assertApproved, assertCaller, assertClaim, packageOf } from './authorization.ts';
import type { Claims } from './claims.ts';
import { makePlan } from './planning.ts';
import type { PackageRecords } from './records.ts';

export interface ExecuteInput {
  readonly signed: SignedWpk;
  readonly planDigest: Digest;
  readonly binding: PlanBinding;
  readonly votes: readonly VoteRecord[];
}

export type ExecuteOutcome =
  | { readonly outcome: 'succeeded' | 'stopped'; readonly report: ExecutionReport }
  /** Nothing was written: the cluster is not as it was when the plan was approved. */
  | { readonly outcome: 'plan-changed' };

export interface ExecutionDeps {
  readonly clusterId: string;
  readonly sha256: Sha256;
  readonly admit: Admission;
  readonly claims: Claims;
  readonly planner: Planner;
  readonly writer: Writer;
  readonly witness: Witness;
  readonly sealAudit: () => Promise<void>;
}

export interface ExecutionContext {
  readonly caller: Caller;
  readonly signal: AbortSignal;
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
export async function executePlan(deps: ExecutionDeps, input: ExecuteInput, context: ExecutionContext): Promise<ExecuteOutcome> {
  const { caller, signal } = context;
  const wpkId = packageOf(caller, deps.clusterId);
  const claim = await deps.claims.read(wpkId);
  const resumed = claim?.executing !== undefined;
  const admitted = await deps.admit(input.signed, { begun: resumed });
  const { wpk, wpkDigest } = admitted;
  assertCaller(caller, deps.clusterId, wpk.metadata.id);
  assertClaim(claim, caller, wpkDigest);

  if (resumed && claim.executing !== input.planDigest) {
    throw new ConnectorError('PLAN_CHANGED', 'Another plan of this package was begun.');
  }
  const { plan, dryRun } = await makePlan(deps.planner, deps.sha256, admitted, signal);
  if (!resumed && plan.digest !== input.planDigest) return { outcome: 'plan-changed' };
  const approval: ApprovalInput = input;
  const { requirement, approvers } = await assertApproved(deps, admitted, caller, approval);

  const records = context.recordsFor(admitted);
  // What was decided is in the log before anything is written; without the log nothing is.
  await records.write('package.approved', 'succeeded', { approvers: [...approvers], auto: requirement.auto, reason: requirement.reason }, { planDigest: input.planDigest });
  await deps.sealAudit();
  if (!resumed) await deps.claims.markExecuting(wpkId, input.planDigest);

  const report: GrowingReport = { steps: [] };
  try {
    await deps.writer.execute({
      wpk,
      dryRun,
      approved: new Set(input.binding.objects),
      resumed,
      signal,
      report,
      beforeWrite: () => signal.throwIfAborted(),
      onStep: (step) => recordStep(records, step, input.planDigest),
      onProgress: (progress) => context.onProgress(progressOf(wpk, progress)),
    });
  } catch (error) {
    if (context.stopRequested()) return { outcome: 'stopped', report };
    if (error instanceof ConnectorError && !error.traits.retryable) throw new ExecutionFailed(error, report);
    throw error;
  }
  return { outcome: 'succeeded', report };
}

type StepEvent = Parameters<NonNullable<ExecutionOptions['onStep']>>[0];

async function recordStep(records: PackageRecords, event: StepEvent, planDigest: Digest): Promise<void> {
  if ('started' in event) {
    const { id, action } = event.started;
    return records.write('step.started', 'succeeded', { id, action }, { key: id, planDigest });
  }
  const { finished } = event;
  // A step that a crash cut short ends twice: partial, then done.
  const key = `${finished.id}/${finished.outcome}`;
  await records.write('step.finished', finished.outcome === 'partial' ? 'failed' : 'succeeded', { ...finished }, { key, planDigest });
}

function progressOf({ steps }: Wpk, { step, done, total, waitingFor }: ExecutionProgress): Progress {
  const index = steps.findIndex(({ id }) => id === step) + 1;
  return { step, index, of: steps.length, done, total, since: new Date().toISOString(), ...(waitingFor && { waitingFor }) };
}
