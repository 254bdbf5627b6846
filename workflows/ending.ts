import { ApplicationFailure, isCancellation } from '@temporalio/workflow';
import { ERRORS, isErrorCode } from '../domain/errors.ts';
import type { ErrorCode } from '../domain/errors.ts';
import type { ExecutionReport, Failure } from '../domain/status.ts';
import type { SignedWpk } from '../domain/wpk.ts';
import { rollbackPackage } from './activities.ts';
import type { PackageRun } from './package-run.ts';

/** Turns what went wrong into the end that it means; what was written is undone first, where the package wants it. */
export async function finishBy(run: PackageRun, signed: SignedWpk, error: unknown): Promise<void> {
  if (isCancellation(error)) return run.finish('stopped');
  const { failure, report } = read(error);
  const isDenial = ERRORS[failure.code].denies || run.status().phase === 'verifying';
  const end = isDenial ? 'denied' : 'failed';
  // Without a report nothing was written.
  if (!report || !run.rollsBack()) return run.finish(end, report, failure);
  try {
    const { outcome, report: undo } = await rollbackPackage({ signed });
    if (outcome === 'stopped') return run.finish('stopped', { ...report, undo }, failure);
    run.finish(undo.complete ? 'rolled-back' : end, { ...report, undo }, failure);
  } catch (unrolled) {
    if (isCancellation(unrolled)) return run.finish('stopped', report, failure);
    const { code, message } = read(unrolled).failure;
    const told = `${failure.message} It was not rolled back: ${code}: ${message}`;
    run.finish(end, report, { ...failure, message: told });
  }
}

/** @throws what is no failure: a bug. The task is retried then, and a fixed worker goes on. */
function read(error: unknown): { readonly failure: Failure; readonly report?: ExecutionReport } {
  const cause = error instanceof Error && error.cause instanceof ApplicationFailure ? error.cause : error;
  if (!(cause instanceof ApplicationFailure)) throw error;
  const code: ErrorCode = isErrorCode(cause.type) ? cause.type : 'INTERNAL';
  const report = (cause.details?.[0] as { report?: ExecutionReport } | undefined)?.report;
  return { failure: { code, message: cause.message }, ...(report && { report }) };
}
