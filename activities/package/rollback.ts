import { ConnectorError } from '../../domain/errors.ts';
import { ROLLBACK_WPK, rollbackIdOf } from '../../domain/names.ts';
import type { Progress, RollbackOutcome, RollbackRequest, UndoneObject, UndoReport } from '../../domain/status.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import type { ExecutionProgress } from '../kubernetes/execution-types.ts';
import type { StepToUndo } from '../kubernetes/undo.ts';
import type { AdmittedWpk } from './admission.ts';
import type { Caller } from './authorization.ts';
import { assertCaller } from './authorization.ts';
import type { Claim } from './claims.ts';
import { sameRun } from './claims.ts';
import { exclusively } from './exclusive.ts';
import type { ExecutionContext, ExecutionDeps } from './execution.ts';
import { isFinal, waitingProgress } from './execution.ts';
import { forgetJournal, Journal } from './journal.ts';
import type { Asker } from './rollback-request.ts';
import { askerOf } from './rollback-request.ts';

/** Who asks is said only where somebody does: not where the package itself is undone because it failed. */
export interface RollbackInput extends Partial<RollbackRequest> {
  readonly signed: SignedWpk;
}

export type RollbackDeps = Pick<
  ExecutionDeps,
  'clusterId' | 'admit' | 'claims' | 'writer' | 'executor' | 'locks' | 'policy' | 'prove' | 'secrets'
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
  assertMayRollBack(caller, deps.clusterId, wpkId, claim);
  if (claim.wpkDigest !== wpkDigest) throw new ConnectorError('CALLER_UNTRUSTED', 'Another package has this id.');
  if (claim.undone !== undefined) return { outcome: 'ended', report: { objects: [], complete: true } };
  assertCanBeUndone(claim);

  const isRequested = caller.workflowType === ROLLBACK_WPK;
  const asker = isRequested ? await askerOf(deps.prove, admitted, claim, input) : undefined;
  // A stop never rolls back by itself: what a freeze meets is left, until somebody asks for it when the freeze is lifted.
  if (!isRequested && deps.executor.halt.aborted) return { outcome: 'stopped', report: NOTHING_UNDONE };
  await deps.executor.assertMayWrite();
  const onWait = (waitingFor: string) => context.onProgress(waitingProgress(wpk, waitingFor));
  const request = { wpk, runId: caller.runId, executor, signal, onWait, goesOn: (error: unknown) => !isFinal(error) };
  return exclusively(deps.locks, request, () => undo(deps, admitted, context, { signed: input.signed, asker }));
}

const NOTHING_UNDONE: UndoReport = { objects: [], complete: false };

async function undo(
  deps: RollbackDeps,
  admitted: AdmittedWpk,
  context: ExecutionContext,
  { signed, asker }: { readonly signed: unknown; readonly asker: Asker | undefined },
): Promise<RollbackOutcome> {
  const { wpk } = admitted;
  const wpkId = wpk.metadata.id;
  const { halt } = deps.executor;
  const journal = await Journal.read(deps.secrets, wpk);
  const steps = journal.written();
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
        ...(asker && { actor: asker }),
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
      onProgress: (now) => context.onProgress(progressOf(steps, now)),
    });
  } catch (error) {
    if (!context.stopRequested() && !halt.aborted) throw error;
    return { outcome: 'stopped', report: await recorded({ objects, complete: false }) };
  }
  const report = await recorded({ objects, complete: objects.every(({ outcome }) => outcome !== 'left') });
  if (report.complete) {
    await deps.claims.markUndone(wpkId);
    await forgetJournal(deps.secrets, wpkId);
  }
  return { outcome: 'ended', report };
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

/** The run of the package itself, when it has failed, or the run of its rollback, which anybody may start. */
function assertMayRollBack(
  caller: Caller,
  clusterId: string,
  wpkId: string,
  claim: Claim | undefined,
): asserts claim is Claim {
  const isRollback = caller.workflowType === ROLLBACK_WPK && caller.workflowId === rollbackIdOf(clusterId, wpkId);
  if (!isRollback) assertCaller(caller, clusterId, wpkId);
  if (!claim || !(isRollback || sameRun(claim, caller))) {
    throw new ConnectorError('CALLER_UNTRUSTED', 'The run did not claim the package.');
  }
}

/** What succeeded stays, and what is under way is stopped first. */
function assertCanBeUndone({ executing, ended }: Claim): void {
  if (executing === undefined) throw new ConnectorError('ROLLBACK_REFUSED', 'Nothing of it was executed.');
  if (ended === undefined) throw new ConnectorError('ROLLBACK_REFUSED', 'It is being executed; stop it first.');
  if (ended === 'succeeded') throw new ConnectorError('ROLLBACK_REFUSED', 'It succeeded.');
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
