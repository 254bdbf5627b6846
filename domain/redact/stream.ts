import type { Found, Kind } from './kinds.ts';
import type { Counts, Redactor } from './redactor.ts';
import { addCounts } from './redactor.ts';

/** How much of a line without end is held back: what is longer and begins in it is seen, but perhaps only to here. */
const LOOK_AHEAD = 16 * 1024;
/** From here on a line counts as one without end. */
const LONG_LINE = 64 * 1024;
/** So much is held for something that was found and has not ended, such as a private key; then it goes as it is. */
const MAX_HELD = 1024 * 1024;

/**
 * Redacts a text that comes in pieces. Whole lines go out at once, so that one can watch; nothing is cut in the middle
 * of what was found. Of a line above 64 KiB, what needs more than 16 KiB to be recognised may be missed at a cut.
 */
export class RedactionStream {
  readonly #redactor: Redactor;
  readonly #counts: Partial<Record<Kind, number>> = {};
  #held = '';
  /** What has not ended is looked at again only when there is that much. */
  #lookAgainAt = 0;

  constructor(redactor: Redactor) {
    this.#redactor = redactor;
  }

  get counts(): Counts {
    return this.#counts;
  }

  /** @returns what is ready */
  push(piece: string): string {
    this.#held += piece;
    const end = this.#endOfReady();
    const ready = this.#held.slice(0, end);
    this.#held = this.#held.slice(end);
    return this.#redact(ready);
  }

  /** @returns the rest */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return this.#redact(rest);
  }

  #redact(text: string): string {
    const { text: redacted, counts } = this.#redactor.redact(text);
    addCounts(this.#counts, counts);
    return redacted;
  }

  #endOfReady(): number {
    const held = this.#held;
    if (held.length < this.#lookAgainAt) return 0;
    this.#lookAgainAt = 0;
    const line = held.lastIndexOf('\n') + 1;
    if (line === 0 && held.length < LONG_LINE) return 0;
    if (line > 0 && !held.includes('-----BEGIN')) return line;
    const end = line > 0 && held.length - line < LONG_LINE ? line : endOfWord(held, held.length - LOOK_AHEAD);
    const across = this.#redactor.find(held).find((found) => isAcross(found, end));
    if (!across) return end;
    if (across.start > 0) return across.start;
    if (held.length > MAX_HELD) return held.length;
    this.#lookAgainAt = held.length > LONG_LINE ? held.length + LOOK_AHEAD : 0;
    return 0;
  }
}

function isAcross({ start, end }: Found, cut: number): boolean {
  return start < cut && end >= cut;
}

/** The end of the last word before a place, if there is one near. */
function endOfWord(text: string, place: number): number {
  const space = text.lastIndexOf(' ', place);
  return space > place - LOOK_AHEAD && space > 0 ? space : place;
}
