import { isCancellation, setCurrentDetails } from '@temporalio/workflow';
import type { RollbackInput } from '../activities/package/rollback.ts';
import type { RollbackOutcome } from '../domain/status.ts';
import { rollbackPackage } from './activities.ts';
import { hadNoOtherAttempt, isUnanswered } from './ending.ts';

/**
 * Undoes, on somebody's request, what a package has written that failed, was stopped or cut off. Whether it may be is
 * for the activity to say.
 */
export async function rollbackWpk(input: RollbackInput): Promise<RollbackOutcome> {
  const done = await attempt(input);
  const { objects } = done.report;
  const left = objects.filter(({ outcome }) => outcome === 'left' || outcome === 'partly').length;
  // No more than this: the UI has its server turn details into a page, in clear also where payloads are encrypted.
  setCurrentDetails(`${objects.length - left} objects as they were, ${left} not; the result has each of them.`);
  return done;
}

/** One that is stopped before it could begin, or whose worker is gone, has undone nothing that it could tell. */
async function attempt(input: RollbackInput): Promise<RollbackOutcome> {
  try {
    return await rollbackPackage(input);
  } catch (error) {
    if (!isCancellation(error) && !isUnanswered(error) && !hadNoOtherAttempt(error)) throw error;
    return { outcome: 'stopped', report: { objects: [], complete: false } };
  }
}
