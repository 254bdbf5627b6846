import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { AuditEntry, AuditEvent, AuditHead } from '../../domain/audit.ts';
import { dayOf, isChainId, parseAuditEvent, sealEntry } from '../../domain/audit.ts';
import type { DetailOf } from '../../domain/audit-catalogue.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { isSimulated } from '../../domain/simulation.ts';
import type { ChainTail } from './chain-folder.ts';
import { readTail } from './chain-folder.ts';
import type { KnownFile } from './day-file.ts';
import { DayFile, setTailAside, syncFolderAndParent } from './day-file.ts';
import type { Lock } from './lock.ts';
import { takeLock } from './lock.ts';

/**
 * The one writer of the audit log. An entry is acknowledged when it is on disk, never before; entries that are
 * appended at the same time share one sync (group commit), and the next ones are sealed and written while the disk is
 * still busy with it. What fails was not acknowledged and leaves no trace in the chain.
 */

/**
 * Whose events are remembered: a retry comes within the validity of a package, a day unless policy says more. The number
 * bounds the memory for that, to about 20 MB; the oldest are forgotten first.
 */
const REMEMBER = { days: 3, events: 100_000 };
/** After so many bytes or entries a group is written, so that one sync stays short and the next group begins during it. */
const GROUP_BYTES = 1024 * 1024;
const GROUP_ENTRIES = 24;

export interface AuditLogOptions {
  /** Folder of all chains; each has its own folder in it. */
  readonly dir: string;
  /** `<clusterId>.<writer>`: one chain a writer, so that no two processes ever wait for each other. */
  readonly chain: string;
  readonly now: () => Date;
  readonly sha256: Sha256;
}

/** Where an entry is in its chain. */
export interface Receipt {
  readonly seq: number;
  readonly hash: Digest;
}

export interface AuditLog {
  /**
   * Writes an event and returns once it is durable. An event whose id was written before is not written again.
   * @throws {ConnectorError} AUDIT_UNAVAILABLE when the disk does not take it (the next call tries again), AUDIT_BROKEN
   *   when the file is not what we wrote (from then on nothing is written), INTERNAL for a malformed event
   */
  append(event: AuditEvent): Promise<Receipt>;
  /** The last durable entry. */
  head(): AuditHead;
  /** Writes what is waiting, then gives the chain free. */
  close(): Promise<void>;
}

/**
 * Opens a chain, or begins it. What a crash left behind the last whole entry is set aside in a `.torn-…` file
 * and recorded.
 * @throws {ConnectorError} AUDIT_UNAVAILABLE (disk, or another process writes the chain), AUDIT_BROKEN (the
 *   newest files
 *   do not verify), CONFIG_INVALID (a chain id that can't name a folder)
 */
export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  const { dir, chain, sha256 } = options;
  if (!isChainId(chain)) throw new ConnectorError('CONFIG_INVALID', `"${chain}" cannot name an audit chain.`);
  const folder = join(dir, chain);
  let lock: Lock | undefined;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await syncFolderAndParent(folder);
    lock = takeLock(join(folder, '.lock'));
    const tail = await readTail(folder, chain, REMEMBER, sha256);
    const log = new ChainWriter(options, folder, lock, tail);
    await log.repairTail(tail);
    return log;
  } catch (error) {
    lock?.release();
    throw unavailable(error);
  }
}

interface Waiting {
  readonly event: AuditEvent;
  readonly time: string;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: unknown) => void;
}

interface Sealed {
  readonly eventId: string;
  readonly receipt: Receipt;
  readonly time: string;
  /** With its newline. */
  readonly line: Buffer;
  readonly waiting?: Waiting;
}

/** The end of the chain: durable, or as it would be after what is being written. */
interface End extends Receipt {
  readonly time: string;
}

class ChainWriter implements AuditLog {
  readonly #options: AuditLogOptions;
  readonly #folder: string;
  readonly #lock: Lock;
  readonly #written: Map<string, Receipt>;
  readonly #inFlight = new Map<string, Promise<Receipt>>();
  #queue: Waiting[] = [];
  /** Written, and not yet part of a sync. */
  #unsynced: Sealed[] = [];
  /** The last durable entry. */
  #end: End;
  /** The last entry that was sealed. */
  #tip: End;
  #known: KnownFile | undefined;
  #file: DayFile | undefined;
  #awake = false;
  #opening = false;
  #syncing = false;
  #failure: ConnectorError | undefined;
  #onIdle: (() => void) | undefined;
  /** Bytes of failed attempts that were cut off, until an entry says so; then, until that entry is durable. */
  #cutBytes = 0;
  #toldCutBytes = 0;
  #closed = false;
  /** Set once the file is not what we wrote: what comes after it would hide that. */
  #broken: ConnectorError | undefined;

  constructor(options: AuditLogOptions, folder: string, lock: Lock, tail: ChainTail) {
    this.#options = options;
    this.#folder = folder;
    this.#lock = lock;
    this.#written = new Map(tail.events);
    this.#end = this.#tip = { seq: tail.seq, hash: tail.hash, time: tail.time };
    if (tail.file) {
      const { name, goodBytes, tornBytes } = tail.file;
      this.#known = { name, durableBytes: goodBytes, ownTail: tornBytes > 0 };
    }
  }

  head(): AuditHead {
    return { chain: this.#options.chain, seq: this.#end.seq, hash: this.#end.hash };
  }

  append(event: AuditEvent): Promise<Receipt> {
    const { eventId } = event;
    const before = this.#written.get(eventId);
    if (before) return Promise.resolve(before);
    const running = this.#inFlight.get(eventId);
    if (running) return running;
    const refusal = this.#closed ? new ConnectorError('AUDIT_UNAVAILABLE', 'The log is closed.') : this.#broken;
    return refusal ? Promise.reject(refusal) : this.#enqueue(event);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (!this.#isIdle()) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await this.#file?.close();
    this.#file = undefined;
    this.#lock.release();
  }

  /** Sets aside what a crash left, and makes everything before it durable: it may only have been in the page cache. */
  async repairTail({ file }: ChainTail): Promise<void> {
    if (!file) return;
    if (file.tornBytes === 0) {
      await this.#reopen();
      return;
    }
    const [aside, bytes] = await setTailAside(this.#folder, file.name, file.goodBytes, file.tornBytes);
    await this.#reopen();
    this.#cutBytes = 0;
    await this.append(this.#repairEvent({ aside, bytes: bytes.length, digest: this.#options.sha256(bytes) }));
  }

  #enqueue(event: AuditEvent): Promise<Receipt> {
    const { promise, resolve, reject } = Promise.withResolvers<Receipt>();
    try {
      this.#queue.push({ event: parseAuditEvent(event), time: this.#options.now().toISOString(), resolve, reject });
      this.#inFlight.set(event.eventId, promise);
    } catch (error) {
      reject(error);
    }
    this.#wake();
    return promise;
  }

  /** In the next turn: whoever was just acknowledged may append again at once, and joins the same group. */
  #wake(): void {
    if (this.#awake) return;
    this.#awake = true;
    setImmediate(() => {
      this.#awake = false;
      this.#proceed();
    });
  }

  /** Does what can be done now: opens the file, or seals and writes what waits and has the disk take it. */
  #proceed(): void {
    try {
      while (this.#queue.length > 0 && !this.#opening && !this.#failure) {
        if (!this.#file && this.#known) return this.#open(() => this.#reopen());
        // Files never go back in time, even where the clock does: their order is the order of the chain.
        const name = later(`${dayOf(this.#queue[0]?.time ?? '')}.jsonl`, this.#known?.name ?? '');
        if (name !== this.#known?.name) {
          if (this.#unsynced.length > 0 || this.#syncing) return; // goes on when they are durable
          return this.#open(() => this.#startFile(name));
        }
        this.#writeGroup();
        this.#sync();
      }
      if (this.#isIdle()) this.#onIdle?.();
    } catch (cause) {
      this.#fail(cause);
    }
  }

  #isIdle(): boolean {
    const waiting = this.#queue.length + this.#unsynced.length;
    return waiting === 0 && !this.#opening && !this.#syncing && !this.#failure;
  }

  #open(work: () => Promise<void>): void {
    this.#opening = true;
    work().then(
      () => {
        this.#opening = false;
        this.#proceed();
      },
      (cause: unknown) => {
        this.#opening = false;
        this.#fail(cause);
      },
    );
  }

  /** Seals what waits, in order, up to a size and up to the end of a day. An event that can't be sealed fails alone. */
  #writeGroup(): void {
    const group: Sealed[] = [];
    let size = 0;
    const add = (event: AuditEvent, time: string, waiting?: Waiting) => {
      const sealed = this.#seal(event, time, waiting);
      group.push(sealed);
      this.#tip = { ...sealed.receipt, time };
      size += sealed.line.length;
    };
    while (size < GROUP_BYTES && group.length < GROUP_ENTRIES) {
      const [waiting] = this.#queue;
      if (!waiting || (group.length > 0 && dayOf(waiting.time) > dayOf(this.#tip.time))) break;
      this.#queue.shift();
      try {
        if (this.#cutBytes > 0) {
          add(this.#repairEvent({ bytes: this.#cutBytes }), later(waiting.time, this.#tip.time));
          this.#toldCutBytes = this.#cutBytes;
          this.#cutBytes = 0;
        }
        const { chain } = this.#options;
        if (waiting.time < this.#tip.time) add(clockEvent(chain, this.#tip, waiting.time), waiting.time);
        add(waiting.event, waiting.time, waiting);
      } catch (error) {
        this.#refuse(waiting, error);
      }
    }
    this.#unsynced.push(...group); // before it is written: what fails midway is refused with it
    this.#file?.write(Buffer.concat(group.map(({ line }) => line)));
  }

  #seal(event: AuditEvent, time: string, waiting?: Waiting): Sealed {
    const { chain, sha256 } = this.#options;
    const seq = this.#tip.seq + 1;
    const simulated = isSimulated(chain) ? ({ simulated: true } as const) : {};
    const entry: AuditEntry = { ...event, ...simulated, v: 1, chain, seq, time, prev: this.#tip.hash };
    const { line, hash } = sealEntry(sha256, entry);
    const { eventId } = event;
    return { eventId, receipt: { seq, hash }, time, line: Buffer.from(`${line}\n`), ...(waiting ? { waiting } : {}) };
  }

  /** Has the disk take what was written, one sync at a time: what is written meanwhile shares the next one. */
  #sync(): void {
    const [file, group] = [this.#file, this.#unsynced];
    if (this.#syncing || !file || group.length === 0) return;
    this.#unsynced = [];
    this.#syncing = true;
    file.sync().then(
      (restoredBytes) => {
        this.#syncing = false;
        // A file that is put back holds all that was written, durably.
        this.#acknowledge(restoredBytes > 0 ? [...group, ...this.#unsynced.splice(0)] : group);
        if (restoredBytes > 0) this.#reportRestored(file, restoredBytes);
        if (this.#failure) return this.#giveUp();
        this.#sync();
        this.#wake();
      },
      (cause: unknown) => {
        this.#syncing = false;
        this.#unsynced.unshift(...group);
        this.#fail(cause);
      },
    );
  }

  async #startFile(name: string): Promise<void> {
    const fresh = { name, durableBytes: 0, ownTail: false };
    const { file } = await DayFile.open(this.#folder, fresh, this.#options.sha256);
    await this.#file?.close();
    this.#file = file;
    this.#known = { ...fresh, ownTail: true };
  }

  #acknowledge(group: readonly Sealed[]): void {
    const last = group.at(-1);
    if (!last || !this.#known || !this.#file) return;
    const lastLine = { bytes: last.line.length, digest: this.#options.sha256(last.line) };
    this.#known = { ...this.#known, durableBytes: this.#file.durableBytes, lastLine, ownTail: true };
    this.#end = { ...last.receipt, time: last.time };
    this.#toldCutBytes = 0;
    for (const { eventId, receipt, waiting } of group) {
      this.#written.set(eventId, receipt);
      this.#inFlight.delete(eventId);
      waiting?.resolve(receipt);
    }
    for (const [eventId] of this.#written) {
      if (this.#written.size <= REMEMBER.events) break;
      this.#written.delete(eventId);
    }
  }

  #refuse(waiting: Waiting, error: unknown): void {
    this.#inFlight.delete(waiting.event.eventId);
    waiting.reject(error);
  }

  /** What a sync has begun with is heard out first: the disk may have it. */
  #fail(cause: unknown): void {
    this.#failure ??= unavailable(cause);
    if (!this.#syncing) this.#giveUp();
  }

  /** Refuses everything that is not durable. The file is opened again before the next write, without any of it. */
  #giveUp(): void {
    const error = this.#failure;
    if (error?.code === 'AUDIT_BROKEN') this.#broken ??= error;
    const sealed = this.#unsynced.splice(0).flatMap(({ waiting }) => waiting ?? []);
    const refused = [...sealed, ...this.#queue.splice(0)];
    this.#tip = this.#end;
    this.#cutBytes += this.#toldCutBytes;
    this.#toldCutBytes = 0;
    const file = this.#file;
    this.#file = undefined;
    const closed = file?.close().catch(() => undefined) ?? Promise.resolve();
    void closed.then(() => {
      this.#failure = undefined;
      for (const waiting of refused) this.#refuse(waiting, error);
      this.#proceed();
    });
  }

  async #reopen(): Promise<void> {
    if (!this.#known) return;
    const { file, cutBytes } = await DayFile.open(this.#folder, this.#known, this.#options.sha256);
    this.#file = file;
    this.#cutBytes += cutBytes;
  }

  #repairEvent(detail: DetailOf<'audit.tail-repaired'>): AuditEvent {
    const { chain } = this.#options;
    const eventId = `${chain}/tail-repaired/${this.#tip.seq + 1}`;
    return { eventId, type: 'audit.tail-repaired', actor: system(chain), outcome: 'succeeded', detail };
  }

  /** What we hold open is still the deleted file: the one that was put back is opened before the next write. */
  #reportRestored(file: DayFile, bytes: number): void {
    this.#file = undefined;
    file.close().catch(() => undefined);
    const { chain } = this.#options;
    const eventId = `${chain}/file-restored/${this.#end.seq}`;
    const detail: DetailOf<'audit.file-restored'> = { file: file.name, bytes };
    const event = { eventId, type: 'audit.file-restored', actor: system(chain), outcome: 'succeeded', detail } as const;
    this.#enqueue(event).catch(() => undefined); // the next append meets the same disk
  }
}

function clockEvent(chain: string, end: End, time: string): AuditEvent {
  const detail = { from: end.time, to: time };
  const eventId = `${chain}/clock-stepped-back/${end.seq + 1}`;
  return { eventId, type: 'audit.clock-stepped-back', actor: system(chain), outcome: 'succeeded', detail };
}

function system(chain: string): AuditEvent['actor'] {
  return { id: chain, proof: 'system' };
}

function later(a: string, b: string): string {
  return a > b ? a : b;
}

/** Whatever keeps the log from being written is one thing to its callers: nothing may be executed. */
function unavailable(error: unknown): ConnectorError {
  if (error instanceof ConnectorError) return error;
  const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
  return new ConnectorError('AUDIT_UNAVAILABLE', `The disk refuses${code}.`, { cause: error });
}
