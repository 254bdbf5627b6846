import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
} from '@temporalio/workflow';
import type { PlanResult } from '../activities/index.ts';
import { ERRORS, isErrorCode } from '../domain/errors.ts';
import type { ErrorCode } from '../domain/errors.ts';
import { bindingOf, describeObject } from '../domain/plan.ts';
import type { EndPhase, ExecutionReport, Failure, PackageResult } from '../domain/status.ts';
import type { SignedWpk } from '../domain/wpk.ts';
import { executePackage, planPackage, recordEvents, verifyPackage } from './activities.ts';
import { finalFailure } from './failure.ts';
import { listen } from './listen.ts';
import { PackageRun } from './package-run.ts';

/** A package that policy approves by itself must not chase a cluster that never settles. */
const MAX_REPLANS = 10;

/**
 * The run of one work package: verify → plan → approve → execute → audit. A person's or the policy's approval binds
 * exactly one plan; where the cluster has changed when it comes to execution, the new plan goes back for approval.
 * Cancelling the run is the emergency stop of the package: it halts where it is.
 */
export async function executeWpk(signed: SignedWpk): Promise<PackageResult> {
  const run = new PackageRun();
  listen(run); // Before the first await: a signal may arrive with the first task.
  try {
    const { facts, searchAttributes } = await verifyPackage({ signed });
    run.admit(facts, searchAttributes);
    await runPackage(run, signed, facts.expiresAt);
  } catch (error) {
    finishBy(run, error);
  }
  await CancellationScope.nonCancellable(async () => {
    await recordEvents({ events: [{ type: 'ended', status: run.status() }] });
    await condition(allHandlersFinished);
  });
  return run.conclude();
}

async function runPackage(run: PackageRun, signed: SignedWpk, expiresAt: string): Promise<void> {
  for (;;) {
    const planned = await planPackage({ signed });
    run.planned(planned.plan, planned.requirement);
    refuseBrokenPlan(planned);

    const answer = planned.requirement.auto ? 'approved' : await answerOf(run, planned, expiresAt);
    if (answer !== 'approved') return run.finish(answer);

    run.execute();
    const { plan } = planned;
    const done = await executePackage({ signed, planDigest: plan.digest, binding: bindingOf(plan) });
    switch (done.outcome) {
      case 'succeeded':
        return run.finish('succeeded', done.report);
      case 'stopped':
        return run.finish('stopped', done.report);
      case 'plan-changed':
        if (run.status().replans >= MAX_REPLANS) throw unsettled();
        run.sendBack();
    }
  }
}

function unsettled(): ApplicationFailure {
  const message = `The objects change again and again: ${MAX_REPLANS} plans were outdated before they could be executed.`;
  return finalFailure('PLAN_CHANGED', message);
}

/** Waits for people, at most as long as the policy gives them and the package is valid; no answer means no. */
async function answerOf(
  run: PackageRun,
  { requirement }: PlanResult,
  expiresAt: string,
): Promise<'approved' | EndPhase> {
  const waitMs = Math.min(requirement.timeoutSeconds * 1000, Date.parse(expiresAt) - Date.now());
  run.awaitAnswer(new Date(Date.now() + Math.max(0, waitMs)).toISOString());
  const answered = waitMs > 0 && (await condition(() => run.isAnswered(), waitMs));
  if (!answered) return 'expired';
  return run.count().outcome === 'approved' ? 'approved' : 'rejected';
}

function refuseBrokenPlan({ plan }: PlanResult): void {
  const [first] = plan.problems;
  if (!first) return;
  const more = plan.problems.length > 1 ? ` (and ${plan.problems.length - 1} more, see the plan)` : '';
  throw finalFailure('PLAN_REJECTED', `${describeObject(first.object)}: ${first.message}${more}`);
}

/** Turns what went wrong into the end that it means. */
function finishBy(run: PackageRun, error: unknown): void {
  if (isCancellation(error)) return run.finish('stopped');
  const cause = error instanceof Error && error.cause instanceof ApplicationFailure ? error.cause : error;
  if (!(cause instanceof ApplicationFailure)) throw error; // A bug: the task is retried, and a fixed worker goes on.
  const code: ErrorCode = isErrorCode(cause.type) ? cause.type : 'INTERNAL';
  const failure: Failure = { code, message: cause.message };
  const report = (cause.details?.[0] as { report?: ExecutionReport } | undefined)?.report;
  const isDenial = ERRORS[code].denies || run.status().phase === 'verifying';
  run.finish(isDenial ? 'denied' : 'failed', report, failure);
}
