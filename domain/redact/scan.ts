import { CLASS, endOfRun, isAt, startOfRun } from './characters.ts';
import { isMailDomain } from './email.ts';
import { ibanLength, isIban } from './iban.ts';
import { parseIp } from './ip.ts';
import type { Found } from './kinds.ts';
import { lookAtNumber } from './numbers.ts';
import { PhoneNumbers } from './phone.ts';
import { remember } from './remember.ts';
import { assignedSecretAt, bearerAt, cloudKeyAt, credentialsAt, JwtFinder, privateKeyAt } from './secrets.ts';

/** What can begin at a character. */
const WORD = 1;
const DIGIT = 7;
const NUMBER_SIGN = 2;
const AT = 3;
const COLON = 4;
const DASH = 5;
const PERCENT = 6;

const STARTS = new Uint8Array(128);
for (let code = 0; code < 128; code++) {
  const char = String.fromCharCode(code);
  if (isAt(char, 0, CLASS.letter)) STARTS[code] = WORD;
  if (isAt(char, 0, CLASS.digit)) STARTS[code] = DIGIT;
  if (char === '+' || char === '(') STARTS[code] = NUMBER_SIGN;
  if (char === '@') STARTS[code] = AT;
  if (char === ':') STARTS[code] = COLON;
  if (char === '-') STARTS[code] = DASH;
  if (char === '%') STARTS[code] = PERCENT;
}

/**
 * Everything in a text that is personal or secret, in order, no two overlapping.
 *
 * One walk over the text: a character says what can begin at it, and each look runs over characters once, over a few
 * characters that are bounded by a constant, or over what it then finds. So the time is linear in the length of the
 * text, whoever wrote it; no regular expression runs over more than a bounded piece.
 */
export function scan(text: string, phoneCountries: readonly string[]): Found[] {
  const all = new Findings();
  const jwts = new JwtFinder();
  const isDomain = remember(isMailDomain);
  const known = { parseIp: remember(parseIp), phones: new PhoneNumbers(phoneCountries) };
  let index = 0;
  while (index < text.length) {
    const code = text.charCodeAt(index);
    const starts = code < 128 ? STARTS[code] : 0;
    switch (starts) {
      case WORD: {
        const found = wordAt(text, index, jwts);
        const end = found ? found.end : endOfRun(text, index, CLASS.word);
        index = all.add(found ?? assignedSecretAt(text, end)) || end;
        break;
      }
      case DIGIT: {
        const look = lookAtNumber(text, index, known);
        if (typeof look !== 'number') {
          index = all.add(look);
          break;
        }
        // With letters right behind it, it is a word that begins with a digit.
        const end = endOfRun(text, look, CLASS.word);
        index = (end > look && all.add(assignedSecretAt(text, end))) || end;
        break;
      }
      case NUMBER_SIGN: {
        const isStart = !isAt(text, index - 1, CLASS.word);
        const look = isStart ? lookAtNumber(text, index, known) : index;
        // What is nothing with its sign may be something without it.
        index = typeof look === 'number' ? index + 1 : all.add(look);
        break;
      }
      case AT:
        index = all.add(mailAt(text, { at: index, domain: index + 1, first: all.lastAt }, isDomain)) || index + 1;
        all.lastAt = index;
        break;
      case PERCENT:
        // As it stands in URLs: user%40example.com
        if (text.startsWith('%40', index)) {
          index = all.add(mailAt(text, { at: index, domain: index + 3, first: all.lastAt }, isDomain)) || index + 3;
          all.lastAt = index;
        } else {
          index++;
        }
        break;
      case COLON:
        index = all.add(ipv6At(text, index, known.parseIp) ?? credentialsAt(text, index)) || index + 1;
        break;
      case DASH:
        index = all.add(privateKeyAt(text, index)) || index + 1;
        break;
      default:
        index++;
    }
  }
  return all.list;
}

/** What was found so far; a find that reaches back over earlier ones takes their place. */
class Findings {
  readonly list: Found[] = [];
  /** Behind the last `@`: no mail address reaches back over it. */
  lastAt = 0;

  /** @returns where to go on, 0 where there is nothing to add */
  add(found: Found | undefined): number {
    if (!found) return 0;
    let { start } = found;
    for (let last = this.list.at(-1); last && last.end > start; last = this.list.at(-1)) {
      start = Math.min(start, last.start);
      this.list.pop();
    }
    this.list.push(start === found.start ? found : { ...found, start });
    return found.end;
  }
}

function wordAt(text: string, start: number, jwts: JwtFinder): Found | undefined {
  return jwts.find(text, start) ?? cloudKeyAt(text, start) ?? bearerAt(text, start) ?? ibanAt(text, start);
}

/** The longest text of an address: eight groups, or six and an IPv4 address. */
const IPV6_LENGTH = 45;

/** @param colon the first one of the address */
function ipv6At(text: string, colon: number, parse: typeof parseIp): Found | undefined {
  const start = startOfRun(text, colon, CLASS.hex, Math.max(0, colon - 5));
  if (colon - start > 4 || (start === colon && text[colon + 1] !== ':')) return undefined;
  if (isAt(text, start - 1, CLASS.word) || text[start - 1] === ':') return undefined;
  let end = start;
  while (end < start + IPV6_LENGTH && (isAt(text, end, CLASS.hex) || text[end] === ':' || text[end] === '.')) end++;
  while (text[end - 1] === '.' || (text[end - 1] === ':' && text[end - 2] !== ':')) end--;
  if (isAt(text, end, CLASS.word) || end - start < 3) return undefined;
  const written = text.slice(start, end);
  // Asked first, because the parser takes its time to refuse: seven colons, or fewer of which two stand together.
  const colons = countOf(written, ':');
  if (colons < 2 || colons > 8 || (colons < 6 && !written.includes('::'))) return undefined;
  // Names of C++ and Perl are of the same form: dead::beef
  if (!/\d/.test(written) && (written.match(/[a-f]+/gi) ?? []).length < 3) return undefined;
  const ip = parse(written);
  return ip && { start, end, kind: 'ip', ...ip };
}

function countOf(text: string, char: string): number {
  let count = 0;
  for (const one of text) if (one === char) count++;
  return count;
}

function ibanAt(text: string, start: number): Found | undefined {
  if (
    !isAt(text, start + 1, CLASS.letter) ||
    !isAt(text, start + 2, CLASS.digit) ||
    !isAt(text, start + 3, CLASS.digit)
  ) {
    return undefined;
  }
  const length = ibanLength(text.slice(start, start + 2).toUpperCase());
  if (length === undefined) return undefined;
  let iban = '';
  let end = start;
  // In groups of four, as it is printed, or in one piece.
  while (iban.length < length) {
    const isGap = text[end] === ' ' || text[end] === '\u00a0' || text[end] === '-';
    if (isGap && isAt(text, end + 1, CLASS.word) && iban.length > 0) end++;
    if (!isAt(text, end, CLASS.word)) return undefined;
    iban += text.charAt(end++);
  }
  if (isAt(text, end, CLASS.word)) return undefined;
  const canonical = iban.toUpperCase();
  return isIban(canonical) ? { start, end, kind: 'iban', canonical } : undefined;
}

/** Where a mail address may be. */
interface MailPlace {
  /** The `@`. */
  readonly at: number;
  /** What follows it. */
  readonly domain: number;
  /** How far back it may reach. */
  readonly first: number;
}

function mailAt(text: string, { at, domain, first }: MailPlace, isDomain: typeof isMailDomain): Found | undefined {
  let start = startOfLocalPart(text, at, first);
  while (start < at && (text[start] === '.' || text[start] === "'" || text[start] === '%')) start++;
  if (start === at) return undefined;
  let end = domain;
  while (isDomainAt(text, end)) end++;
  while (end > domain && (text[end - 1] === '.' || text[end - 1] === '-')) end--;
  if (!isDomain(text.slice(domain, end))) return undefined;
  return { start, end, kind: 'email', canonical: `${text.slice(start, at)}@${text.slice(domain, end)}`.toLowerCase() };
}

function startOfLocalPart(text: string, at: number, first: number): number {
  let start = at;
  do start = startOfRun(text, start, CLASS.local, first);
  while (start > first && text.charCodeAt(start - 1) >= 0xc0 && start-- > 0);
  return start;
}

function isDomainAt(text: string, index: number): boolean {
  const code = text.charCodeAt(index);
  return isAt(text, index, CLASS.word) || code === 0x2d || code === 0x2e || (code >= 0xc0 && code < 0x3000);
}
