import {
  ActivityFailure,
  ApplicationFailure,
  proxyActivities,
  proxyLocalActivities,
  TimeoutFailure,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';

/** Activity proxies, grouped by how they are retried. Retryable or not is said by the failure itself (domain/errors.ts). */

const backoff = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;

/** Short, and writing nothing but a claim and audit entries, both idempotent: run inside the workflow task, without a round trip. */
const local = proxyLocalActivities<Activities>({
  startToCloseTimeout: '1 minute',
  retry: { maximumAttempts: 1 },
});

/** Looks at every claim of the cluster; what it can't do now the next look does. */
export const { reconcilePackages } = proxyActivities<Activities>({
  startToCloseTimeout: '5 minutes',
  heartbeatTimeout: '10s',
  retry: { maximumAttempts: 1 },
});

/** The same where the local attempt met something that is away: retried in sight of everyone, for as long as it takes. */
const patient = proxyActivities<Activities>({
  startToCloseTimeout: '5 minutes',
  heartbeatTimeout: '10s',
  retry: backoff,
});

/**
 * What changes the cluster. Long enough for any wait inside the package. The heartbeat time-out is how soon the work
 * of a killed worker goes on elsewhere; a cancellation is waited for, because only the activity knows what it did.
 */
export const { executePackage } = proxyActivities<Activities>({
  startToCloseTimeout: '7 days',
  heartbeatTimeout: '5s',
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  retry: { ...backoff, initialInterval: '500ms' },
});

/** Undoing changes the cluster as well. */
export const { rollbackPackage } = proxyActivities<Activities>({
  summary: 'undo what was written',
  startToCloseTimeout: '1 day',
  heartbeatTimeout: '5s',
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  retry: { ...backoff, initialInterval: '500ms' },
});

type Short = Pick<Activities, 'verifyPackage' | 'planPackage' | 'verifyStatements' | 'recordEvents'>;

function locallyFirst<Name extends keyof Short>(name: Name): Short[Name] {
  const attempt = async (input: never): Promise<unknown> => {
    try {
      return await (local[name] as (input: never) => Promise<unknown>)(input);
    } catch (error) {
      if (!canHelpToTryAgain(error)) throw error;
      return (patient[name] as (input: never) => Promise<unknown>)(input);
    }
  };
  return attempt as Short[Name];
}

export const verifyPackage = locallyFirst('verifyPackage');
export const planPackage = locallyFirst('planPackage');
export const verifyStatements = locallyFirst('verifyStatements');
export const recordEvents = locallyFirst('recordEvents');

/** A local activity fails with its failure as it is, another with an ActivityFailure around it. */
function canHelpToTryAgain(error: unknown): boolean {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure) return cause.nonRetryable !== true;
  return cause instanceof TimeoutFailure;
}
