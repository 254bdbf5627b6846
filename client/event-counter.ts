/** 64 MiB, for some six million events. */
const MAX_SLOTS = 2 ** 23;
const FULL = 0.75;

/**
 * Tells whether an event was counted before, in bounded memory: by 52 bits of a hash of its id. Good for counting, and
 * for nothing that somebody could gain by a collision.
 */
export class EventCounter {
  readonly #maxSlots: number;
  #slots = new Float64Array(2 ** 12);
  #used = 0;
  #repeated = 0;

  /** @param maxSlots up to how many slots are doubled; a power of 2 */
  constructor(maxSlots = MAX_SLOTS) {
    this.#maxSlots = maxSlots;
  }

  add(eventId: string): void {
    if (this.#isFull()) return;
    const print = fingerprint(eventId);
    if (this.#put(this.#slots, print)) {
      this.#used += 1;
      if (this.#used > this.#slots.length * FULL && !this.#isFull()) this.#grow();
    } else {
      this.#repeated += 1;
    }
  }

  /** How many were counted before; undefined where there were too many to tell. */
  get repeated(): number | undefined {
    return this.#isFull() ? undefined : this.#repeated;
  }

  #isFull(): boolean {
    return this.#used > this.#maxSlots * FULL;
  }

  #put(slots: Float64Array, print: number): boolean {
    const mask = slots.length - 1;
    for (let at = print % slots.length; ; at = (at + 1) & mask) {
      if (slots[at] === print) return false;
      if (slots[at] === 0) {
        slots[at] = print;
        return true;
      }
    }
  }

  #grow(): void {
    const larger = new Float64Array(this.#slots.length * 2);
    for (const print of this.#slots) if (print !== 0) this.#put(larger, print);
    this.#slots = larger;
  }
}

/** FNV-1a twice, from two beginnings; never 0. */
function fingerprint(text: string): number {
  let [low, high] = [0x811c9dc5, 0x01000193];
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    low = Math.imul(low ^ unit, 0x01000193);
    high = Math.imul(high ^ unit, 0x85ebca6b);
  }
  return (high >>> 12) * 2 ** 32 + (low >>> 0) + 1;
}
