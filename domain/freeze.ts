/**
 * The freeze: while it is on, nothing of the connector writes to the cluster. It is a ConfigMap in the state namespace, so
 * that it can be set with the connector, Temporal and the control plane gone, by whoever may write ConfigMaps there.
 */

/** What the ConfigMap holds. All of it is asserted: whoever may write it may write anything into it. */
export interface FreezeData {
  /** Exactly `false` lets packages be executed; anything else, and nothing at all, freezes. */
  readonly frozen: string;
  readonly reason: string;
  /** Who says so. */
  readonly by: string;
}

/** What a worker knows of the freeze. */
export type FreezeState =
  | { readonly state: 'open' }
  | {
      readonly state: 'frozen';
      readonly how: 'set' | 'missing';
      readonly reason: string;
      readonly by: string;
      /** When this worker noticed, RFC 3339. */
      readonly since: string;
    }
  /** It cannot be read, or was read too long ago: nothing is written until it can, and nothing ends because of it. */
  | { readonly state: 'unknown'; readonly why: string };

/**
 * Name of the ConfigMap. It holds the cluster id as the names of all other state do: connectors that share a cluster, as
 * in tests, do not freeze each other, and who freezes and who is frozen need no setting to agree on the name.
 */
export function freezeNameOf(clusterId: string): string {
  return `byoc-freeze-${clusterId}`;
}

/** Reads the data of the ConfigMap; whatever is not clearly open is frozen. */
export function readFreeze(data: Readonly<Record<string, unknown>>): FreezeData & { readonly isFrozen: boolean } {
  const text = (key: string) => (typeof data[key] === 'string' ? data[key] : '');
  const frozen = text('frozen');
  return { frozen, reason: text('reason'), by: text('by'), isFrozen: frozen !== 'false' };
}

/** `since 2026-01-31T12:00:00Z by alice: leak` — what people who wait are told. */
export function describeFreeze(freeze: Extract<FreezeState, { state: 'frozen' }>): string {
  if (freeze.how === 'missing') return `since ${freeze.since}, because the object that says otherwise is gone`;
  return `since ${freeze.since}${freeze.by && ` by ${freeze.by}`}${freeze.reason && `: ${freeze.reason}`}`;
}

/**
 * What an executor says of itself while it has something to execute, in a Lease of its own. Without a valid one it writes
 * nothing, so whoever stops the cluster waits for those that have one and for nobody else.
 */
export interface ExecutorLease {
  /** Name of the Lease, one a process. */
  readonly name: string;
  /** The worker, as it calls itself. */
  readonly holder: string;
  readonly durationSeconds: number;
  /** resourceVersion of the freeze as it was last seen; `0` where it is gone. */
  readonly freezeSeen: string;
  readonly mayWrite: boolean;
  readonly writesInFlight: number;
  /** Changes with each renewal. */
  readonly renewed: string;
}

/**
 * Whether an executor has taken notice of a freeze and nothing that it sent is under way any more.
 * @param frozenAt resourceVersion of the freeze; of one object the API server counts them upwards
 */
export function hasAcknowledged(
  { mayWrite, writesInFlight, freezeSeen }: Pick<ExecutorLease, 'mayWrite' | 'writesInFlight' | 'freezeSeen'>,
  frozenAt: string,
): boolean {
  return !mayWrite && writesInFlight === 0 && !isOlder(freezeSeen, frozenAt);
}

/** On top of a Lease's duration, ms: for the way of its last renewal. */
const SPARE_MS = 500;

/**
 * Tells Leases that have run out: those that do not change for their whole duration while somebody looks. What time they
 * say is not asked, because clocks of other machines may be wrong.
 */
export class LeaseObserver {
  private seen: ReadonlyMap<string, { readonly renewed: string; readonly atMs: number }> = new Map();

  /**
   * The names of those that have run out. What is not among the Leases any more is forgotten.
   * @param nowMs by a clock that never goes back
   */
  expiredAmong(leases: readonly ExecutorLease[], nowMs: number): ReadonlySet<string> {
    const before = this.seen;
    this.seen = new Map(
      leases.map(({ name, renewed }) => {
        const last = before.get(name);
        return [name, last?.renewed === renewed ? last : { renewed, atMs: nowMs }];
      }),
    );
    const unchangedMs = (name: string) => nowMs - (this.seen.get(name)?.atMs ?? nowMs);
    const expired = leases.filter((one) => unchangedMs(one.name) > one.durationSeconds * 1_000 + SPARE_MS);
    return new Set(expired.map(({ name }) => name));
  }
}

/** Whether one resourceVersion of an object is older than another one of it. */
export function isOlder(version: string, than: string): boolean {
  return asNumber(version) < asNumber(than);
}

function asNumber(version: string): bigint {
  return /^\d{1,30}$/.test(version) ? BigInt(version) : 0n;
}
