import { ActivityFailure, ApplicationFailure, isCancellation, patched, TimeoutFailure } from '@temporalio/workflow';
import { ERRORS, isErrorCode } from '../domain/errors.ts';
import type { ErrorCode } from '../domain/errors.ts';
import type { ExecutionReport, Failure, UndoReport } from '../domain/status.ts';
import type { SignedWpk } from '../domain/wpk.ts';
import { rollbackPackage } from './activities.ts';
import type { PackageRun } from './package-run.ts';

/** Turns what went wrong into the end that it means; what was written is undone first, where the package wants it. */
export async function finishBy(run: PackageRun, signed: SignedWpk, error: unknown): Promise<void> {
  if (isCancellation(error)) return run.finish('stopped');
  if (isUnanswered(error)) return run.finish('stopped', undefined, UNANSWERED);
  const { failure, report } = read(error);
  if (hadNoOtherAttempt(error)) return run.finish('stopped', report);
  const isDenial = ERRORS[failure.code].denies || run.status().phase === 'verifying';
  const end = isDenial ? 'denied' : 'failed';
  // Without a report nothing was written.
  if (!report || !run.rollsBack()) return run.finish(end, report, failure);
  try {
    const { outcome, report: undo } = await rollbackPackage({ signed });
    if (outcome === 'stopped') return run.finish('stopped', { ...report, undo }, failure);
    run.finish(undo.complete ? 'rolled-back' : end, { ...report, undo }, failure);
  } catch (unrolled) {
    if (isCancellation(unrolled) || isUnanswered(unrolled) || hadNoOtherAttempt(unrolled))
      return run.finish('stopped', report, failure);
    const { failure: why, undo } = read(unrolled);
    const told = `${failure.message} It was not rolled back: ${why.code}: ${why.message}`;
    run.finish(end, { ...report, ...(undo && { undo }) }, { ...failure, message: told });
  }
}

/**
 * Temporal tries an activity again until somebody stops it: one that was out of time then has no other attempt, and its
 * worker is gone.
 */
export function isUnanswered(error: unknown): boolean {
  return error instanceof ActivityFailure && error.cause instanceof TimeoutFailure;
}

/** What failed would have been tried again, had nobody stopped it: it is the stop that ends it. */
export function hadNoOtherAttempt(error: unknown): boolean {
  const isCutShort = error instanceof ActivityFailure && error.retryState === 'CANCEL_REQUESTED';
  return isCutShort && patched('stopped-between-attempts');
}

const UNANSWERED: Failure = {
  code: 'WORKER_UNAVAILABLE',
  message: 'It was stopped when the worker that was at it was gone: the audit log has what it had done.',
};

/** @throws what is no failure: a bug. The task is retried then, and a fixed worker goes on. */
function read(error: unknown): {
  readonly failure: Failure;
  readonly report?: ExecutionReport;
  readonly undo?: UndoReport;
} {
  const cause = error instanceof Error && error.cause instanceof ApplicationFailure ? error.cause : error;
  if (!(cause instanceof ApplicationFailure)) throw error;
  const code: ErrorCode = isErrorCode(cause.type) ? cause.type : 'INTERNAL';
  const { report, undo } = (cause.details?.[0] ?? {}) as { report?: ExecutionReport; undo?: UndoReport };
  return { failure: { code, message: cause.message }, ...(report && { report }), ...(undo && { undo }) };
}
