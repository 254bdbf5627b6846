/** Who looks at a workflow in the Temporal UI asks for each of its events: one entry of the audit log covers so long, ms. */
const COVERED_MS = 5 * 60_000;
/** More callers than this at a time are each recorded more often, rather than remembered. */
const MAX_CALLERS = 1_000;

/**
 * Sees to it that it is in the audit log who looks, before anything is shown.
 * @param record resolves once it is there
 * @param now ms, of a clock that does not step
 */
export function createReadingLog(
  record: (caller: string) => Promise<void>,
  now: () => number = () => performance.now(),
): (caller: string) => Promise<void> {
  const covered = new Map<string, { readonly until: number; readonly recorded: Promise<void> }>();
  return (caller) => {
    const before = covered.get(caller);
    if (before && now() < before.until) return before.recorded;
    const recorded = record(caller);
    // One that failed covers nothing: the next call tries again.
    recorded.catch(() => covered.delete(caller));
    if (covered.size >= MAX_CALLERS) covered.clear();
    covered.set(caller, { until: now() + COVERED_MS, recorded });
    return recorded;
  };
}
