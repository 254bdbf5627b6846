import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectorError } from '../../domain/errors.ts';
import type { FreezeState } from '../../domain/freeze.ts';
import { describeFreeze } from '../../domain/freeze.ts';
import type { FreezeWatch } from './freeze-watch.ts';
import type { KubeApi } from './kube-api.ts';
import { msSince, NEVER, thisMoment } from './moment.ts';
import type { ExecutorLeases } from './writer.ts';

/** Whoever stops the cluster waits this long for an executor that says nothing any more. */
const LEASE_SECONDS = 6;
const RENEW_MS = 1_000;
/** How many renewals are left out before the Lease is given up. */
const IDLE_ROUNDS = 2;
/** Writes under way at a time, of all packages together: more wait here, where the freeze still holds them back. */
const MAX_IN_FLIGHT = 16;

export interface ExecutorOptions {
  /** How the names of its Leases begin: one process alone ever has them. */
  readonly name: string;
  /** The worker, as it calls itself. */
  readonly holder: string;
  readonly leases: ExecutorLeases;
  readonly freeze: FreezeWatch;
  readonly onTrouble: (error: unknown) => void;
  readonly now: () => Date;
}

/**
 * What this process needs in order to write: while it has something to execute it holds a Lease of its own, and every
 * single write passes here. Nothing passes while execution is frozen, while nobody can tell, or without a valid Lease:
 * whoever has frozen the cluster may take a Lease that is not renewed for an executor that writes nothing any more.
 */
export class Executor {
  private readonly options: ExecutorOptions;
  private executing = 0;
  private inFlight = 0;
  private readonly slots = new Slots(MAX_IN_FLIGHT);
  /** Counts the Leases that this process has had; a Lease that ran out is never taken up again. */
  private tenure = 0;
  /** Under which of them the work that calls was begun. */
  private readonly tenures = new AsyncLocalStorage<number>();
  /** When the renewal was sent that the current Lease is valid from. */
  private renewedAt = NEVER;
  /** Leases that have run out, or were given up, and may be there still. */
  private readonly lapsed = new Set<string>();
  private publishing: Promise<void> | undefined;
  /** Until the Lease is removed again; undefined while there is none. */
  private holding: Promise<void> | undefined;
  private readonly closed = new AbortController();

  constructor(options: ExecutorOptions) {
    this.options = options;
  }

  /**
   * Does work that may write. Nothing older than its beginning decides whether it may; should this executor be out of
   * touch for so long that its Lease runs out, nothing of this work passes any more, whatever the executor gets later.
   * @param work gets the name of the Lease
   * @throws {ConnectorError} KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN, WRITE_REFUSED, EXECUTOR_LAPSED
   */
  async during<T>(work: (leaseName: string) => Promise<T>): Promise<T> {
    this.executing += 1;
    try {
      // In this order: who freezes after looking for Leases, and finds none, has frozen before this look.
      if (msSince(this.renewedAt) > RENEW_MS) await this.publish();
      const { tenure, leaseName } = this;
      await this.options.freeze.look();
      return await this.tenures.run(tenure, () => work(leaseName));
    } finally {
      this.executing -= 1;
    }
  }

  /** Aborts when execution is frozen. */
  get halt(): AbortSignal {
    return this.options.freeze.halt;
  }

  /**
   * Asks whether the work that calls may write, and looks where that is not known.
   * @throws {ConnectorError} FROZEN, FREEZE_UNKNOWN, EXECUTOR_LAPSED
   */
  async assertMayWrite(): Promise<void> {
    const { freeze } = this.options;
    if (freeze.state().state === 'unknown') await freeze.look();
    this.assertMayWriteNow();
  }

  /**
   * Lets one write pass, or throws what `assertMayWrite` throws. What has passed is awaited by whoever freezes.
   * @param write sends at once: what could wait has waited here
   */
  async pass<T>(write: () => Promise<T>): Promise<T> {
    await this.slots.take();
    try {
      await this.assertMayWrite();
      return await this.count(write);
    } finally {
      this.slots.free();
    }
  }

  private assertMayWriteNow(): void {
    assertOpen(this.options.freeze.state());
    if (this.hasLapsed || this.tenures.getStore() !== this.tenure) throw new ConnectorError('EXECUTOR_LAPSED');
  }

  private get hasLapsed(): boolean {
    return msSince(this.renewedAt) >= LEASE_SECONDS * 1_000;
  }

  private get leaseName(): string {
    return `${this.options.name}-${this.tenure}`;
  }

  private async count<T>(write: () => Promise<T>): Promise<T> {
    this.assertMayWriteNow(); // and nothing comes between this and the write
    this.inFlight += 1;
    try {
      return await write();
    } finally {
      this.inFlight -= 1;
      if (this.inFlight === 0 && this.halt.aborted) this.acknowledge();
    }
  }

  /** Tells whoever froze the cluster where this executor stands; to be called when the freeze changes. */
  acknowledge(): void {
    if (this.holding) this.publish().catch((error: unknown) => this.options.onTrouble(error));
  }

  /** Gives the Lease up; call when nothing is executed any more. */
  async close(): Promise<void> {
    this.closed.abort();
    await this.holding;
  }

  /** One renewal at a time; what changes while one is on its way is told by the next. */
  private async publish(): Promise<void> {
    await this.publishing?.catch(() => undefined);
    this.publishing ??= this.publishOnce().finally(() => (this.publishing = undefined));
    await this.publishing;
  }

  private async publishOnce(): Promise<void> {
    const { holder, leases, freeze, now } = this.options;
    const isNew = this.hasLapsed;
    if (isNew && this.holding) this.lapsed.add(this.leaseName);
    if (isNew) this.tenure += 1;
    const sentAt = thisMoment();
    await leases.publish({
      name: this.leaseName,
      holder,
      durationSeconds: LEASE_SECONDS,
      freezeSeen: freeze.seen,
      mayWrite: freeze.state().state === 'open',
      writesInFlight: this.inFlight,
      renewedAt: now(),
    });
    // Confirmed too late it has run out in the meantime, and others may have acted on that.
    if (!isNew && this.hasLapsed) throw new ConnectorError('EXECUTOR_LAPSED');
    this.renewedAt = sentAt;
    if (this.inFlight === 0) await this.removeLapsed();
    this.holding ??= this.hold().finally(() => (this.holding = undefined));
  }

  /** With something under way it is for others to find out that a Lease has run out. */
  private async removeLapsed(): Promise<void> {
    const { leases, onTrouble } = this.options;
    for (const name of this.lapsed) await leases.remove(name).then(() => this.lapsed.delete(name), onTrouble);
  }

  /** Renews the Lease while something is executed, and a little longer: packages come in rows. */
  private async hold(): Promise<void> {
    const { freeze, onTrouble } = this.options;
    const signal = this.closed.signal;
    freeze.isBusy = true;
    for (let idleRounds = 0; idleRounds < IDLE_ROUNDS && !signal.aborted;) {
      await sleep(RENEW_MS, undefined, { signal }).catch(() => undefined);
      if (this.executing > 0 && !signal.aborted) await this.publish().catch(onTrouble);
      while (this.publishing) await this.publishing.catch(() => undefined);
      idleRounds = this.executing > 0 ? 0 : idleRounds + 1;
    }
    freeze.isBusy = false;
    this.renewedAt = NEVER; // before the Lease is gone, so that nothing passes without one
    this.lapsed.add(this.leaseName);
    const removed = this.removeLapsed();
    this.publishing = removed; // who begins now publishes after that
    await removed;
    if (this.publishing === removed) this.publishing = undefined;
  }
}

/** So many at a time; the others wait in order. */
class Slots {
  private left: number;
  private readonly waiting: (() => void)[] = [];

  constructor(count: number) {
    this.left = count;
  }

  async take(): Promise<void> {
    if (this.left > 0) this.left -= 1;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  free(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.left += 1;
  }
}

/** The API through which packages are executed: each write of it passes the executor. */
export function throughExecutor(api: KubeApi, executor: Executor): KubeApi {
  return { ...api, write: (call) => executor.pass(() => api.write(call)) };
}

function assertOpen(state: FreezeState): void {
  if (state.state === 'frozen') throw new ConnectorError('FROZEN', `It is frozen ${describeFreeze(state)}.`);
  if (state.state === 'unknown') throw new ConnectorError('FREEZE_UNKNOWN', `The freeze is not known: ${state.why}.`);
}
