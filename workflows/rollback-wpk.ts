import { setCurrentDetails } from '@temporalio/workflow';
import type { RollbackInput } from '../activities/package/rollback.ts';
import { describeObject } from '../domain/plan.ts';
import type { RollbackOutcome } from '../domain/status.ts';
import { rollbackPackage } from './activities.ts';

/**
 * Undoes, on somebody's request, what a package has written that failed, was stopped or cut off. Whether it may be is
 * for the activity to say.
 */
export async function rollbackWpk(input: RollbackInput): Promise<RollbackOutcome> {
  const done = await rollbackPackage(input);
  const lines = done.report.objects.map(
    ({ object, outcome, why }) => `- ${outcome}: ${describeObject(object)}${why === undefined ? '' : ` (${why})`}`,
  );
  setCurrentDetails(lines.slice(0, MAX_LINES).join('\n'));
  return done;
}

/** What the Temporal UI shows; the result has all of them. */
const MAX_LINES = 200;
