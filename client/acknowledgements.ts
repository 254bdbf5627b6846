import { ConnectorError } from '../domain/errors.ts';
import type { ExecutorLease } from '../domain/freeze.ts';
import { hasAcknowledged, LeaseObserver } from '../domain/freeze.ts';

/** What became of one executor after the cluster was frozen. */
export interface ExecutorFate {
  readonly holder: string;
  /**
   * `acknowledged`: it knows, and nothing that it sent is under way · `expired`: its Lease has run out, without which it
   * writes nothing · `silent`: neither, in the time that was given.
   */
  readonly fate: 'acknowledged' | 'expired' | 'silent';
  readonly writesInFlight: number;
}

export interface AcknowledgementOptions {
  readonly list: () => Promise<readonly ExecutorLease[]>;
  /** Those that were there before the freeze: whoever is gone since then has halted. */
  readonly before: readonly ExecutorLease[];
  /** resourceVersion of the freeze. */
  readonly frozenAt: string;
  readonly withinMs: number;
}

const POLL_MS = 50;

/**
 * Waits until every executor has acknowledged a freeze, or its Lease has run out. What cannot be read for a moment is read
 * again: an executor that is not heard of stays silent. Executors that come later need not be
 * asked: they look at the freeze after they have made their Lease, and before anything else.
 */
export async function acknowledgements({
  list,
  before,
  frozenAt,
  withinMs,
}: AcknowledgementOptions): Promise<readonly ExecutorFate[]> {
  const startedAt = performance.now();
  const fates = new Map<string, ExecutorFate>();
  const observer = new LeaseObserver();
  let open: ReadonlyMap<string, ExecutorLease> = byName(await list());
  // They gave their Leases up, which they do when they have nothing to execute any more.
  for (const { name, holder } of before) {
    if (!open.has(name)) fates.set(name, { holder, fate: 'acknowledged', writesInFlight: 0 });
  }
  for (;;) {
    const now = performance.now();
    const isOver = now - startedAt >= withinMs;
    const expired = observer.expiredAmong([...open.values()], now);
    for (const [name, lease] of open) {
      const fate = hasAcknowledged(lease, frozenAt) ? 'acknowledged' : expired.has(name) ? 'expired' : 'silent';
      fates.set(name, { holder: lease.holder, fate, writesInFlight: fate === 'silent' ? lease.writesInFlight : 0 });
    }
    const silent = [...open.keys()].filter((name) => fates.get(name)?.fate === 'silent');
    if (silent.length === 0 || isOver) return [...fates.values()];
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const listed = await list().catch(nothingIfAway);
    if (!listed) continue;
    const current = byName(listed);
    for (const name of silent) {
      const last = fates.get(name);
      if (!current.has(name) && last) fates.set(name, { ...last, fate: 'acknowledged', writesInFlight: 0 });
    }
    open = new Map(silent.flatMap((name) => [[name, current.get(name)] as const]).filter(isThere));
  }
}

function nothingIfAway(error: unknown): undefined {
  if (!(error instanceof ConnectorError && error.traits.retryable)) throw error;
}

function byName(leases: readonly ExecutorLease[]): ReadonlyMap<string, ExecutorLease> {
  return new Map(leases.map((lease) => [lease.name, lease]));
}

function isThere(entry: readonly [string, ExecutorLease | undefined]): entry is readonly [string, ExecutorLease] {
  return entry[1] !== undefined;
}
