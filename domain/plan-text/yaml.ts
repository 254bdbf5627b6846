import { indented } from './lines.ts';

/** Words that YAML, in one version or another, takes for something else than text. */
const RESERVED_WORDS = /^(true|false|null|yes|no|on|off|y|n|[-+]?\.inf|\.nan)$/i;
const PLAIN = /^-{0,2}[\w/.][\w/.@%+=,()-]*([: ]+[\w/.@%+=,()-]+)*$/;
const LOOKS_LIKE_NUMBER = /^[\d.,:_+-]+$/;

/** Packages go as deep; what is deeper, as a live object may be, stands on one line. */
const MAX_DEPTH = 64;

/** A value that stands on the line of its key: anything but a map, a list or a text of several lines. */
export function scalarText(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  return isPlain(value) ? value : JSON.stringify(value);
}

function isPlain(text: string): boolean {
  if (text.length > 1_000 || !PLAIN.test(text) || text.includes(': ') || text.includes('  ')) return false;
  return !RESERVED_WORDS.test(text) && !LOOKS_LIKE_NUMBER.test(text) && Number.isNaN(Number(text));
}

/** A text of several lines as a block: its head, as it follows the key, and its lines. */
export interface Block {
  readonly head: '|' | '|-';
  readonly lines: readonly string[];
}

export function blockOf(text: string): Block {
  const lines = text.split('\n');
  return lines.at(-1) === '' ? { head: '|', lines: lines.slice(0, -1) } : { head: '|-', lines };
}

/** A line of a block with what no eye could see made visible: blanks at its end, tabs. */
export function blockLine(line: string): string {
  return line.replace(/ +$/, (blanks) => '·'.repeat(blanks.length)).replaceAll('\t', '\\t');
}

/** What of a value is not shown, by where it is and the map or list that holds it. */
export type Hidden = (path: readonly string[], value: unknown, holder: unknown) => boolean;

/**
 * A key with its value as lines of YAML, in the order of keys, an item's name first. Values are shown and not meant to
 * be parsed: what cannot be seen is escaped.
 * @param key as it stands before the value: `image:`, or `-` for an item of a list
 * @param path of the value
 */
export function* yamlLines(
  key: string,
  value: unknown,
  depth: number,
  path: readonly string[],
  isHidden: Hidden,
): Generator<string> {
  if (typeof value === 'string' && value.includes('\n')) {
    const { head, lines } = blockOf(value);
    yield indented(depth, `${key} ${head}`);
    for (const line of lines) yield indented(depth + 1, blockLine(line));
    return;
  }
  const entries = depth < MAX_DEPTH ? entriesOf(value, path, isHidden) : undefined;
  if (!entries) return yield indented(depth, `${key} ${scalarText(value)}`);
  if (entries.length === 0) return; // all of it is hidden
  if (key === '-' && !Array.isArray(value)) {
    // The first entry of an item stands beside its dash.
    let dash = true;
    for (const [inner, part] of entries) {
      for (const line of yamlLines(`${keyText(inner)}:`, part, depth + 1, [...path, inner], isHidden)) {
        yield dash ? indented(depth, `- ${line.slice(2 * depth + 2)}`) : line;
        dash = false;
      }
    }
    return;
  }
  yield indented(depth, key);
  for (const [inner, part] of entries) {
    const innerKey = Array.isArray(value) ? '-' : `${keyText(inner)}:`;
    yield* yamlLines(innerKey, part, depth + 1, [...path, inner], isHidden);
  }
}

/** In quotes where it has a space: no key of an object that comes may pass for the head of another one. */
export function keyText(key: string): string {
  return key.includes(' ') ? JSON.stringify(key) : scalarText(key);
}

/** What is shown of a map or a list; undefined for anything else, empty ones included. */
function entriesOf(value: unknown, path: readonly string[], isHidden: Hidden): [string, unknown][] | undefined {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return undefined;
  const entries = Object.entries(value).filter(([key, inner]) => !isHidden([...path, key], inner, value));
  return Array.isArray(value) ? entries : entries.sort(([a], [b]) => order(a, b));
}

function order(a: string, b: string): number {
  if (a === 'name') return -1;
  if (b === 'name') return 1;
  return a < b ? -1 : 1;
}
