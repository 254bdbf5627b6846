import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConnectorError } from '../../domain/errors.ts';
import type { DropReason, Dropped } from '../../domain/metrics.ts';

export interface SpoolLimits {
  /** R14: at most an hour. */
  readonly maxAgeMs: number;
  readonly maxBytes: number;
}

interface Item {
  readonly file: string;
  readonly id: string;
  readonly at: number;
  readonly bytes: number;
}

/** What became of a batch that was to be sent. A rejection leaves it, and all behind it, where they are. */
export type Send = (id: string, body: Uint8Array) => Promise<'accepted' | 'refused'>;

const NAME = /^(\d{15})-(\d{6})-([A-Za-z0-9]{1,64})\.json\.gz$/;

/**
 * Batches that wait on the local disk until they are delivered, oldest first: not longer than an hour, and not more than
 * there is room for. What is given up is counted. Losing the disk loses an hour of metrics, so nothing is synced.
 */
export class Spool {
  readonly #folder: string;
  readonly #limits: SpoolLimits;
  readonly #now: () => Date;
  readonly #items: Item[];
  readonly #dropped: Record<DropReason, number> = { age: 0, size: 0, refused: 0, unreadable: 0 };
  #order = 0;
  #busy: Promise<unknown> = Promise.resolve();

  private constructor(folder: string, limits: SpoolLimits, now: () => Date, items: Item[]) {
    this.#folder = folder;
    this.#limits = limits;
    this.#now = now;
    this.#items = items;
  }

  /** Goes on with what an earlier process left. @throws {ConnectorError} SPOOL_UNAVAILABLE */
  static async open(folder: string, limits: SpoolLimits, now: () => Date): Promise<Spool> {
    return onDisk(async () => {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const items: Item[] = [];
      for (const file of (await readdir(folder)).sort()) {
        const [, at, , id] = NAME.exec(file) ?? [];
        if (at === undefined || id === undefined)
          await rm(join(folder, file), { force: true }); // half written
        else items.push({ file, id, at: Number(at), bytes: (await stat(join(folder, file))).size });
      }
      const spool = new Spool(folder, limits, now, items);
      await spool.#trim(0);
      return spool;
    });
  }

  get waiting(): { readonly batches: number; readonly bytes: number } {
    return { batches: this.#items.length, bytes: this.#items.reduce((sum, { bytes }) => sum + bytes, 0) };
  }

  /** Batches that were given up since the process began, by why. */
  get dropped(): Dropped {
    return { ...this.#dropped };
  }

  /** When the oldest batch that waits was collected. */
  get oldest(): Date | undefined {
    const [first] = this.#items;
    return first && new Date(first.at);
  }

  /** Keeps a batch; where there is no room the oldest ones go. @throws {ConnectorError} SPOOL_UNAVAILABLE */
  add(id: string, at: Date, body: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      if (body.length > this.#limits.maxBytes) {
        this.#dropped.size += 1;
        return;
      }
      await this.#trim(body.length);
      await mkdir(this.#folder, { recursive: true, mode: 0o700 }); // somebody may have cleared the disk
      this.#order = (this.#order + 1) % 1_000_000;
      const file = `${String(at.getTime()).padStart(15, '0')}-${String(this.#order).padStart(6, '0')}-${id}.json.gz`;
      await writeFile(join(this.#folder, `${file}.new`), body, { mode: 0o600 });
      await rename(join(this.#folder, `${file}.new`), join(this.#folder, file));
      this.#items.push({ file, id, at: at.getTime(), bytes: body.length });
    });
  }

  /**
   * Sends what waits, oldest first, until nothing is left or sending fails.
   * @returns how many were accepted
   * @throws what `send` throws, and SPOOL_UNAVAILABLE
   */
  async deliver(send: Send): Promise<number> {
    let delivered = 0;
    for (;;) {
      await this.#inTurn(() => this.#trim(0));
      const [item] = this.#items;
      if (!item) return delivered;
      const body = await readFile(join(this.#folder, item.file)).catch(() => undefined);
      if (!body) {
        await this.#inTurn(() => this.#drop(item, 'unreadable'));
      } else if ((await send(item.id, body)) === 'accepted') {
        delivered += 1;
        await this.#inTurn(() => this.#remove(item));
      } else {
        await this.#inTurn(() => this.#drop(item, 'refused'));
      }
    }
  }

  /** Gives up what is too old, and the oldest ones where there is no room for so many bytes more. */
  async #trim(bytesMore: number): Promise<void> {
    const tooOld = this.#now().getTime() - this.#limits.maxAgeMs;
    for (let [item] = this.#items; item && item.at < tooOld; [item] = this.#items) await this.#drop(item, 'age');
    for (
      let [item] = this.#items;
      item && this.waiting.bytes + bytesMore > this.#limits.maxBytes;
      [item] = this.#items
    ) {
      await this.#drop(item, 'size');
    }
  }

  async #drop(item: Item, why: DropReason): Promise<void> {
    if (await this.#remove(item)) this.#dropped[why] += 1;
  }

  /** @returns whether it was still there */
  async #remove(item: Item): Promise<boolean> {
    const index = this.#items.indexOf(item);
    if (index < 0) return false; // given up while it was being sent
    this.#items.splice(index, 1);
    await rm(join(this.#folder, item.file), { force: true });
    return true;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#busy.then(() => onDisk(work));
    this.#busy = result.catch(() => undefined);
    return result;
  }
}

async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new ConnectorError('SPOOL_UNAVAILABLE', '', { cause });
  }
}
