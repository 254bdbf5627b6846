/** Slots are doubled up to this many: 64 MiB, for some six million events. */
const MAX_SLOTS = 2 ** 23;
const FULL = 0.75;

/**
 * Tells whether an event was counted before, in bounded memory: by 52 bits of a hash of its id. Good for counting, and
 * for nothing that somebody could gain by a collision.
 */
export class EventCounter {
  #slots = new Float64Array(2 ** 12);
  #used = 0;
  #repeated = 0;

  add(eventId: string): void {
    const print = fingerprint(eventId);
    if (this.#put(this.#slots, print)) {
      this.#used += 1;
      if (this.#used > this.#slots.length * FULL) this.#grow();
    } else {
      this.#repeated += 1;
    }
  }

  /** How many were counted before; undefined where there were too many to tell. */
  get repeated(): number | undefined {
    return this.#used > MAX_SLOTS * FULL ? undefined : this.#repeated;
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
    if (this.#slots.length >= MAX_SLOTS) {
      this.#slots = new Float64Array(MAX_SLOTS); // begun anew; `repeated` no longer tells
      return;
    }
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
