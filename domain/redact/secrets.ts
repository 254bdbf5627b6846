import { CLASS, endOfRun, isAt } from './characters.ts';
import type { Found } from './kinds.ts';

/** Prefixes by which providers mark their keys, and how long what follows must be at least. */
const CLOUD_KEYS: readonly (readonly [prefix: string, minLength: number])[] = [
  ...['AKIA', 'ASIA', 'ABIA', 'ACCA'].map((prefix) => [prefix, 16] as const), // AWS
  ['AIza', 30], // Google: API key, OAuth token, client secret
  ['ya29', 20],
  ['GOCSPX', 20],
  ...['ghp', 'gho', 'ghu', 'ghs', 'ghr'].map((prefix) => [`${prefix}_`, 30] as const), // GitHub
  ['github_pat_', 20],
  ['glpat-', 20], // GitLab
  ...['xoxb', 'xoxp', 'xoxa', 'xoxr', 'xoxs', 'xapp'].map((prefix) => [`${prefix}-`, 10] as const), // Slack
  ...['sk_live_', 'rk_live_', 'sk_test_', 'rk_test_'].map((prefix) => [prefix, 10] as const), // Stripe
  ...['sk-ant-', 'sk-proj-'].map((prefix) => [prefix, 20] as const),
  ...['hvs', 'hvb', 'hvr'].map((prefix) => [`${prefix}.`, 20] as const), // Vault
  ['npm_', 30],
  ['pypi-', 40],
  ['dop_v1_', 40], // DigitalOcean
  ['SG.', 40], // SendGrid
];

/** Which two characters one of them begins with: nearly every word is none by these. */
const BEGINNINGS = new Uint8Array(128 * 128);
for (const [prefix] of CLOUD_KEYS) BEGINNINGS[prefix.charCodeAt(0) * 128 + prefix.charCodeAt(1)] = 1;

/** A key of a cloud or service, by its prefix. */
export function cloudKeyAt(text: string, start: number): Found | undefined {
  const first = text.charCodeAt(start);
  const second = text.charCodeAt(start + 1);
  if (!(second < 128) || BEGINNINGS[first * 128 + second] !== 1) return undefined;
  for (const [prefix, minLength] of CLOUD_KEYS) {
    if (!text.startsWith(prefix, start)) continue;
    const end = endOfRun(text, start + prefix.length, CLASS.token);
    if (end - start - prefix.length >= minLength) return secret('cloud-key', text, start, end);
  }
  return undefined;
}

/** Looks for JSON Web Tokens (RFC 7515, RFC 7516); remembers where there can be none, so as not to look twice. */
export class JwtFinder {
  #noneBefore = 0;

  find(text: string, start: number): Found | undefined {
    if (text.charCodeAt(start) !== 0x65 || start < this.#noneBefore || !text.startsWith('eyJ', start)) return undefined;
    let end = endOfRun(text, start, CLASS.base64url);
    let parts = 1;
    while (text[end] === '.' && parts < 5) {
      end = endOfRun(text, end + 1, CLASS.base64url);
      parts++;
    }
    if (parts >= 3) return secret('jwt', text, start, end);
    this.#noneBefore = end; // whatever begins within ends in the same way
    return undefined;
  }
}

const SCHEME = /(?:bearer|basic) {1,4}/iy;
/** Enough of it to find the colon behind the name. */
const BASIC_LENGTH = 128;

/** `Bearer …` and `Basic …`, as they stand in headers (RFC 6750, RFC 7617); words of a sentence are none. */
export function bearerAt(text: string, start: number): Found | undefined {
  const first = text.charCodeAt(start) | 0x20;
  if (first !== 0x62) return undefined; // a b; most words end here
  SCHEME.lastIndex = start;
  if (!SCHEME.test(text)) return undefined;
  const from = SCHEME.lastIndex;
  const end = endOfRun(text, from, CLASS.token);
  const isBasic = (text.charCodeAt(start + 1) | 0x20) === 0x61; // an a
  const isToken = isBasic ? holdsNameAndPassword(text.slice(from, end)) : looksRandom(text.slice(from, end));
  return isToken ? secret('bearer', text, from, end) : undefined;
}

function holdsNameAndPassword(base64: string): boolean {
  try {
    const some = base64.slice(0, BASIC_LENGTH);
    return atob(some.slice(0, some.length - (some.length % 4))).includes(':');
  } catch {
    return false;
  }
}

function looksRandom(token: string): boolean {
  if (token.length < 8 || /^[A-Z]?[a-z]+[.]?$/.test(token)) return false;
  return token.length >= 20 || /[0-9]/.test(token);
}

const KEY_BEGIN = /-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----/y;
const KEY_END = /-----END [A-Z0-9 ]{0,48}-----/y;

/** A private key in PEM (RFC 7468); one whose end is missing goes as far as it may be one. */
export function privateKeyAt(text: string, start: number): Found | undefined {
  KEY_BEGIN.lastIndex = start;
  if (!KEY_BEGIN.test(text)) return undefined;
  let end = KEY_BEGIN.lastIndex;
  for (;;) {
    end = endOfRun(text, end, CLASS.pem);
    if (text[end] !== '-' || text.startsWith('-----', end)) break;
    end++; // of DEK-Info: AES-128-CBC
  }
  KEY_END.lastIndex = end;
  return secret('private-key', text, start, KEY_END.test(text) ? KEY_END.lastIndex : end);
}

/** Name and password in a URL (RFC 3986, section 3.2.1). @param colon of `://` */
export function credentialsAt(text: string, colon: number): Found | undefined {
  if (text[colon + 1] !== '/' || text[colon + 2] !== '/' || !isAt(text, colon - 1, CLASS.word)) return undefined;
  const start = colon + 3;
  let at = -1;
  let end = start;
  for (; end < text.length; end++) {
    const char = text[end];
    if (char === '@') at = end;
    // A password may hold what should have been escaped; after a port or a bare name the path begins.
    if (char === '/' && (at >= 0 || !/:(?!\d{1,5}$)[^/]*$/.test(text.slice(Math.max(start, end - 64), end)))) break;
    if (char === undefined || isEndOfUrl(char)) break;
  }
  return at > start ? secret('credentials', text, start, at) : undefined;
}

function isEndOfUrl(char: string): boolean {
  return char <= ' ' || '"\'<>`?#'.includes(char);
}

const SPACE = 0x20;
const SECRET_NAME =
  /(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|private|account|signing|encryption|subscription|shared)[-_]?key|credentials?|authorization|cookie|[?&;]sig)$/i;
/** How much of a name is looked at. */
const NAME_LENGTH = 40;
const SCHEME_WORD = /(?:bearer|basic|token|digest|negotiate|apikey)$/i;

/** What is given to a name that says it is secret: `password=…`, `"api_key": "…"`. @param end of the name's last word */
export function assignedSecretAt(text: string, end: number): Found | undefined {
  // Most words end here: behind them is nothing of this, or a space and then nothing of this.
  if (!isAt(text, end, CLASS.assigning)) return undefined;
  if (text.charCodeAt(end) === SPACE && !isAt(text, end + 1, CLASS.assigning)) return undefined;
  let index = endOfSpaces(text, end + quoteAt(text, end).length);
  if (text[index] !== ':' && text[index] !== '=') return undefined;
  if (text[index] === ':' && text[index + 1] === '/') return undefined;
  if (!SECRET_NAME.test(text.slice(Math.max(0, end - NAME_LENGTH), end))) return undefined;
  index = endOfSpaces(text, index + 1);
  const quote = quoteAt(text, index);
  if (quote !== '') {
    const start = index + quote.length;
    const close = endOfQuoted(text, start, quote);
    return close > start ? secret('secret', text, start, close) : undefined;
  }
  let close = endOfRun(text, index, CLASS.value);
  if (text[close] === ' ' && SCHEME_WORD.test(text.slice(index, close))) {
    index = endOfSpaces(text, close);
    close = endOfRun(text, index, CLASS.value);
  }
  const value = text.slice(index, close);
  if (close === index || /^(?:true|false|null|none|nil|undefined|\d{1,4})$/i.test(value)) return undefined;
  return secret('secret', text, index, close);
}

/** A quote, also one that is escaped because it is in quotes itself; empty where there is none. */
function quoteAt(text: string, index: number): string {
  const char = text[index];
  if (char === '"' || char === "'") return char;
  return char === '\\' && text[index + 1] === '"' ? '\\"' : '';
}

/** Where the text in quotes ends: at the same quote, at the end of the line, or where nobody writes so long a secret. */
function endOfQuoted(text: string, start: number, quote: string): number {
  const last = Math.min(text.length, start + 4096);
  for (let index = start; index < last; index++) {
    const char = text[index];
    if (char === '\n') return index;
    if (text.startsWith(quote, index)) return index;
    if (char === '\\') index++;
  }
  return last;
}

function endOfSpaces(text: string, index: number): number {
  let end = index;
  while (end < index + 4 && (text[end] === ' ' || text[end] === '\t')) end++;
  return end;
}

function secret(kind: Found['kind'], text: string, start: number, end: number): Found {
  return { kind, start, end, canonical: text.slice(start, end) };
}
