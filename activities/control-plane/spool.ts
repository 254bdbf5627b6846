import { hash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../audit/replace-file.ts';

export interface SpoolOptions<T> {
  readonly folder: string;
  /** The oldest are dropped for the newest. */
  readonly maxItems: number;
  /** @returns undefined for what is no such item any more */
  readonly parse: (value: unknown) => T | undefined;
}

interface Item<T> {
  readonly file: string;
  readonly value: T;
}

/**
 * A few small things that wait to be delivered, in order. They are kept in memory and, for the next start, each in a file;
 * a disk that takes nothing costs no more than that.
 */
export class Spool<T> {
  readonly #options: SpoolOptions<T>;
  #items: Item<T>[];
  #dropped = 0;
  #lastAt = 0;
  #delivering: Promise<void> | undefined;

  private constructor(options: SpoolOptions<T>, items: Item<T>[]) {
    this.#options = options;
    this.#items = items;
  }

  /** Opens the spool with what an earlier process could not deliver. A file that cannot be read is removed and counted. */
  static async open<T>(options: SpoolOptions<T>): Promise<Spool<T>> {
    const { folder, parse } = options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const spool = new Spool<T>(options, []);
    for (const file of (await readdir(folder)).filter((name) => name.endsWith('.json')).sort()) {
      const value = await readFile(join(folder, file), 'utf8')
        .then((text) => parse(JSON.parse(text)))
        .catch(() => undefined);
      if (value === undefined) await spool.#drop(file);
      else spool.#items.push({ file, value });
    }
    return spool;
  }

  get counts(): { readonly waiting: number; readonly dropped: number } {
    return { waiting: this.#items.length, dropped: this.#dropped };
  }

  /** Keeps something. Rejects where the disk does not take it; it is then kept in memory all the same. */
  async add(id: string, value: T): Promise<void> {
    // Never the same twice, and in the order of its calls whatever the clock does.
    this.#lastAt = Math.max(Date.now(), this.#lastAt + 1);
    const file = `${String(this.#lastAt).padStart(15, '0')}-${hash('sha256', id, 'hex').slice(0, 16)}.json`;
    const item = { file, value };
    this.#items.push(item);
    const oldest = this.#items.splice(0, Math.max(0, this.#items.length - this.#options.maxItems));
    for (const { file: dropped } of oldest) await this.#drop(dropped);
    await replaceFile(this.#options.folder, file, JSON.stringify(value));
    if (!this.#items.includes(item)) await this.#remove(file); // it was delivered meanwhile
  }

  /**
   * Delivers what waits, oldest first; one at a time, however often it is called.
   * @param deliver a rejection ends the delivery, and the item stays; `drop` says that it will never be taken
   */
  deliver(deliver: (value: T) => Promise<'delivered' | 'drop'>): Promise<void> {
    return (this.#delivering ??= this.#deliverAll(deliver).finally(() => (this.#delivering = undefined)));
  }

  async #deliverAll(deliver: (value: T) => Promise<'delivered' | 'drop'>): Promise<void> {
    for (let item = this.#items[0]; item; item = this.#items[0]) {
      const outcome = await deliver(item.value);
      const at = this.#items.indexOf(item); // it may have been dropped meanwhile
      if (at >= 0) this.#items.splice(at, 1);
      if (outcome === 'drop') await this.#drop(item.file);
      else await this.#remove(item.file);
    }
  }

  async #drop(file: string): Promise<void> {
    this.#dropped += 1;
    await this.#remove(file);
  }

  /** Where the disk does not let it go it is delivered once more after the next start, which is no harm. */
  async #remove(file: string): Promise<void> {
    await rm(join(this.#options.folder, file), { force: true }).catch(() => undefined);
  }
}
