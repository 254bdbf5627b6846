/** Makes a text safe to show. */
export type Redact = (text: string) => string;

const MASKED = '[masked]';
/** Shorter ones are words of everyday texts. */
const MIN_LENGTH = 4;

/** Colours and the like (ECMA-48), and what ends a line: a value may be written with them in its middle. */
const BETWEEN = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])|[\r\n]+/g;

/**
 * Makes what replaces values in a text, in each form in which programs write them: as they are, as a part of JSON or of
 * an address, in base64 of either alphabet and at any place of what was encoded, in hexadecimal, and with line ends or
 * escape sequences of terminals in between.
 */
export function maskingOf(values: readonly string[]): Redact {
  const forms = new Set(values.flatMap((value) => (value.length < MIN_LENGTH ? [] : formsOf(value))));
  const longestFirst = [...forms].sort((a, b) => b.length - a.length);
  return (text) => masked(text, longestFirst);
}

function masked(text: string, forms: readonly string[]): string {
  const { bare, places } = withoutBetween(text);
  const hidden: (readonly [from: number, to: number])[] = [];
  for (const form of forms) {
    for (let at = bare.indexOf(form); at >= 0; at = bare.indexOf(form, at + form.length)) {
      hidden.push([places(at), places(at + form.length - 1) + 1]);
    }
  }
  let result = '';
  let end = 0;
  for (const [from, to] of hidden.sort(([a], [b]) => a - b)) {
    if (from >= end) result += text.slice(end, from) + MASKED;
    end = Math.max(end, to);
  }
  return result + text.slice(end);
}

/** The text without what may come between, and where each character of it was. */
function withoutBetween(text: string): { readonly bare: string; readonly places: (index: number) => number } {
  const parts: { readonly start: number; readonly from: number }[] = [];
  let bare = '';
  let from = 0;
  const keep = (to: number) => {
    if (to > from) parts.push({ start: bare.length, from });
    bare += text.slice(from, to);
  };
  for (const { 0: found, index } of text.matchAll(BETWEEN)) {
    keep(index);
    from = index + found.length;
  }
  keep(text.length);
  return {
    bare,
    places: (index) => {
      const part = parts.findLast(({ start }) => start <= index) ?? { start: 0, from: 0 };
      return part.from + index - part.start;
    },
  };
}

function formsOf(value: string): string[] {
  const oneLine = value.replace(/[\r\n]+/g, '');
  const escaped = JSON.stringify(value).slice(1, -1);
  const inAddress = encodeURIComponent(value.toWellFormed());
  const bytes = Buffer.from(value);
  const encoded = [...inBase64(bytes), ...inBase64(Buffer.from(`${value}\n`)), bytes.toString('hex')];
  return [value, oneLine, escaped, inAddress, ...encoded].filter((form) => form.length >= MIN_LENGTH);
}

/** Three bytes make four characters: the same bytes look different by how many come before, and at the edges by those. */
function inBase64(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const padded = Buffer.concat([Buffer.alloc(before), bytes]);
    const whole = padded.toString('base64').replace(/=+$/, '');
    // Characters that hold bits of what comes before or after are left out.
    const start = before === 0 ? 0 : before + 1;
    const end = Math.floor((padded.length * 8) / 6);
    const standard = before === 0 ? padded.toString('base64') : whole.slice(start, end);
    const inner = whole.slice(start, end);
    return [standard, inner].flatMap((one) => [one, one.replaceAll('+', '-').replaceAll('/', '_')]);
  });
}
