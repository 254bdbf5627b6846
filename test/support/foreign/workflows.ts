/** Workflows of somebody else in the same Temporal namespace, who schedules the connector's activities. */
import { proxyActivities } from '@temporalio/workflow';
import { refusalIn } from './refusal.ts';

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
    return refusalIn(error);
  }
}

/** Calls several, one after the other, in one run. */
export async function stealActivities(calls: readonly ForeignCall[]): Promise<string[]> {
  const answers: string[] = [];
  for (const call of calls) answers.push(await stealActivity(call));
  return answers;
}

/** One call, under the name of the connector's own workflow. */
export const executeWpk = stealActivity;
