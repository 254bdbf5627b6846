import type { ApplicationFailure } from '@temporalio/workflow';
import { allHandlersFinished, CancellationScope, condition, patched, sleep } from '@temporalio/workflow';
import type { PlanResult } from '../activities/index.ts';
import type { Plan } from '../domain/plan.ts';
import { bindingOf, describeObject } from '../domain/plan.ts';
import type { PackageResult } from '../domain/status.ts';
import type { SignedWpk } from '../domain/wpk.ts';
import { executePackage, planPackage, recordEvents, verifyPackage } from './activities.ts';
import { finishBy } from './ending.ts';
import { finalFailure } from './failure.ts';
import { listen } from './listen.ts';
import { PackageRun } from './package-run.ts';
import { readable } from './readable.ts';
import { hearStop } from './stop-request.ts';
import { windowPauseMs } from './window-pause.ts';

/** How long votes that came in just before the end of the time may take to be checked and recorded, ms. */
const SETTLED_WITHIN_MS = 60_000;

/**
 * The run of one work package: verify → plan → approve → execute → audit. A person's or the policy's approval binds
 * exactly one plan; where the cluster has changed when it comes to execution, the new plan goes back for approval.
 * Cancelling the run is the emergency stop of the package: it halts where it is.
 */
export async function executeWpk(signed: SignedWpk): Promise<PackageResult> {
  const run = new PackageRun();
  // Before the first await: a signal may arrive with the first task.
  hearStop(run);
  listen(run);
  try {
    const { facts, ...how } = readable(await verifyPackage({ signed }));
    run.admit(facts, how);
    await runPackage(run, signed, facts.expiresAt);
  } catch (error) {
    await finishBy(run, signed, error);
  }
  await CancellationScope.nonCancellable(async () => {
    await recordEvents({ events: [{ type: 'ended', status: run.status() }] });
    // What still waits for a part that is away has no effect any more, and must not keep a run open that has ended.
    if (!allHandlersFinished()) await condition(allHandlersFinished, SETTLED_WITHIN_MS);
  });
  return run.conclude();
}

async function runPackage(run: PackageRun, signed: SignedWpk, expiresAt: string): Promise<void> {
  let timesClosed = 0;
  for (;;) {
    const planned = readable(await planPackage({ signed }));
    run.planned(planned);
    refuseBrokenPlan(planned);

    const answer = (await answerOf(run, planned, expiresAt)) ?? (await windowOf(run, planned, expiresAt));
    if (answer === 'outdated') {
      await sendBack(run);
      continue;
    }
    if (answer) return run.finish(answer);

    run.execute();
    const { plan } = planned;
    const summary = summaryOf(run, plan);
    const input = { signed, planDigest: plan.digest, binding: bindingOf(plan) };
    const done = readable(await executePackage.executeWithOptions({ summary }, [input]));
    switch (done.outcome) {
      case 'succeeded':
        return run.finish('succeeded', done.report);
      case 'stopped':
        return run.finish('stopped', done.report);
      case 'plan-changed':
        if (run.neverSettles()) throw unsettled();
        await sendBack(run);
        break;
      case 'window-closed':
        await sendBack(run);
        await sleep(windowPauseMs((timesClosed += 1)));
    }
  }
}

/** What the Temporal UI shows beside the activity. */
function summaryOf(run: PackageRun, { objects }: Plan): string {
  const { steps = 0 } = run.status().facts ?? {};
  return `carry out the approved plan: steps ${steps}, objects ${objects.length}`;
}

/** Whatever votes have another fate by it than the audit log says are recorded again. */
async function sendBack(run: PackageRun): Promise<void> {
  const reopened = run.sendBack();
  if (reopened.length > 0) await recordEvents({ events: reopened.map((vote) => ({ type: 'vote', vote })) });
}

function unsettled(): ApplicationFailure {
  return finalFailure(
    'PLAN_CHANGED',
    'The objects change again and again: each plan was outdated before it could be executed.',
  );
}

/** Why a package may not go on: the end that it came to, or that its plan is outdated. */
type NoGo = 'expired' | 'rejected' | 'outdated' | undefined;

/** Waits for people, at most as long as the policy gives them and the package is valid; no answer means no. */
async function answerOf(run: PackageRun, { requirement }: PlanResult, expiresAt: string): Promise<NoGo> {
  if (requirement.auto) return (await saysNo(run)) ? 'rejected' : undefined;
  const wantedMs = Math.min(requirement.timeoutSeconds * 1000, Date.parse(expiresAt) - Date.now());
  run.awaitAnswer(run.deadlineFrom(new Date(Date.now() + Math.max(0, wantedMs)).toISOString()));
  const waitMs = Date.parse(run.deadlineFrom(expiresAt)) - Date.now();
  const inTime = waitMs > 0 && (await condition(() => run.isAnswered() || run.mustPlanAgain(), waitMs));
  if (await saysNo(run)) return 'rejected';
  if (inTime && run.mustPlanAgain()) return 'outdated';
  return run.isAnswered() ? undefined : 'expired';
}

/** A vote that came in time counts, also where checking and recording it takes longer. */
async function saysNo(run: PackageRun): Promise<boolean> {
  const isSettled = run.settlement();
  if (!isSettled()) await condition(isSettled, SETTLED_WITHIN_MS);
  return run.isRejected();
}

/** Waits until the policy's maintenance windows let the package begin; until then people may still say no. */
async function windowOf(run: PackageRun, { requirement, window }: PlanResult, expiresAt: string): Promise<NoGo> {
  if (!window || window.open) return undefined;
  const until = [expiresAt, window.opensAt ?? expiresAt].sort(byTime)[0] ?? expiresAt;
  if (requirement.auto) run.awaitAnswer(until);
  else run.awaitWindow(until);
  const waitMs = Math.max(Date.parse(until) - Date.now(), 1_000);
  await condition(() => run.isRejected() || run.mustPlanAgain(), waitMs);
  if (await saysNo(run)) return 'rejected';
  if (Date.now() >= Date.parse(expiresAt)) return 'expired';
  // It opens: what executes plans once more anyway, and asks whether it is open.
  const begins = !run.mustPlanAgain() && patched('begin-when-window-opens');
  if (begins) run.windowOpened();
  return begins ? undefined : 'outdated';
}

function byTime(a: string, b: string): number {
  return Date.parse(a) - Date.parse(b);
}

function refuseBrokenPlan({ plan }: PlanResult): void {
  const [first] = plan.problems;
  if (!first) return;
  const more = plan.problems.length > 1 ? ` (and ${plan.problems.length - 1} more, see the plan)` : '';
  throw finalFailure('PLAN_REJECTED', `${describeObject(first.object)}: ${first.message}${more}`);
}
