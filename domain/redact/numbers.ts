import { isCardNumber } from './card.ts';
import { CLASS, endOfRun, isAt } from './characters.ts';
import type { parseIp } from './ip.ts';
import type { Found } from './kinds.ts';
import type { PhoneNumbers } from './phone.ts';

/** What helps to judge numbers, for the length of one text. */
export interface Knowledge {
  readonly parseIp: typeof parseIp;
  readonly phones: PhoneNumbers;
}

/** The longest way to write a number in use has seven: `+49 (0) 30 123 45 67`. */
const MAX_GROUPS = 8;
const TWO_SEPARATORS: ReadonlySet<string> = new Set([' (', ') ', ')-', '-(']);
/** How far around a number words are looked for that say what it is. */
const BEFORE = 40;
const AFTER = 14;

// What stands for something that was redacted (`[phone]`, `[card#abc…]`) says nothing of what follows it.
const SPEAKS_OF_PHONES =
  /(?<![\w#])(?:phone(?![\]#])|telephone|tel|mobile|mob|cell|fax|desk|office|home|work|call|ring|dial|reach|contact|whatsapp|sms|msisdn)/;
const NAMES_A_PHONE =
  /(?:(?<!#)(?:phone(?![\]#])|(?<!\w)tel|mobile|fax|msisdn|whatsapp|(?<!\w)cell)|(?:call|dial|ring|reach|text|contact) (?:me|us|him|her|them)\b)[^\n\d]{0,12}$/;
const FOLLOWED_BY_PHONE = /^[^\w\n]{0,4}(?:phone(?![\]#])|tel|mobile|cell|fax|desk|office|home|work)\b/;
const SPEAKS_OF_CARDS = /(?<![\w#])(?:card(?![\]#])|credit|debit|visa|mastercard|amex|maestro|pan|cc)\b/;
const SPEAKS_OF_SSN = /(?<![\w#])(?:ssn(?![\]#])|social|security|tax ?id|itin)\b/;

/**
 * What the number is that begins at `start`: an address, a card, a social security number, a telephone number.
 * @param start of a digit, `+` or `(`, with no letter or digit before it
 * @returns what was found, or up to where there is nothing
 */
export function lookAtNumber(text: string, start: number, { parseIp: parse, phones }: Knowledge): Found | number {
  const end = endOfRun(text, start, CLASS.digit);
  // Most numbers are short and alone.
  if (end > start && end - start < 7 && endOfSeparator(text, end) === end && !isExtension(text, end)) return end;
  if (end - start === 4 && isIsoDateAt(text, start)) return start + ISO_DATE_LENGTH;
  const run = new Run(text, start);
  const [first] = run.groups;
  if (!first) return start + 1;
  const isLone = run.groups.length === 1;
  const isShort = run.digits < (isLone ? 7 : 6) && run.groups.length < 4;
  if (isShort || (isAt(text, first.end, CLASS.letter) && !isExtension(text, first.end))) return endOfChain(run);
  return (
    (isLone ? undefined : (ipIn(run, parse) ?? ssnIn(run))) ??
    cardIn(run) ??
    (isLone ? lonelySsnIn(run) : undefined) ??
    (isDate(run) ? undefined : phoneIn(run, phones)) ??
    endOfChain(run)
  );
}

function isExtension(text: string, index: number): boolean {
  return text[index] === 'x';
}

/** Groups of digits with what stands between them, as people write long numbers. */
class Run {
  readonly text: string;
  /** Where it begins, a `+` or `(` included. */
  readonly start: number;
  readonly groups: { readonly start: number; readonly end: number }[] = [];
  /** What is between a group and the next. */
  readonly separators: string[] = [];
  /** How many digits all groups have. */
  readonly digits: number = 0;
  #before: string | undefined;

  constructor(text: string, start: number) {
    this.text = text;
    this.start = start;
    let index = start;
    if (text[index] === '+') index++;
    if (text[index] === '(') index++;
    for (;;) {
      const end = endOfRun(text, index, CLASS.digit);
      if (end === index) break;
      this.groups.push({ start: index, end });
      this.digits += end - index;
      const next = endOfSeparator(text, end);
      if (next === end || this.groups.length === MAX_GROUPS) break;
      this.separators.push(text.slice(end, next));
      index = next;
    }
  }

  /** The words before it on its line, in small letters. */
  get before(): string {
    if (this.#before !== undefined) return this.#before;
    const words = this.text.slice(Math.max(0, this.start - BEFORE), this.start);
    return (this.#before = words.slice(words.lastIndexOf('\n') + 1).toLowerCase());
  }

  lengthOf(group: number): number {
    const { start, end } = this.groups[group] ?? { start: 0, end: 0 };
    return end - start;
  }
}

/** Where the next group begins; `end` where there is none. */
function endOfSeparator(text: string, end: number): number {
  if (!isAt(text, end, CLASS.separator) && text[end] !== '\u00a0') return end;
  if (isAt(text, end + 1, CLASS.digit)) return end + 1;
  return isAt(text, end + 2, CLASS.digit) && TWO_SEPARATORS.has(text.slice(end, end + 2)) ? end + 2 : end;
}

/** A number with dots or dashes in it that is nothing is nothing from its middle either. */
function endOfChain({ text, start, groups, separators }: Run): number {
  const [first] = groups;
  if (!first || text[start] === '(') return start + 1;
  let last = first.end;
  for (const [index, separator] of separators.entries()) {
    if (separator !== '.' && separator !== '-') break;
    last = groups[index + 1]?.end ?? last;
  }
  return last;
}

/** Names of machines and pods that clouds and clusters make of an address: `ip-10-0-0-1.ec2.internal`, `10-0-0-1.shop.pod`. */
const NAME_OF_POD = /\.[\w-]{1,63}\.pod\b/y;

function ipIn(run: Run, parse: typeof parseIp): Found | undefined {
  const { text, start, groups, separators } = run;
  const [a, b, c, separatorAfter] = separators;
  const [first, , , fourth] = groups;
  if (!first || !fourth || first.start !== start || a !== b || b !== c || separatorAfter === a) return undefined;
  if (isAt(text, fourth.end, CLASS.word)) return undefined;
  if (text[start - 1] === '.' && isAt(text, start - 2, CLASS.digit)) return undefined; // v1.2.3.4.5
  NAME_OF_POD.lastIndex = fourth.end;
  const isName = text.slice(Math.max(0, start - 3), start).toLowerCase() === 'ip-' || NAME_OF_POD.test(text);
  if (!(a === '.' || (a === '-' && isName))) return undefined;
  const ip = parse(text.slice(start, fourth.end).replaceAll('-', '.'));
  return ip && { start, end: fourth.end, kind: 'ip', ...ip };
}

function ssnIn(run: Run): Found | undefined {
  const [a, b, separatorAfter] = run.separators;
  const end = run.groups[2]?.end;
  if (end === undefined || run.lengthOf(0) !== 3 || run.lengthOf(1) !== 2 || run.lengthOf(2) !== 4) return undefined;
  if (a !== b || separatorAfter === a || !standsAlone(run, end)) return undefined;
  if (a !== '-' && !SPEAKS_OF_SSN.test(run.before)) return undefined;
  return { start: run.start, end, kind: 'ssn', canonical: digitsOf(run.text.slice(run.start, end)) };
}

function lonelySsnIn(run: Run): Found | undefined {
  const [group] = run.groups;
  if (!group || group.end - group.start !== 9 || !standsAlone(run, group.end)) return undefined;
  if (!SPEAKS_OF_SSN.test(run.before)) return undefined;
  return { start: run.start, end: group.end, kind: 'ssn', canonical: run.text.slice(group.start, group.end) };
}

function cardIn(run: Run): Found | undefined {
  const { text, groups, separators } = run;
  const [first] = groups;
  if (!first || (groups.length > 1 && first.end - first.start !== 4)) {
    // One number and then others: it alone may be a card.
    if (!first || separators[0] !== ' ' || first.end - first.start < 12) return undefined;
  }
  let digits = '';
  for (const [index, group] of groups.entries()) {
    if (index > 1 && separators[index - 1] !== separators[0]) break;
    if (index > 0 && separators[0] !== ' ' && separators[0] !== '-') break;
    digits += text.slice(group.start, group.end);
    if (digits.length > 19) break;
    // As they are printed: four by four, or 4-6-5.
    const isWhole = digits.length >= 12 && standsAlone(run, group.end);
    if (isWhole && isCardNumber(digits, SPEAKS_OF_CARDS.test(run.before))) {
      return { start: first.start, end: group.end, kind: 'card', canonical: digits };
    }
  }
  return undefined;
}

const ISO_DATE_LENGTH = 10;

/** `2026-11-25`, with which nearly every line of a log begins. */
function isIsoDateAt(text: string, start: number): boolean {
  if (text[start + 4] !== '-' || text[start + 7] !== '-' || isAt(text, start + ISO_DATE_LENGTH, CLASS.digit))
    return false;
  const century = text.slice(start, start + 2);
  if (century !== '20' && century !== '19') return false;
  return endOfRun(text, start + 5, CLASS.digit) === start + 7 && endOfRun(text, start + 8, CLASS.digit) === start + 10;
}

/** `2026-11-25`, `25.11.2026`, `11/25/2026`, alone or with more behind it. */
function isDate(run: Run): boolean {
  const [a, b] = run.separators;
  if (a !== b || (a !== '-' && a !== '.' && a !== '/')) return false;
  const yearAt = run.lengthOf(0) === 4 ? 0 : 2;
  if (run.lengthOf(yearAt) !== 4 || run.lengthOf(1) > 2 || run.lengthOf(2 - yearAt) > 2) return false;
  const year = run.groups[yearAt];
  return year !== undefined && /^(?:19|20)/.test(run.text.slice(year.start, year.end));
}

function phoneIn(run: Run, phones: PhoneNumbers): Found | undefined {
  const { text, start } = run;
  let digits = run.digits;
  for (let count = run.groups.length; count > 0; digits -= run.lengthOf(--count)) {
    const last = run.groups[count - 1];
    if (!last || digits < 6) break;
    if (digits > 17) continue;
    const separator = run.separators[count - 1];
    if (separator === '-' || separator === '.') continue; // it would be cut in the middle of a number
    const end = endOfExtension(text, last.end);
    const hasExtension = end > last.end;
    if (!(hasExtension || standsAlone(run, last.end))) continue;
    if (!isPhone({ run, count, digits, hasExtension, end: last.end }, phones)) continue;
    return { start, end, kind: 'phone', canonical: phones.canonical(text.slice(start, last.end)) };
  }
  return undefined;
}

/** The first groups of a run, which may be a telephone number. */
interface Candidate {
  readonly run: Run;
  readonly count: number;
  readonly digits: number;
  readonly hasExtension: boolean;
  readonly end: number;
}

/** Whether it is one by its form, by the words around it, or by what its country gives out. */
function isPhone({ run, count, digits, hasExtension, end }: Candidate, phones: PhoneNumbers): boolean {
  const { text, start, separators } = run;
  if (text[start] === '+') return digits >= 8 || (digits >= 7 && count > 1);
  if (digits > 15) return false;
  if (count === 1) return digits >= 7 && NAMES_A_PHONE.test(run.before);
  if (hasExtension && digits >= 7) return true;
  if (text[start] === '(' && digits >= 8 && separators[0]?.startsWith(')')) return true;
  const first = run.groups[0]?.start ?? start;
  const isSpaced = areAll(separators, count - 1, (separator) => separator === ' ' || separator === '\u00a0');
  if (text[first] === '0') {
    if (text[first + 1] === '0' && digits >= 10) return true;
    const areGroups = areAll(run.groups, count, (group) => group.end - group.start > 1);
    if (areGroups && digits >= 9 && digits <= 12) return true;
  }
  const isOneSeparator = areAll(separators, count - 1, (separator) => separator === separators[0]);
  if (isOneSeparator && !isSpaced && isNorthAmerican(run, count)) return true;
  if (SPEAKS_OF_PHONES.test(run.before) || FOLLOWED_BY_PHONE.test(after(run, end))) return true;
  // The whole of what stands there, or it is a column of numbers.
  const isWhole = isSpaced && count === run.groups.length && digits >= 9 && digits <= 12;
  return isWhole && phones.isGivenOut(text.slice(start, end));
}

/** 3-3-4, with or without a 1 before it. */
function isNorthAmerican(run: Run, count: number): boolean {
  const area = count - 3;
  if (area < 0 || area > 1 || (area === 1 && run.lengthOf(0) !== 1)) return false;
  return run.lengthOf(area) === 3 && run.lengthOf(area + 1) === 3 && run.lengthOf(area + 2) === 4;
}

function areAll<T>(items: readonly T[], count: number, is: (item: T) => boolean): boolean {
  for (let index = 0; index < count; index++) {
    const item = items[index];
    if (item !== undefined && !is(item)) return false;
  }
  return true;
}

const EXTENSION = / ?(?:x|ext\.? ?)\d{1,7}(?![\w])/iy;

function endOfExtension(text: string, index: number): number {
  EXTENSION.lastIndex = index;
  return EXTENSION.test(text) ? EXTENSION.lastIndex : index;
}

/** Whether a number is no part of something longer: of a word, a UUID, a time, a fraction. */
function standsAlone({ text, start }: Pick<Run, 'text' | 'start'>, end: number): boolean {
  const isJoined = (text[start - 1] === '-' || text[start - 1] === '.') && isAt(text, start - 2, CLASS.word);
  return !isJoined && endsAt(text, end);
}

function endsAt(text: string, end: number): boolean {
  if (isAt(text, end, CLASS.word)) return false;
  const isJoined = text[end] === ':' || text[end] === '.' || text[end] === '-' || text[end] === '_';
  return !isJoined || !isAt(text, end + 1, CLASS.word) || text[end] === ':';
}

function after({ text }: Run, end: number): string {
  return text.slice(end, end + AFTER).toLowerCase();
}

function digitsOf(text: string): string {
  return text.replace(/\D/g, '');
}
