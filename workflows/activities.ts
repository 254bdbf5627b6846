import { ActivityFailure, ApplicationFailure, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';

/** Activity proxies, grouped by how they are retried. Retryable or not is said by the failure itself (domain/errors.ts). */

const backoff = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;

/** Short and only reading (the claim aside, which is idempotent): run inside the workflow task, without a round trip. */
const local = proxyLocalActivities<Activities>({
  startToCloseTimeout: '1 minute',
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
  summary: 'carry out the approved plan',
  startToCloseTimeout: '7 days',
  heartbeatTimeout: '5s',
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  retry: { ...backoff, initialInterval: '500ms' },
});

type Reading = Pick<Activities, 'verifyPackage' | 'planPackage' | 'recordEvents'>;

function locallyFirst<Name extends keyof Reading>(name: Name): Reading[Name] {
  const attempt = async (input: never): Promise<unknown> => {
    try {
      return await (local[name] as (input: never) => Promise<unknown>)(input);
    } catch (error) {
      if (!canHelpToTryAgain(error)) throw error;
      return (patient[name] as (input: never) => Promise<unknown>)(input);
    }
  };
  return attempt as Reading[Name];
}

export const verifyPackage = locallyFirst('verifyPackage');
export const planPackage = locallyFirst('planPackage');
export const recordEvents = locallyFirst('recordEvents');

function canHelpToTryAgain(error: unknown): boolean {
  if (!(error instanceof ActivityFailure)) return false;
  return !(error.cause instanceof ApplicationFailure && error.cause.nonRetryable === true);
}
