/** Workflows of somebody else in the same Temporal namespace, who schedules the connector's activities. */
import { ActivityFailure, ApplicationFailure, proxyActivities } from '@temporalio/workflow';

/** What to call on the connector's queue, and with what. */
export interface ForeignCall {
  readonly taskQueue: string;
  readonly activity: string;
  readonly argument: unknown;
}

/** Calls one activity and returns the code that it was refused with, or `done` where it was not. */
export async function stealActivity({ taskQueue, activity, argument }: ForeignCall): Promise<string> {
  const call = proxyActivities({ taskQueue, startToCloseTimeout: '30s', retry: { maximumAttempts: 1 } })[activity];
  try {
    await call?.(argument);
    return 'done';
  } catch (error) {
    const cause = error instanceof ActivityFailure ? error.cause : error;
    return (cause instanceof ApplicationFailure ? cause.type : undefined) ?? String(cause);
  }
}

/** The same under the name of the connector's own workflow. */
export const executeWpk = stealActivity;
