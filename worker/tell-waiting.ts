import { forEachLimited } from '../activities/kubernetes/concurrency.ts';
import type { RunRef } from '../activities/package/claims.ts';
import type { Digest } from '../domain/digest.ts';

/** Signals under way at a time. */
const IN_FLIGHT = 8;
/** How long one round may take to begin with packages, ms: a worker that ends waits for it. */
const ROUND_MS = 15_000;

/** The packages that wait, as far as they are told something. */
export interface WaitingRuns {
  list(): Promise<readonly RunRef[]>;
  /** Bounded in time; resolves for a run that has ended by now. */
  tell(run: RunRef, policyDigest: Digest): Promise<void>;
}

/**
 * Makes what tells the packages that wait of a policy. It throws where some could not be told, and tells only those when it
 * is called again: one run that takes no message holds nobody back, neither in a round nor by the rounds that follow.
 * One that is missed is no danger: before the first write the policy is compared with the one of the approved plan.
 * @param now milliseconds of a clock that does not go back
 */
export function createTeller(
  runs: WaitingRuns,
  now: () => number = () => performance.now(),
): (policyDigest: Digest) => Promise<void> {
  let news: Digest | undefined;
  let told = new Set<string>();
  let failed = new Set<string>();

  return async (policyDigest) => {
    if (policyDigest !== news) [news, told, failed] = [policyDigest, new Set(), new Set()];
    const until = now() + ROUND_MS;
    const left = (await runs.list()).filter(({ runId }) => !told.has(runId));

    // Those that failed before come last.
    left.sort((a, b) => Number(failed.has(a.runId)) - Number(failed.has(b.runId)));
    let missed = 0;
    let cause: unknown;
    await forEachLimited(left, IN_FLIGHT, async (run) => {
      try {
        if (now() >= until) throw new Error('there was no time for it');
        await runs.tell(run, policyDigest);
        told.add(run.runId);
      } catch (error) {
        failed.add(run.runId);
        cause ??= error;
        missed += 1;
      }
    });
    if (missed > 0) throw new Error(`${missed} of ${left.length} packages that wait were not told.`, { cause });
  };
}
