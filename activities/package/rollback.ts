import { ConnectorError } from '../../domain/errors.ts';
import { ROLLBACK_WPK, rollbackIdOf } from '../../domain/names.ts';
import type { Progress, RollbackOutcome, RollbackRequest, UndoneObject, UndoReport } from '../../domain/status.ts';
import type { SignedWpk, Wpk } from '../../domain/wpk.ts';
import type { ExecutionProgress } from '../kubernetes/execution-types.ts';
import type { StepToUndo } from '../kubernetes/undo.ts';
import type { AdmittedWpk } from './admission.ts';
import type { Caller } from './authorization.ts';
import { assertCaller } from './authorization.ts';
import type { Claim } from './claims.ts';
import { sameRun } from './claims.ts';
import { exclusively } from './exclusive.ts';
import type { ExecutionContext, ExecutionDeps } from './execution.ts';
import { isFinal, leftToReconcile, waitingProgress } from './execution.ts';
import { forgetJournal, Journal, whileHeld } from './journal.ts';
import type { Asker } from './rollback-request.ts';
import { askerOf } from './rollback-request.ts';

/** Who asks is said only where somebody does: not where the package itself is undone because it failed. */
export interface RollbackInput extends Partial<RollbackRequest> {
  readonly signed: SignedWpk;
}

export type RollbackDeps = Pick<
  ExecutionDeps,
  | 'clusterId'
  | 'admit'
  | 'claims'
  | 'writer'
  | 'executor'
  | 'locks'
  | 'now'
  | 'policy'
  | 'prove'
  | 'secrets'
  | 'witness'
>;

/**
 * Undoes what a package has written that failed, was stopped or cut off. Believes nothing of what it is told (R38): the
 * signature is checked, the claim says that this very package was executed here and how it ended, and what is undone is
 * what the connector itself has noted.
 */
export async function rollBack(
  deps: RollbackDeps,
  input: { readonly [K in keyof RollbackInput]?: unknown },
  context: ExecutionContext,
): Promise<RollbackOutcome> {
  return deps.executor.during((executor) => rollBackAlone(deps, input, context, executor));
}

/** @param executor name of the Lease under which it is undone */
async function rollBackAlone(
  deps: RollbackDeps,
  input: { readonly [K in keyof RollbackInput]?: unknown },
  context: ExecutionContext,
  executor: string,
): Promise<RollbackOutcome> {
  const { caller, signal } = context;
  const admitted = await deps.admit(input.signed, { begun: true, fresh: true });
  const { wpk, wpkDigest } = admitted;
  const wpkId = wpk.metadata.id;
  const claim = await deps.claims.read(wpkId);
  assertMayRollBack(caller, deps.clusterId, wpk, claim);
  if (claim.wpkDigest !== wpkDigest) throw new ConnectorError('CALLER_UNTRUSTED', 'Another package has this id.');
  if (claim.undone !== undefined) return UNDONE_BEFORE;
  await assertCanBeUndone(deps, claim);

  const isRequested = caller.workflowType === ROLLBACK_WPK;
  const asker = isRequested ? await askerOf(deps, admitted, claim, caller.runId, input) : undefined;
  const freeze = await freezeNow(deps);
  // A stop never rolls back by itself: what a freeze meets is left, until somebody asks for it when the freeze is lifted.
  if (freeze !== undefined) {
    if (isRequested) throw new ConnectorError('ROLLBACK_REFUSED', `${freeze} Lift the freeze first: byoc resume.`);
    const objects = (await Journal.read(deps.secrets, wpk)).undoneBefore();
    return { outcome: 'stopped', report: { objects, complete: false } };
  }
  const onWait = (waitingFor: string) => context.onProgress(waitingProgress(wpk, waitingFor));
  const goesOn = (error: unknown) => !isFinal(error, signal);
  const request = { wpk, runId: caller.runId, executor, signal, onWait, goesOn };
  return exclusively(deps.locks, request, () => undo(deps, admitted, context, { signed: input.signed, asker }));
}

const UNDONE_BEFORE: RollbackOutcome = { outcome: 'ended', report: { objects: [], complete: true } };

/** A rollback that failed on the way, with what it had undone until then. */
export class RollbackFailed extends ConnectorError {
  readonly undo: UndoReport;

  constructor(cause: ConnectorError, undo: UndoReport) {
    super(cause.code, cause.detail, { cause });
    this.undo = undo;
  }
}

/** @returns how the cluster is frozen, if it is; throws where nobody can tell */
async function freezeNow({ executor }: RollbackDeps): Promise<string | undefined> {
  try {
    await executor.assertMayWrite();
    return undefined;
  } catch (error) {
    if (error instanceof ConnectorError && error.code === 'FROZEN') return error.detail;
    throw error;
  }
}

async function undo(
  deps: RollbackDeps,
  admitted: AdmittedWpk,
  context: ExecutionContext,
  { signed, asker }: { readonly signed: unknown; readonly asker: Asker | undefined },
): Promise<RollbackOutcome> {
  const { wpk } = admitted;
  const wpkId = wpk.metadata.id;
  const { halt } = deps.executor;
  // Another rollback, or the end of the execution, may have come while this one waited for the objects.
  const claim = await deps.claims.read(wpkId);
  assertMayRollBack(context.caller, deps.clusterId, wpk, claim);
  if (claim.undone !== undefined) return UNDONE_BEFORE;
  await assertCanBeUndone(deps, claim);
  if (asker?.signedAt !== undefined) {
    await deps.claims.markRollback(wpkId, asker.signedAt, context.caller.runId);
  }
  await deps.claims.markEnded(wpkId, 'stopped'); // where its own run could not say so, nothing of it may go on after this
  const journal = await Journal.read(whileHeld(deps.secrets, deps.executor), wpk);
  const steps = journal.written();
  const by = asker && { by: asker.id, proof: asker.proof };
  const objects: UndoneObject[] = [];
  const records = context.recordsFor(admitted);
  const recorded = async (report: UndoReport) => {
    const outcome = report.complete ? 'succeeded' : 'failed';
    await records.write(
      'rollback.finished',
      outcome,
      { ...report },
      {
        key: `${context.attempt}`,
        ...(asker && { actor: { id: asker.id, proof: asker.proof } }),
      },
    );
    return report;
  };
  try {
    await deps.writer.undo({
      steps,
      signal: AbortSignal.any([context.signal, halt]),
      report: objects,
      beforeWrite: policyGuard(deps, signed, admitted),
      onUndone: (step, undone) => journal.undone(step, undone),
      onProgress: (now) => context.onProgress(progressOf(steps, now)),
    });
  } catch (error) {
    const isStopped = context.stopRequested() || halt.aborted;
    if (!isStopped && !isFinal(error, context.signal)) throw error;
    const report = await recorded({ objects, complete: false });
    if (isStopped) return { outcome: 'stopped', report, ...by };
    const failure = error instanceof ConnectorError ? error : new ConnectorError('INTERNAL', '', { cause: error });
    throw new RollbackFailed(failure, report);
  }
  const report = await recorded({ objects, complete: objects.every(({ outcome }) => outcome !== 'left') });
  if (report.complete) {
    await deps.claims.markUndone(wpkId);
    await forgetJournal(deps.secrets, wpkId).catch(leftToReconcile);
  }
  return { outcome: 'ended', report, ...by };
}

function progressOf(steps: readonly StepToUndo[], now: ExecutionProgress): Progress {
  const { step, done, total, waitingFor } = now;
  return {
    step: `undoing ${step}`,
    index: steps.length - steps.findIndex((one) => one.step === step),
    of: steps.length,
    done,
    total,
    since: new Date().toISOString(),
    ...(waitingFor !== undefined && { waitingFor }),
  };
}

/**
 * The run of the package itself, when it has failed and is to be undone then, or the run of its rollback, which anybody
 * may start, and which has to say who asks for it.
 */
function assertMayRollBack(
  caller: Caller,
  clusterId: string,
  { metadata: { id }, onFailure }: Wpk,
  claim: Claim | undefined,
): asserts claim is Claim {
  const isRollback = caller.workflowType === ROLLBACK_WPK && caller.workflowId === rollbackIdOf(clusterId, id);
  if (!isRollback) assertCaller(caller, clusterId, id);
  if (!claim || !(isRollback || sameRun(claim, caller))) {
    throw new ConnectorError('CALLER_UNTRUSTED', 'The run did not claim the package.');
  }
  if (!isRollback && !(onFailure === 'rollback' && claim.ended?.startsWith('failed:'))) {
    throw new ConnectorError('CALLER_UNTRUSTED', 'The package does not roll back by itself.');
  }
}

/** What succeeded stays, and what is under way is stopped first. */
async function assertCanBeUndone({ witness }: RollbackDeps, { executing, ended, ...run }: Claim): Promise<void> {
  if (executing === undefined) throw new ConnectorError('ROLLBACK_REFUSED', 'Nothing of it was executed.');
  if (ended === 'succeeded') throw new ConnectorError('ROLLBACK_REFUSED', 'It succeeded.');
  // A run that was stopped while its worker was gone, or was cut off, could not say itself that it has ended.
  if (ended === undefined && (await witness.fateOf(run)) === 'running') {
    throw new ConnectorError('ROLLBACK_REFUSED', 'It is being executed; stop it first.');
  }
}

/** A policy that changes meanwhile decides at the next write. */
function policyGuard({ policy, admit }: RollbackDeps, signed: unknown, admitted: AdmittedWpk): () => Promise<void> {
  let allowed = admitted.policy.digest;
  return async () => {
    const { digest } = await policy();
    if (digest === allowed) return;
    await admit(signed, { begun: true });
    allowed = digest;
  };
}
