/** One line of a stream. */
export interface Line {
  /** Without the newline; empty where the line is longer than the limit. */
  readonly bytes: Uint8Array;
  /** Of its first byte in the stream, counted from 0. */
  readonly offset: number;
  /** Bytes with the newline. */
  readonly length: number;
  /** False for a last line that lacks its newline. */
  readonly ended: boolean;
  readonly tooLong: boolean;
}

const NEWLINE = 10;
const NOTHING = new Uint8Array(0);

/** Cuts a stream of bytes into lines; holds one line at most, and never more than `maxBytes` of it. */
export class LineSplitter {
  readonly #maxBytes: number;
  #pending: Uint8Array[] = [];
  #pendingLength = 0;
  #offset: number;

  /** @param offset of the first byte that will be pushed */
  constructor(maxBytes: number, offset = 0) {
    this.#maxBytes = maxBytes;
    this.#offset = offset;
  }

  /** @returns the lines that end in this chunk, valid as long as the chunk is. */
  push(chunk: Uint8Array): Line[] {
    const lines = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      lines.push(this.#finish(chunk.subarray(start, end), true));
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
    return lines;
  }

  /** @returns what is left when the stream ends, if anything. */
  end(): Line | undefined {
    return this.#pendingLength === 0 ? undefined : this.#finish(NOTHING, false);
  }

  #keep(part: Uint8Array): void {
    this.#pendingLength += part.length;
    if (this.#pendingLength > this.#maxBytes) this.#pending = [];
    else this.#pending.push(part.slice()); // readers reuse their buffers
  }

  #finish(tail: Uint8Array, ended: boolean): Line {
    const size = this.#pendingLength + tail.length;
    const tooLong = size > this.#maxBytes;
    const bytes = tooLong ? NOTHING : this.#pendingLength === 0 ? tail : join([...this.#pending, tail], size);
    const line = { bytes, offset: this.#offset, length: size + (ended ? 1 : 0), ended, tooLong };
    this.#offset += line.length;
    this.#pending = [];
    this.#pendingLength = 0;
    return line;
  }
}

function join(parts: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
