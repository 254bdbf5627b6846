import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';

import type { AuditEntry, AuditEvent, AuditHead } from '../../domain/audit.ts';
import { dayOf, isChainId, parseAuditEvent, sealEntry } from '../../domain/audit.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { ChainTail } from './chain-folder.ts';
import { readTail } from './chain-folder.ts';
import type { KnownFile } from './day-file.ts';
import { DayFile, setTailAside, syncFolderAndParent } from './day-file.ts';
import type { Lock } from './lock.ts';
import { takeLock } from './lock.ts';

/**
 * The one writer of the audit log. An entry is acknowledged when it is on disk, never before; entries that are
 * appended at the same time share one sync (group commit). What fails was not acknowledged and leaves no trace
 * in the chain.
 */

/** Days whose events are remembered: a retry comes within the validity of a package, a day unless policy says more. */
const REMEMBER_DAYS = 3;
/** A bound on the memory for that: about 20 MB. The oldest are forgotten first. */
const REMEMBER_EVENTS = 100_000;
/** Bytes after which a group is closed, so that one sync stays short. */
const GROUP_BYTES = 1024 * 1024;

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
    const tail = await readTail(folder, chain, REMEMBER_DAYS, sha256);
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
  #end: End;
  #known: KnownFile | undefined;
  #file: DayFile | undefined;
  #committing: Promise<void> | undefined;
  /** Bytes of failed attempts that were cut off, until an entry says so. */
  #cutBytes = 0;
  #closed = false;
  /** Set once the file is not what we wrote: what comes after it would hide that. */
  #broken: ConnectorError | undefined;

  constructor(options: AuditLogOptions, folder: string, lock: Lock, tail: ChainTail) {
    this.#options = options;
    this.#folder = folder;
    this.#lock = lock;
    this.#written = new Map(tail.events);
    this.#end = { seq: tail.seq, hash: tail.hash, time: tail.time };
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
    const receipt = this.#enqueue(event).finally(() => this.#inFlight.delete(eventId));
    this.#inFlight.set(eventId, receipt);
    return receipt;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#committing;
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

  async #enqueue(event: AuditEvent): Promise<Receipt> {
    if (this.#closed) throw new ConnectorError('AUDIT_UNAVAILABLE', 'The log is closed.');
    if (this.#broken) throw this.#broken;
    const parsed = parseAuditEvent(event);
    const time = this.#options.now().toISOString();
    const receipt = new Promise<Receipt>((resolve, reject) => {
      this.#queue.push({ event: parsed, time, resolve, reject });
    });
    this.#committing ??= this.#commitAll();
    return receipt;
  }

  async #commitAll(): Promise<void> {
    while (this.#queue.length > 0) {
      // Whoever was just acknowledged may append again at once; let them join the same group.
      await nextTurn();
      await this.#commitGroup();
    }
    this.#committing = undefined; // in the same turn as the look at the queue, so that nobody is left waiting
  }

  async #commitGroup(): Promise<void> {
    let group: Sealed[] = [];
    try {
      if (!this.#file) await this.#reopen();
      group = this.#takeGroup();
      const [first, last] = [group[0], group.at(-1)];
      if (!first || !last) return;
      // Files never go back in time, even where the clock does: their order is the order of the chain.
      const name = later(`${dayOf(first.time)}.jsonl`, this.#known?.name ?? '');
      if (name !== this.#known?.name) await this.#startFile(name);
      await this.#file?.append(Buffer.concat(group.map(({ line }) => line)));
      this.#acknowledge(group, last);
    } catch (cause) {
      await this.#giveUp(group, unavailable(cause));
    }
  }

  /** Seals what waits, in order, up to a size and up to the end of a day. An event that can't be sealed fails alone. */
  #takeGroup(): Sealed[] {
    const group: Sealed[] = [];
    let end = this.#end;
    let size = 0;
    const add = (event: AuditEvent, time: string, waiting?: Waiting) => {
      const sealed = this.#seal(event, time, end, waiting);
      group.push(sealed);
      end = { ...sealed.receipt, time };
      size += sealed.line.length;
    };
    while (size < GROUP_BYTES) {
      const [waiting] = this.#queue;
      if (!waiting) break;
      if (group.length > 0 && dayOf(waiting.time) > dayOf(end.time)) break;
      this.#queue.shift();
      try {
        if (group.length === 0 && this.#cutBytes > 0) {
          add(this.#repairEvent({ bytes: this.#cutBytes }), later(waiting.time, end.time));
        }
        if (waiting.time < end.time) add(clockEvent(this.#options.chain, end, waiting.time), waiting.time);
        add(waiting.event, waiting.time, waiting);
      } catch (error) {
        waiting.reject(error);
      }
    }
    return group;
  }

  #seal(event: AuditEvent, time: string, end: End, waiting?: Waiting): Sealed {
    const { chain, sha256 } = this.#options;
    const seq = end.seq + 1;
    const entry: AuditEntry = { ...event, v: 1, chain, seq, time, prev: end.hash };
    const { line, hash } = sealEntry(sha256, entry);
    const { eventId } = event;
    return { eventId, receipt: { seq, hash }, time, line: Buffer.from(`${line}\n`), ...(waiting ? { waiting } : {}) };
  }

  async #startFile(name: string): Promise<void> {
    const fresh = { name, durableBytes: 0, ownTail: false };
    const { file } = await DayFile.open(this.#folder, fresh, this.#options.sha256);
    await this.#file?.close();
    this.#file = file;
    this.#known = { ...fresh, ownTail: true };
  }

  #acknowledge(group: readonly Sealed[], last: Sealed): void {
    for (const { eventId, receipt } of group) this.#written.set(eventId, receipt);
    this.#end = { ...last.receipt, time: last.time };
    this.#cutBytes = 0;
    if (this.#known && this.#file) {
      const lastLine = { bytes: last.line.length, digest: this.#options.sha256(last.line) };
      this.#known = { ...this.#known, durableBytes: this.#file.durableBytes, lastLine, ownTail: true };
    }
    for (const [eventId] of this.#written) {
      if (this.#written.size <= REMEMBER_EVENTS) break;
      this.#written.delete(eventId);
    }
    for (const { receipt, waiting } of group) waiting?.resolve(receipt);
  }

  async #giveUp(group: readonly Sealed[], error: ConnectorError): Promise<void> {
    if (error.code === 'AUDIT_BROKEN') this.#broken ??= error;
    // Opened again before the next write, without anything of this group.
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
    for (const { waiting } of group) waiting?.reject(error);
    for (const waiting of this.#queue.splice(0)) waiting.reject(error);
  }

  async #reopen(): Promise<void> {
    if (!this.#known) return;
    const { file, cutBytes } = await DayFile.open(this.#folder, this.#known, this.#options.sha256);
    this.#file = file;
    this.#cutBytes += cutBytes;
  }

  #repairEvent(detail: AuditEvent['detail']): AuditEvent {
    const { chain } = this.#options;
    const eventId = `${chain}/tail-repaired/${this.#end.seq + 1}`;
    return { eventId, type: 'audit.tail-repaired', actor: system(chain), outcome: 'succeeded', detail };
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
