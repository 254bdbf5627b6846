import { setTimeout as sleep } from 'node:timers/promises';
import type { Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { LeaseObserver } from '../../domain/freeze.ts';
import type { Holder, LockTable } from '../../domain/locks.ts';
import { blockerOf, claimsOf, readHolder, writeHolder } from '../../domain/locks.ts';
import type { Wpk } from '../../domain/wpk.ts';
import type { ExecutorLeases, RecordData, StateRecords } from '../kubernetes/writer.ts';

export interface LockOptions {
  readonly clusterId: string;
  readonly records: StateRecords;
  readonly leases: Pick<ExecutorLeases, 'list' | 'remove'>;
  readonly sha256: Sha256;
  /** Whether a run will never execute anything any more. */
  readonly isOver: (wpkId: string, runId: string) => Promise<boolean>;
  readonly onTrouble: (error: unknown) => void;
  readonly now: () => Date;
}

export interface LockRequest {
  readonly wpk: Wpk;
  readonly runId: string;
  /** Name of the Lease of the executor that will be at it. */
  readonly executor: string;
  readonly signal: AbortSignal;
  /** Told whenever what is waited for changes, in words. */
  readonly onWait: (waitingFor: string) => void;
}

/** What a package holds while it is executed. */
export interface HeldLock {
  /** Frees the objects for others: the package is executed, or never will be. */
  release(): Promise<void>;
  /** Keeps them for the next attempt of the same package, on whatever worker. */
  keep(): Promise<void>;
}

const POLL_MS = 250;
/** How old what is known of the table may be for whoever only waits. */
const KNOWN_FOR_MS = 200;
/** How often a waiting package looks whether what it waits for is still there. */
const LOOK_AFTER_MS = 2_000;
/** After this long a package waits outside: Temporal tries it again, and others get its place in this worker. */
const WAIT_INSIDE_MS = 60_000;
const RETRY_MS = 1_000;
/** An object of the API server holds 1 MiB. */
const MAX_TABLE_CHARS = 900_000;

/**
 * The locks of one cluster: one table, in one ConfigMap, changed by compare-and-set. A holder is a run; the executor that
 * is at it is noted beside it. An executor's hold on what it executes ends with its Lease, after which it writes nothing
 * for it any more: another one may then go on with the same package, or, where the run is over, with others.
 */
export class Locks {
  private readonly options: LockOptions;
  private readonly name: string;
  /** In this process packages take turns at the table, instead of all failing to change it but one. */
  private turn: Promise<unknown> = Promise.resolve();
  private known: { readonly table: Promise<LockTable>; readonly at: number } | undefined;
  private readonly observer = new LeaseObserver();
  /** What attempts in this process hold, until it is noted that they don't any more. */
  private readonly active = new Set<string>();

  constructor(options: LockOptions) {
    this.options = options;
    this.name = `byoc-locks-${options.clusterId}`;
  }

  /**
   * Waits until no other package holds any of the objects, and takes all of them.
   * @throws {ConnectorError} OBJECTS_LOCKED after a minute; KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN, WRITE_REFUSED,
   *   TEMPORAL_UNAVAILABLE; the signal's reason
   */
  async acquire(request: LockRequest): Promise<HeldLock> {
    const { wpk, executor, runId, signal, onWait } = request;
    const wpkId = wpk.metadata.id;
    const claims = claimsOf(wpk);
    const names = new Map([...claims.alone, ...claims.within].map((name) => [this.hash(name), name]));
    const wanted = {
      alone: claims.alone.map((one) => this.hash(one)),
      within: claims.within.map((one) => this.hash(one)),
    };
    const startedAt = performance.now();
    let lookedAt = startedAt;
    let told = '';
    for (let isFirst = true; ; isFirst = false) {
      signal.throwIfAborted();
      const holder = { runId, executor, since: this.options.now().toISOString(), ...wanted };
      const obstacle = await this.attempt(wpkId, holder, isFirst);
      if (!obstacle) return this.held(wpkId, holder);
      const waitingFor = describeObstacle(obstacle, names);
      if (waitingFor !== told) onWait(waitingFor);
      told = waitingFor;
      if (performance.now() - startedAt > WAIT_INSIDE_MS) throw new ConnectorError('OBJECTS_LOCKED', `${waitingFor}.`);
      if (performance.now() - lookedAt > LOOK_AFTER_MS) {
        lookedAt = performance.now();
        await this.freeAbandoned(obstacle.wpkId);
      }
      await sleep(POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }

  /** Frees what runs hold that are over and whose executor is gone, and removes its Lease. @returns how many */
  async reconcile(): Promise<number> {
    const leases = await this.options.leases.list();
    // Whoever stops the cluster would wait for each of them.
    for (const name of this.observer.expiredAmong(leases, performance.now())) await this.options.leases.remove(name);
    const table = await this.read();
    let freed = 0;
    for (const wpkId of table.keys()) if (await this.freeAbandoned(wpkId)) freed += 1;
    return freed;
  }

  /** Takes what is wanted, or says what is in the way. */
  private async attempt(wpkId: string, holder: Holder, isFirst: boolean): Promise<Obstacle | undefined> {
    const known = isFirst ? undefined : await this.recent();
    const executor = known?.get(wpkId)?.executor ?? '';
    const isElsewhere = executor !== '' && executor !== holder.executor;
    const gone = isElsewhere ? await this.goneExecutors() : () => false;
    const obstacleIn = (table: LockTable): Obstacle | undefined => {
      const own = table.get(wpkId);
      if (own && !this.isFree(wpkId, own, holder.executor, gone)) return { kind: 'previous', wpkId, holder: own };
      const blocker = blockerOf(table, wpkId, holder);
      return blocker && { kind: 'other', ...blocker };
    };
    const early = known && obstacleIn(known);
    if (early) return early;
    return this.inTurn(async () => {
      let obstacle: Obstacle | undefined;
      await this.options.records.amend(this.name, (record = {}) => {
        const table = tableIn(record);
        obstacle = obstacleIn(table);
        if (obstacle) return undefined;
        const text = writeHolder({ ...holder, since: table.get(wpkId)?.since ?? holder.since });
        const size = Object.values(record).reduce((sum, one) => sum + one.length, text.length);
        if (size > MAX_TABLE_CHARS) throw new ConnectorError('OBJECTS_LOCKED', 'Too many objects are held at once.');
        return { [wpkId]: text };
      });
      if (!obstacle) this.active.add(wpkId); // before the next one has its turn
      return obstacle;
    });
  }

  /** Whether what an attempt of the same package held may be taken up by this one. */
  private isFree(wpkId: string, { executor }: Holder, by: string, gone: (executor: string) => boolean): boolean {
    if (executor === by) return !this.active.has(wpkId);
    return executor === '' || gone(executor);
  }

  private held(wpkId: string, holder: Holder): HeldLock {
    return {
      release: () => this.leave(wpkId, holder, null),
      keep: () => this.leave(wpkId, holder, writeHolder({ ...holder, executor: '' })),
    };
  }

  /** What must be noted in the end, but need not be before the package can be told to have ended. */
  private async leave(wpkId: string, holder: Holder, text: string | null): Promise<void> {
    try {
      await this.replace(wpkId, holder, text);
      this.active.delete(wpkId);
    } catch (error) {
      this.options.onTrouble(error);
      setTimeout(() => void this.leave(wpkId, holder, text), RETRY_MS).unref();
    }
  }

  /** Changes an entry that is still the one that is meant: another executor may have taken it over. */
  private replace(wpkId: string, { runId, executor }: Holder, text: string | null): Promise<void> {
    return this.inTurn(() =>
      this.options.records.amend(this.name, (record = {}) => {
        const now = tableIn(record).get(wpkId);
        return now?.runId === runId && now.executor === executor ? { [wpkId]: text } : undefined;
      }),
    );
  }

  /** Frees what a package holds, if its run is over and no executor is at it. */
  private async freeAbandoned(wpkId: string): Promise<boolean> {
    const gone = await this.goneExecutors();
    const holder = (await this.read()).get(wpkId);
    if (!holder || (holder.executor !== '' && !gone(holder.executor))) return false;
    if (!(await this.options.isOver(wpkId, holder.runId))) return false;
    await this.replace(wpkId, holder, null);
    return true;
  }

  /** Whether an executor's Lease is gone, or has not been renewed for its whole duration while this process looked. */
  private async goneExecutors(): Promise<(executor: string) => boolean> {
    const leases = await this.options.leases.list();
    const expired = this.observer.expiredAmong(leases, performance.now());
    const alive = new Set(leases.map(({ name }) => name).filter((name) => !expired.has(name)));
    return (executor) => !alive.has(executor);
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.turn.then(work);
    this.turn = mine.catch(() => undefined);
    return mine.finally(() => (this.known = undefined));
  }

  private async read(): Promise<LockTable> {
    return tableIn((await this.options.records.read(this.name)) ?? {});
  }

  /** Packages that wait share what they know. */
  private recent(): Promise<LockTable> {
    if (this.known && performance.now() - this.known.at < KNOWN_FOR_MS) return this.known.table;
    const table = this.read();
    this.known = { table, at: performance.now() };
    return table;
  }

  private hash(name: string): string {
    return Buffer.from(this.options.sha256(name).slice('sha256:'.length, 'sha256:'.length + 32), 'hex').toString(
      'base64url',
    );
  }
}

/** `previous`: an attempt of the same package that another executor has not given up yet. */
type Obstacle =
  | { readonly kind: 'previous'; readonly wpkId: string; readonly holder: Holder }
  | { readonly kind: 'other'; readonly wpkId: string; readonly holder: Holder; readonly hash: string };

function describeObstacle(obstacle: Obstacle, names: ReadonlyMap<string, string>): string {
  if (obstacle.kind === 'previous') return 'the worker that was at it before to end, or to be gone for good';
  const { wpkId, holder, hash } = obstacle;
  return `work package ${wpkId}, which has held ${names.get(hash) ?? 'the same object'} since ${holder.since}`;
}

function tableIn(record: RecordData): LockTable {
  return new Map(Object.entries(record).map(([wpkId, text]) => [wpkId, readHolder(text)]));
}
