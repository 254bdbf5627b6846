/**
 * Text from outside, safe for a terminal or a line of a log: control characters, ANSI sequences and the marks that
 * reorder or break lines are shown as escapes instead of being obeyed.
 */
export function printable(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
    (char) => {
      return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
    },
  );
}

/** The same for every text in a value. */
export function printableIn<T>(value: T): T {
  return mapTexts(value) as T; // texts stay texts, and nothing else changes
}

function mapTexts(value: unknown): unknown {
  if (typeof value === 'string') return printable(value);
  if (Array.isArray(value)) return value.map(mapTexts);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, mapTexts(inner)]));
}
