import type { Found, Kind, RedactionPolicy, SecretKind } from './kinds.ts';
import { KINDS, SECRET_KINDS } from './kinds.ts';
import { scan } from './scan.ts';

/**
 * A keyed hash (HMAC) of a value, as letters only: a hash of digits could itself look like a number.
 * @returns at least 64 bits
 */
export type KeyedHash = (value: string) => string;

export interface Redacted {
  readonly text: string;
  /** How many of each kind were replaced. */
  readonly counts: Counts;
}

export type Counts = Readonly<Partial<Record<Kind, number>>>;

export interface Redactor {
  /** The text without what is personal or secret in it. What stands for it is never taken for something itself. */
  redact(text: string): Redacted;
  find(text: string): Found[];
  /** What stands for a value that is hidden as a whole, whatever is in it. */
  hide(value: string): string;
}

/**
 * @param hash keys of joins; without one everything that is redacted is masked
 */
export function createRedactor(policy: RedactionPolicy, hash?: KeyedHash): Redactor {
  const tag = (kind: string, canonical: string, tags?: Map<string, string>): string => {
    if (!hash) return `[${kind}]`;
    const about = `${kind}\n${canonical}`;
    const known = tags?.get(about);
    if (known !== undefined) return known;
    const made = `[${kind}#${hash(about)}]`;
    tags?.set(about, made);
    return made;
  };
  const find = (text: string) => scan(text, policy.phoneCountries);
  const replacement = (found: Found, tags?: Map<string, string>): string | undefined => {
    const { kind, canonical, isPrivate = false } = found;
    const mode = isPrivate ? policy.privateIps : isSecret(kind) ? policy.secrets : policy.pii;
    if (mode === 'keep') return undefined;
    return mode === 'hash' ? tag(kind, canonical, tags) : `[${kind}]`;
  };
  return {
    find,
    hide: (value) => (HIDDEN.test(value) ? value : tag('hidden', value)),
    redact(text) {
      const counts: Partial<Record<Kind, number>> = {};
      const tags = new Map<string, string>(); // the same values come again and again, and a hash takes its time
      const pieces = [];
      let done = 0;
      for (const found of find(text)) {
        const instead = isReplaced(text, found) ? undefined : replacement(found, tags);
        if (instead === undefined) continue;
        counts[found.kind] = (counts[found.kind] ?? 0) + 1;
        pieces.push(text.slice(done, found.start), instead);
        done = found.end;
      }
      if (done === 0) return { text, counts };
      pieces.push(text.slice(done));
      return { text: pieces.join(''), counts };
    },
  };
}

const REPLACED = /^\[[a-z-]{2,12}(?:#[a-z]{8,64})?\]?$/;
const HIDDEN = /^\[hidden(?:#[a-z]{8,64})?\]$/;

/** What is given to a secret name may have been replaced before. */
function isReplaced(text: string, { start, end }: Found): boolean {
  return end - start < 100 && text[start] === '[' && REPLACED.test(text.slice(start, end));
}

function isSecret(kind: Kind): kind is SecretKind {
  return (SECRET_KINDS as readonly Kind[]).includes(kind);
}

/** Adds the second to the first. */
export function addCounts(sum: Partial<Record<Kind, number>>, counts: Counts): void {
  for (const kind of KINDS) {
    const more = counts[kind];
    if (more !== undefined) sum[kind] = (sum[kind] ?? 0) + more;
  }
}
