/** At most so many callers are told apart; of more, those that were silent longest are forgotten. */
const MAX_KEYS = 4_096;

interface Bucket {
  tokens: number;
  at: number;
}

/** A token bucket for each caller: an average that may be exceeded for a moment. */
export class RateLimit {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor({ perMinute, burst }: { readonly perMinute: number; readonly burst: number }) {
    this.#perMs = perMinute / 60_000;
    this.#burst = burst;
  }

  /**
   * Takes one call.
   * @param now ms, of a clock that does not step
   * @returns 0, or how many seconds the caller should wait
   */
  take(key: string, now: number): number {
    const left = this.#left(key, now);
    const isTaken = left >= 1;
    // Last in the order of the map: the first is then who was silent longest.
    this.#buckets.delete(key);
    this.#buckets.set(key, { tokens: isTaken ? left - 1 : left, at: now });
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > MAX_KEYS && oldest !== undefined) this.#buckets.delete(oldest);
    return isTaken ? 0 : this.#wait(left);
  }

  /** The same answer without taking: for what is counted only once it has failed. */
  look(key: string, now: number): number {
    const left = this.#left(key, now);
    return left >= 1 ? 0 : this.#wait(left);
  }

  #left(key: string, now: number): number {
    const { tokens, at } = this.#buckets.get(key) ?? { tokens: this.#burst, at: now };
    return Math.min(this.#burst, tokens + (now - at) * this.#perMs);
  }

  #wait(left: number): number {
    return Math.ceil((1 - left) / this.#perMs / 1000);
  }
}

/** Who is counted together: of IPv6 the network, because one machine has as many addresses as it likes. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = '', tail] = address.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...Array<string>(Math.max(zeros, 0)).fill('0'), ...after];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
