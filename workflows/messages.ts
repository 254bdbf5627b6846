import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Approve, Decide, Reject } from '../domain/approvals.ts';
import type { Plan } from '../domain/plan.ts';
import type { PackageStatus, StopRequest } from '../domain/status.ts';

/** The messages of a work package's run. Their names and arguments are what other programs rely on. */

/** A vote for the plan with this digest. Whatever is sent is recorded; it counts only if it is good. */
export const approve = defineSignal<[Approve]>('approve');

/** A vote against; one is enough, and it needs a reason. */
export const reject = defineSignal<[Reject]>('reject');

/** Either vote, answered: fails with the reason (an error code as type) where the vote has no effect. */
export const decide = defineUpdate<PackageStatus, [Decide]>('decide');

export const status = defineQuery<PackageStatus>('status');

/** The current plan, values of Secrets masked; undefined until it is made. */
export const plan = defineQuery<Plan | undefined>('plan');

/** The plan that the current one replaced, because the cluster or the policy changed; undefined where none was. */
export const replacedPlan = defineQuery<Plan | undefined>('replacedPlan');

/** The worker's policy is another now: a package that waits is planned again under it. Whoever sends it decides nothing. */
export const policyChanged = defineSignal<[{ policyDigest: string }]>('policyChanged');

/**
 * Who stops the package and why, sent just before its run is cancelled: a cancellation itself carries neither to a workflow.
 * It stops nothing.
 */
export const stopRequested = defineSignal<[StopRequest]>('stopRequested');
