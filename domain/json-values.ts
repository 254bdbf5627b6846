/**
 * Reading values of which nothing is known: what the rules judge may be any JSON, and none of it may make them throw.
 * So nothing here recurses: depth is the sender's choice.
 */

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at a path of keys; undefined where there is none, or null, which Kubernetes takes for none. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let inner = value;
  for (const key of path) inner = isRecord(inner) && Object.hasOwn(inner, key) ? inner[key] : undefined;
  return inner ?? undefined;
}

/** The list at a path; empty where there is none. */
export function listAt(value: unknown, ...path: readonly string[]): readonly unknown[] {
  const list = at(value, ...path);
  return Array.isArray(list) ? list : [];
}

/** The text at a path; undefined where something else is. */
export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  const text = at(value, ...path);
  return typeof text === 'string' ? text : undefined;
}

/** The texts in the list at a path. */
export function textsAt(value: unknown, ...path: readonly string[]): string[] {
  return listAt(value, ...path).filter((item) => typeof item === 'string');
}

/** The keys and values of the map at a path that are not null, by key: the order of a server's answer must not count. */
export function entriesAt(value: unknown, ...path: readonly string[]): (readonly [string, unknown])[] {
  const map = at(value, ...path);
  if (!isRecord(map)) return [];
  return Object.keys(map)
    .sort()
    .flatMap((key) => (map[key] === null ? [] : [[key, map[key]] as const]));
}

/** Whether two values are the same JSON, whatever the order of their keys, and with null for nothing. */
export function same(left: unknown, right: unknown): boolean {
  const pairs: [unknown, unknown][] = [[left, right]];
  for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
    const [a, b] = pair;
    if (a === b) continue;
    if (Array.isArray(a) && Array.isArray(b)) {
      if (a.length !== b.length) return false;
      for (const [index, item] of a.entries()) pairs.push([item, b[index]]);
      continue;
    }
    if (!isRecord(a) || !isRecord(b)) return false;
    const [inA, inB] = [entriesAt(a), entriesAt(b)];
    if (inA.length !== inB.length || inA.some(([key], index) => key !== inB[index]?.[0])) return false;
    for (const [index, [, value]] of inA.entries()) pairs.push([value, inB[index]?.[1]]);
  }
  return true;
}

const MAX_WORD_CHARS = 120;
const MAX_WORDS = 5;

/** Words from outside in a sentence: each once, clipped, and only the first few. A finding must fit everywhere. */
export function inWords(words: Iterable<string>): string {
  const distinct = [...new Set(words)];
  const shown = distinct.slice(0, MAX_WORDS).map(clip);
  const more = distinct.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ');
}

/** A value in a sentence. */
export function inWord(value: unknown): string {
  return typeof value === 'object' ? 'something else' : clip(String(value));
}

function clip(text: string): string {
  return text.length > MAX_WORD_CHARS ? `${text.slice(0, MAX_WORD_CHARS)}…` : text;
}
