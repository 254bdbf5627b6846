import type { AuditHead } from './audit.ts';
import type { TimedHead } from './audit-head.ts';
import type { Digest } from './digest.ts';

/**
 * `truncated`: it ends before an entry that was there · `forked`: two heads for one number · `rewritten`: an entry is
 * not the one that was signed · `silent`: nothing was heard for too long.
 */
export interface HeadAlarm {
  readonly kind: 'truncated' | 'forked' | 'rewritten' | 'silent';
  readonly chain: string;
  readonly expected: string;
  readonly found: string;
}

interface Watched {
  last: TimedHead;
  /** By the receiver's clock, ms: what the writer says of the time is its own affair. */
  seenAt: number;
  /** Oldest first. */
  readonly hashes: Map<number, Digest>;
}

/** How many heads of a chain are remembered; the newest always are. */
const REMEMBERED = 10_000;

/**
 * The other side of signed heads: whoever receives them remembers them, and learns of a log that was cut off, rewritten,
 * forked, or has gone silent. No I/O, for any control plane; a head goes in after its signature was checked.
 */
export class HeadWatch {
  readonly #chains = new Map<string, Watched>();

  /** Takes in a head. One that contradicts those before it raises an alarm and is not remembered in their place. */
  observe(head: TimedHead, seenAt: number): HeadAlarm | undefined {
    const { chain, seq, hash, time } = head;
    const watched = this.#chains.get(chain);
    if (!watched) {
      this.#chains.set(chain, { last: head, seenAt, hashes: new Map([[seq, hash]]) });
      return undefined;
    }
    const known = watched.hashes.get(seq);
    if (known !== undefined && known !== hash) return differing('forked', chain, seq, known, hash);
    // Signed no later than the newest one: a message that came late, or again. It is no sign of life: somebody may be
    // sending what they once heard.
    if (seq <= watched.last.seq && time <= watched.last.time) return undefined;
    if (seq < watched.last.seq) return truncated(watched.last, seq);
    watched.seenAt = seenAt;
    watched.last = head;
    watched.hashes.set(seq, hash);
    const [oldest] = watched.hashes.keys();
    if (watched.hashes.size > REMEMBERED && oldest !== undefined) watched.hashes.delete(oldest);
    return undefined;
  }

  /** Holds an entry of the log itself against what was remembered of it. */
  checkEntry({ chain, seq, hash }: AuditHead): HeadAlarm | undefined {
    const known = this.#chains.get(chain)?.hashes.get(seq);
    return known === undefined || known === hash ? undefined : differing('rewritten', chain, seq, known, hash);
  }

  /** Holds the end of the log itself against the newest head. */
  checkEnd({ chain, seq }: Pick<AuditHead, 'chain' | 'seq'>): HeadAlarm | undefined {
    const last = this.#chains.get(chain)?.last;
    return last && seq < last.seq ? truncated(last, seq) : undefined;
  }

  /** The chains that were not heard of for longer than `afterMs`. */
  silent(now: number, afterMs: number): HeadAlarm[] {
    return [...this.#chains]
      .filter(([, { seenAt }]) => now - seenAt > afterMs)
      .map(([chain, { seenAt }]) => {
        const found = `nothing since ${new Date(seenAt).toISOString()}`;
        return { kind: 'silent', chain, expected: `a head every ${afterMs} ms`, found };
      });
  }
}

function truncated({ chain, seq }: AuditHead, found: number): HeadAlarm {
  return { kind: 'truncated', chain, expected: `entry ${seq}`, found: `entry ${found} as the last one` };
}

function differing(kind: HeadAlarm['kind'], chain: string, seq: number, expected: Digest, found: Digest): HeadAlarm {
  return { kind, chain, expected: `entry ${seq} with ${expected}`, found };
}
