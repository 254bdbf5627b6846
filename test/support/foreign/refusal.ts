import { ActivityFailure, ApplicationFailure } from '@temporalio/workflow';

/** The code that a call of an activity was refused with. */
export function refusalIn(error: unknown): string {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return (cause instanceof ApplicationFailure ? cause.type : undefined) ?? String(cause);
}
