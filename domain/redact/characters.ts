/** Classes of characters, and how far a run of one goes. All of the redactor's walking over text is done by these. */

const DIGIT = 1;
const LETTER = 2;
/** Of base64url: `-` and `_`. */
const URL_SAFE = 4;
/** Of a token as RFC 6750 has it: `.~+/=` besides base64url. */
const TOKEN = 8;
/** Of the local part of a mail address, as far as people use it: `.%+'` besides base64url. */
const LOCAL = 16;
const HEX = 32;
/** Between the lines of a private key, also where line ends are written as escapes. */
const PEM = 64;
/** Of what follows `key=`: all but white space, quotes and what separates one pair from the next. */
const VALUE = 128;

/** Between the groups of a number. */
const SEPARATOR = 256;
/** Between a name and what is given to it. */
const ASSIGNING = 512;

const CLASSES = new Uint16Array(128);
const add = (cls: number, chars: string) => {
  for (const char of chars) CLASSES[char.charCodeAt(0)] = (CLASSES[char.charCodeAt(0)] ?? 0) | cls;
};
const DIGITS = '0123456789';
const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
add(DIGIT, DIGITS);
add(LETTER, LETTERS);
add(URL_SAFE, '-_');
add(TOKEN, `${DIGITS}${LETTERS}-._~+/=`);
add(LOCAL, `${DIGITS}${LETTERS}-_.%+'`);
add(HEX, `${DIGITS}abcdefABCDEF`);
add(PEM, `${DIGITS}${LETTERS}+/=\\:, \t\r\n`);
add(SEPARATOR, ' -./()');
add(ASSIGNING, ' \t:="\'\\');
for (let code = 0x21; code < 0x7f; code++) {
  if (!'"\'`,;&<>()[]{}|'.includes(String.fromCharCode(code))) {
    CLASSES[code] = (CLASSES[code] ?? 0) | VALUE;
  }
}

export const CLASS = {
  digit: DIGIT,
  word: DIGIT | LETTER,
  letter: LETTER,
  base64url: DIGIT | LETTER | URL_SAFE,
  token: TOKEN,
  local: LOCAL,
  hex: HEX,
  pem: PEM,
  value: VALUE,
  separator: SEPARATOR,
  assigning: ASSIGNING,
} as const;

/** Whether the character at a place is of a class; nothing is beyond the text, and no class holds what is not ASCII. */
export function isAt(text: string, index: number, cls: number): boolean {
  const code = text.charCodeAt(index);
  return code < 128 && ((CLASSES[code] ?? 0) & cls) !== 0;
}

/** Where the run of a class that begins at `index` ends, before `limit`. */
export function endOfRun(text: string, index: number, cls: number, limit = text.length): number {
  const last = Math.min(text.length, limit);
  let end = index;
  for (; end < last; end++) {
    const code = text.charCodeAt(end);
    if (code >= 128 || ((CLASSES[code] ?? 0) & cls) === 0) break;
  }
  return end;
}

/** Where the run of a class that ends at `index` starts, not before `first`. */
export function startOfRun(text: string, index: number, cls: number, first: number): number {
  let start = index;
  while (start > first && isAt(text, start - 1, cls)) start--;
  return start;
}
