import { setTimeout as sleep } from 'node:timers/promises';
import type { FreezeState } from '../../domain/freeze.ts';
import { freezeNameOf, isOlder, readFreeze } from '../../domain/freeze.ts';
import { STATE_NAMESPACE } from '../../domain/names.ts';
import { ApiStatusError } from './api-status-error.ts';
import type { KubeReader, KubeWatcher } from './kube-api.ts';
import { at, isRecord, type KubeObject, versionOf } from './kube-object.ts';
import { msSince, NEVER, thisMoment } from './moment.ts';

/** Older knowledge than this is none. */
const STALE_AFTER_MS = 2_000;
/** How often it is looked while something is executed; a look that takes 1 s still leaves room for writes. */
const BUSY_POLL_MS = 500;
/** And otherwise: the watch tells, this is for the case that it hangs. */
const IDLE_POLL_MS = 5_000;
const LOOK_TIMEOUT_MS = 5_000;
/** How long a watch may last before it is made anew; one that is still there well after that hangs. */
const WATCH_SECONDS = 20;
const WATCH_HANGS_AFTER_MS = 25_000;
const RETRY_MS = 500;

/** The freeze object in one version of it. */
export interface FreezeVersion {
  readonly isFrozen: boolean;
  readonly how: 'set' | 'missing';
  readonly reason: string;
  /** Who says so: by the object's own data where `byoc` wrote it, else the client that wrote it. */
  readonly by: string;
  /** `0` where nobody can tell. */
  readonly resourceVersion: string;
}

export interface FreezeWatchOptions {
  /** With connections of its own: writes that queue must not hold it back. */
  readonly api: Pick<KubeReader, 'get'> & KubeWatcher;
  readonly clusterId: string;
  /** Where the connector's state is. */
  readonly namespace?: string;
  /** Told of each version, in order; also of the first. */
  readonly onVersion: (version: FreezeVersion) => void;
  /** Told when it cannot be read any more, with why, and when it can again. */
  readonly onReadable: (isReadable: boolean, error?: unknown) => void;
  readonly now: () => Date;
}

/**
 * Follows the freeze object. A watch tells of changes at once; that it says nothing proves nothing, so the object is
 * also read again and again, and only what was read within the last 2 s lets anything be written.
 */
export class FreezeWatch {
  private readonly options: FreezeWatchOptions;
  private readonly collection: string;
  private readonly path: string;
  private readonly ended = new AbortController();
  private known: { readonly version: FreezeVersion; readonly since: string } | undefined;
  private takenAt = NEVER;
  /** When the last read that told what is known, or less, was sent. */
  private confirmedAt = NEVER;
  private looking: Promise<void> | undefined;
  private isReadable = true;
  private halted = new AbortController();
  private busy = false;
  private loops: Promise<unknown> = Promise.resolve();
  private wake = new AbortController();

  constructor(options: FreezeWatchOptions) {
    this.options = options;
    this.collection = `/api/v1/namespaces/${options.namespace ?? STATE_NAMESPACE}/configmaps`;
    this.path = `${this.collection}/${freezeNameOf(options.clusterId)}`;
  }

  /** Reads the object once, if it can be read, and follows it from then on. */
  async start(): Promise<void> {
    await this.look();
    this.loops = Promise.all([this.poll(), this.follow()]);
  }

  async close(): Promise<void> {
    this.ended.abort();
    await this.loops;
  }

  /** @param withinMs how old the knowledge may be that execution is not frozen */
  state(withinMs = STALE_AFTER_MS): FreezeState {
    if (this.known?.version.isFrozen) {
      const { how, reason, by } = this.known.version;
      return { state: 'frozen', how, reason, by, since: this.known.since };
    }
    const ageMs = msSince(this.confirmedAt);
    if (ageMs <= withinMs) return { state: 'open' };
    const why = Number.isFinite(ageMs) ? `it was last read ${(ageMs / 1_000).toFixed(1)} s ago` : 'it was never read';
    return { state: 'unknown', why };
  }

  /** resourceVersion of what was seen last. */
  get seen(): string {
    return this.known?.version.resourceVersion ?? '0';
  }

  /** Aborts when execution is frozen; once it is lifted there is another one. */
  get halt(): AbortSignal {
    return this.halted.signal;
  }

  /** While something is executed the object is read often enough to know. */
  set isBusy(busy: boolean) {
    this.busy = busy;
    this.wake.abort();
  }

  /** Reads the object, starting now or later, never earlier. Knows no more than before where that fails. */
  async look(): Promise<void> {
    await this.looking; // which may have begun before what the caller wants to see
    this.looking ??= this.lookOnce().finally(() => (this.looking = undefined));
    await this.looking;
  }

  private async lookOnce(): Promise<void> {
    const sentAt = thisMoment();
    const signal = AbortSignal.any([this.ended.signal, AbortSignal.timeout(LOOK_TIMEOUT_MS)]);
    try {
      const object = await this.options.api.get(this.path, signal);
      // What the watch told meanwhile may be newer than this answer.
      const overtaken = this.takenAt.mono > sentAt.mono && (!object || isOlder(versionIn(object), this.seen));
      if (!overtaken) this.take(versionOfFreeze(object));
      else if (!object) return; // it is not known which came first
      this.confirmedAt = sentAt;
      if (!this.isReadable) this.options.onReadable((this.isReadable = true));
    } catch (error) {
      if (this.ended.signal.aborted) return;
      if (this.isReadable) this.options.onReadable((this.isReadable = false), error);
    }
  }

  private async poll(): Promise<void> {
    let sentAt = thisMoment();
    while (!this.ended.signal.aborted) {
      this.wake = new AbortController();
      const signal = AbortSignal.any([this.ended.signal, this.wake.signal]);
      const restMs = this.busy ? BUSY_POLL_MS - msSince(sentAt) : IDLE_POLL_MS;
      if (restMs > 0) await sleep(restMs, undefined, { signal }).catch(() => undefined);
      sentAt = thisMoment();
      if (!this.ended.signal.aborted) await this.look();
    }
  }

  private async follow(): Promise<void> {
    let resourceVersion = this.known?.version.how === 'set' ? this.seen : undefined;
    while (!this.ended.signal.aborted) {
      const options = {
        object: freezeNameOf(this.options.clusterId),
        timeoutSeconds: WATCH_SECONDS,
        ...(resourceVersion && { resourceVersion }),
      };
      const signal = AbortSignal.any([this.ended.signal, AbortSignal.timeout(WATCH_HANGS_AFTER_MS)]);
      try {
        for await (const { type, object } of this.options.api.watch(this.collection, options, signal)) {
          resourceVersion = versionIn(object);
          if (type === 'BOOKMARK' || !isOlder(this.seen, resourceVersion)) continue;
          this.take(type === 'DELETED' ? missingSince(object) : versionOfFreeze(object));
        }
      } catch (error) {
        if (this.ended.signal.aborted) return;
        // Too old to go on from. What was missed in between only the audit misses; the next look tells what is.
        if (error instanceof ApiStatusError && error.status === 410) resourceVersion = undefined;
        // Of anything else the looks tell too.
        await sleep(RETRY_MS, undefined, { signal: this.ended.signal }).catch(() => undefined);
      }
    }
  }

  private take(version: FreezeVersion): void {
    const before = this.known?.version;
    this.takenAt = thisMoment();
    if (before && before.resourceVersion === version.resourceVersion && before.how === version.how) return;
    const isSame = before?.isFrozen === version.isFrozen;
    const since = isSame && this.known ? this.known.since : this.options.now().toISOString();
    this.known = { version, since };
    if (version.isFrozen) this.halted.abort();
    else if (this.halted.signal.aborted) this.halted = new AbortController();
    this.options.onVersion(version);
  }
}

function versionOfFreeze(object: KubeObject | undefined): FreezeVersion {
  if (!object) return { isFrozen: true, how: 'missing', reason: '', by: '', resourceVersion: '0' };
  const data = at(object, 'data');
  const { isFrozen, reason, by } = readFreeze(isRecord(data) ? data : {});
  const manager = managerOf(object, 'frozen');
  // A reason and a name that were left there with an earlier change say nothing about this one.
  const own = (field: 'reason' | 'by', text: string) => (managerOf(object, field) === manager ? text : '');
  return {
    isFrozen,
    how: 'set',
    reason: own('reason', reason),
    by: own('by', by) || manager,
    resourceVersion: versionIn(object),
  };
}

function missingSince(deleted: KubeObject): FreezeVersion {
  return { isFrozen: true, how: 'missing', reason: '', by: '', resourceVersion: versionIn(deleted) };
}

/** The client that last set a field of the data: an assertion, but one that the API server wrote down. */
function managerOf(object: KubeObject, field: string): string {
  const entries = object.metadata['managedFields'];
  const owner = (Array.isArray(entries) ? entries : []).find(
    (entry) => at(entry, 'fieldsV1', 'f:data', `f:${field}`) !== undefined,
  );
  return String(at(owner, 'manager') ?? 'unknown');
}

function versionIn(object: KubeObject): string {
  return versionOf(object).resourceVersion;
}
