import { createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { ConnectorError } from '../../domain/errors.ts';
import type { PayloadKey } from '../../domain/payload-key.ts';
import { keyThatWrites } from '../../domain/payload-key.ts';

/** How long keys are used before they are looked for again: within this time a new one is known everywhere. */
const FRESH_MS = 5 * 60_000;
/** The same while they cannot be read. */
const AGAIN_MS = 30_000;
/** The least time between two readings, on average: whoever sends payloads with made-up key ids causes no more. */
const SPACING_MS = 2_000;
/** So many may follow each other at once: a history with made-up ids is replayed before its workflow task is over. */
const BURST = 32;

/** A key as it is held here: nothing that logs or prints it shows what it is. */
export interface HeldKey {
  readonly name: string;
  readonly secret: KeyObject;
  readonly writeFrom?: Date;
}

export interface KeyRingOptions {
  /** Asks Vault. Throws PAYLOAD_KEYS_UNAVAILABLE. */
  readonly load: () => Promise<readonly PayloadKey[]>;
  /** Is told of each reading: which key encrypts, or why nothing could be read. */
  readonly onRead?: (read: { readonly writes: string } | { readonly error: unknown }) => void;
  readonly spacingMs?: number;
  readonly freshMs?: number;
}

/**
 * The payload keys of one cluster. What was read last, and was good, is used for as long as nothing better can be had: a
 * Vault that is away, or an entry that somebody spoilt, takes no key from a process that has it in its memory already.
 */
export class KeyRing {
  readonly #load: KeyRingOptions['load'];
  readonly #onRead: NonNullable<KeyRingOptions['onRead']>;
  readonly #spacingMs: number;
  readonly #freshMs: number;
  #keys: ReadonlyMap<string, HeldKey> | undefined;
  #readAt = -Infinity;
  /** When the next reading would be due, had all before it kept the distance. */
  #dueAt = -Infinity;
  #againAt = -Infinity;
  #asking: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #refreshing: Promise<void> = Promise.resolve();

  constructor({ load, onRead = () => undefined, spacingMs = SPACING_MS, freshMs = FRESH_MS }: KeyRingOptions) {
    this.#load = load;
    this.#onRead = onRead;
    this.#spacingMs = spacingMs;
    this.#freshMs = freshMs;
  }

  /** Reads the keys now. @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE */
  open(): Promise<void> {
    return this.#readAfresh();
  }

  /** Reads the keys again where that is due; what comes of it `onRead` is told. For processes that have nothing to encrypt for long. */
  keepFresh(): Promise<void> {
    return this.#refresh();
  }

  /** The key to encrypt with. @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE where none was ever read */
  async writing(): Promise<HeldKey> {
    if (!this.#keys) await this.#readAfresh();
    else {
      const refreshed = this.#refresh();
      // What was read long ago may have been taken away since: nobody else could read what it encrypts.
      if (performance.now() - this.#readAt > 2 * this.#freshMs) await refreshed;
    }
    return writingOf(this.#keys);
  }

  /**
   * @returns undefined for a key that Vault says there is not
   * @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE for one that is unknown here while Vault cannot be asked
   */
  async find(name: string): Promise<HeldKey | undefined> {
    const known = this.#keys?.get(name);
    if (known) {
      void this.#refresh();
      return known;
    }
    // Others may have read Vault later than this process, and write with what was new there.
    await this.#readAfresh();
    return this.#keys?.get(name);
  }

  /** Resolves, whatever came of it, when the last reading is over; few have to wait for what is only to be known in time. */
  #refresh(): Promise<void> {
    if (performance.now() >= this.#againAt) {
      this.#againAt = performance.now() + AGAIN_MS;
      this.#refreshing = this.#readAfresh().catch(() => undefined); // onRead has told; what is there goes on being used
    }
    return this.#refreshing;
  }

  /** Resolves when something was read that was asked for after this was called. */
  #readAfresh(): Promise<void> {
    this.#next ??= this.#asking
      .catch(() => undefined)
      .then(async () => {
        const waitMs = this.#dueAt - BURST * this.#spacingMs - performance.now();
        if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
        this.#next = undefined; // whoever comes from now on needs a later answer
        this.#asking = this.#read();
        return this.#asking;
      });
    return this.#next;
  }

  async #read(): Promise<void> {
    this.#dueAt = Math.max(this.#dueAt, performance.now()) + this.#spacingMs;
    try {
      const loaded = await this.#load();
      const keys = new Map(loaded.map(({ secret, ...key }) => [key.name, { ...key, secret: createSecretKey(secret) }]));
      const { name } = writingOf(keys);
      this.#keys = keys;
      this.#readAt = performance.now();
      this.#againAt = this.#readAt + this.#freshMs;
      this.#onRead({ writes: name });
    } catch (error) {
      this.#againAt = performance.now() + AGAIN_MS;
      this.#onRead({ error });
      throw error;
    }
  }
}

function writingOf(keys: ReadonlyMap<string, HeldKey> | undefined): HeldKey {
  const key = keyThatWrites([...(keys?.values() ?? [])], new Date());
  if (key) return key;
  throw new ConnectorError(
    'PAYLOAD_KEYS_UNAVAILABLE',
    'Vault has none that may encrypt now; byoc vault setup makes one.',
  );
}
