import { ConnectorError } from './errors.ts';
import { toPointer } from './json-pointer.ts';

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

export interface JsonLimits {
  /** Largest input, in bytes. */
  readonly maxBytes: number;
  /** How many arrays and objects may be open at once; below some thousands, because the parser recurses. */
  readonly maxDepth: number;
  /** How many values the whole may hold, and members one array or object: what bounds the time for a dense document. */
  readonly maxValues: number;
  readonly maxMembers: number;
}

/** Where an offset of a text is; lines and columns count from 1, columns in UTF-16 units, as editors do. */
export function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  let line = 1;
  let lineStart = 0;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) {
    line += 1;
    lineStart = at + 1;
  }
  return { line, column: offset - lineStart + 1 };
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const HEX4 = /[0-9a-fA-F]{4}/y;
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The single pass over a text that `parseStrictJson` (./json.ts) makes; recursive, as deep as `maxDepth` allows. */
export class JsonParser {
  /** Where the sought value and its key start, or those of its nearest enclosing value. */
  foundAt = 0;
  foundKeyAt = 0;

  private readonly text: string;
  private readonly limits: JsonLimits;
  private readonly sought: readonly string[];
  private readonly searching: boolean;
  private readonly path: (string | number)[] = [];
  private at = 0;
  private values = 0;

  /** @param sought the path to find; the value is of no use then */
  constructor(text: string, limits: JsonLimits, sought?: readonly string[]) {
    this.text = text;
    this.limits = limits;
    this.sought = sought ?? [];
    this.searching = sought !== undefined;
  }

  document(): JsonValue {
    if (this.text.charCodeAt(0) === 0xfeff) throw this.error('a byte-order mark is not allowed', 0);
    this.skipSpace();
    this.foundAt = this.at;
    this.foundKeyAt = this.at;
    const value = this.parseValue(true);
    this.skipSpace();
    if (this.at < this.text.length) throw this.error(`${this.describeNext()} after the end of the document`);
    return value;
  }

  /** @param sought whether the path so far is the beginning of the sought one */
  private parseValue(sought: boolean): JsonValue {
    this.values += 1;
    if (this.values > this.limits.maxValues) throw this.error(`more than ${this.limits.maxValues} values`);
    switch (this.text[this.at]) {
      case '{':
        return this.parseObject(sought);
      case '[':
        return this.parseArray(sought);
      case '"':
        return this.parseString();
      case 't':
        return this.parseWord('true', true);
      case 'f':
        return this.parseWord('false', false);
      case 'n':
        return this.parseWord('null', null);
      default:
        return this.parseNumber();
    }
  }

  private parseObject(sought: boolean): JsonValue {
    this.open();
    const object = newObject();
    if (this.text[this.at] === '}') return this.close(object);
    for (let members = 1; ; members += 1) {
      this.countMembers(members);
      const keyAt = this.at;
      if (this.text[keyAt] !== '"') throw this.error(`expected a key in double quotes, found ${this.describeNext()}`);
      const key = this.parseString();
      this.path.push(key);
      // With this key refused an assignment only ever makes an own property, whatever its name (`constructor`, …).
      if (key === '__proto__') throw this.error('the key "__proto__" is not allowed', keyAt);
      if (Object.hasOwn(object, key)) throw this.error(`duplicate key ${quote(key)}`, keyAt);
      this.skipSpace();
      this.expect(':', 'after a key');
      const value = this.parseMember(key, sought, keyAt);
      // A search is for places only, in a text that was parsed before; hash tables are what costs most.
      if (!this.searching) object[key] = value;
      this.path.pop();
      if (this.text[this.at] === '}') return this.close(object);
      this.expect(',', 'or } in an object');
    }
  }

  private parseArray(sought: boolean): JsonValue {
    this.open();
    const array: JsonValue[] = [];
    if (this.text[this.at] === ']') return this.close(array);
    for (;;) {
      this.countMembers(array.length + 1);
      this.path.push(array.length);
      array.push(this.parseMember(array.length, sought, this.at));
      this.path.pop();
      if (this.text[this.at] === ']') return this.close(array);
      this.expect(',', 'or ] in an array');
    }
  }

  /** A value inside an object or an array, with the space around it. */
  private parseMember(key: string | number, sought: boolean, keyAt: number): JsonValue {
    const depth = this.path.length;
    const onPath = sought && depth <= this.sought.length && this.sought[depth - 1] === String(key);
    if (onPath) {
      this.foundAt = this.at;
      this.foundKeyAt = keyAt;
    }
    const value = this.parseValue(onPath);
    this.skipSpace();
    return value;
  }

  private countMembers(count: number): void {
    const { maxMembers } = this.limits;
    if (count > maxMembers) throw this.error(`more than ${maxMembers} members in one array or object`);
  }

  private open(): void {
    const { maxDepth } = this.limits;
    if (this.path.length >= maxDepth) throw this.error(`nested more than ${maxDepth} levels deep`);
    this.at += 1;
    this.skipSpace();
  }

  private close<T extends JsonValue>(value: T): T {
    this.at += 1;
    return value;
  }

  private expect(character: ',' | ':', where: string): void {
    if (this.text[this.at] !== character) {
      throw this.error(`expected ${character} ${where}, found ${this.describeNext()}`);
    }
    this.at += 1;
    this.skipSpace();
  }

  private parseWord<T extends JsonValue>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) throw this.error(`expected a value, found ${this.describeNext()}`);
    this.at += word.length;
    return value;
  }

  private parseNumber(): number {
    NUMBER.lastIndex = this.at;
    if (!NUMBER.test(this.text)) throw this.error(`expected a value, found ${this.describeNext()}`);
    const value = Number(this.text.slice(this.at, NUMBER.lastIndex));
    if (!Number.isFinite(value)) throw this.error('the number is too large');
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      throw this.error('the number is beyond ±(2^53 - 1) and would lose digits');
    }
    this.at = NUMBER.lastIndex;
    return value;
  }

  private parseString(): string {
    const start = this.at;
    let result = '';
    let from = start + 1;
    for (let at = from; at < this.text.length; at += 1) {
      const unit = this.text.charCodeAt(at);
      if (unit === QUOTE) {
        this.at = at + 1;
        if (from === start + 1) return this.text.slice(from, at);
        result += this.text.slice(from, at);
        if (!result.isWellFormed()) throw this.error('an escaped surrogate without its other half', start);
        return result;
      }
      if (unit < 0x20) throw this.error('a control character in a string must be escaped', at);
      if (unit === BACKSLASH) {
        result += this.text.slice(from, at) + this.parseEscape(at);
        from = this.at;
        at = from - 1;
      }
    }
    throw this.error('the string does not end', start);
  }

  /** The character that the escape at `at` stands for; leaves `this.at` behind it. */
  private parseEscape(at: number): string {
    const letter = this.text[at + 1] ?? '';
    this.at = at + 2;
    const simple = ESCAPES.get(letter);
    if (simple !== undefined) return simple;
    HEX4.lastIndex = this.at;
    if (letter !== 'u' || !HEX4.test(this.text)) throw this.error('an escape that JSON does not have', at);
    this.at += 4;
    return String.fromCharCode(Number.parseInt(this.text.slice(at + 2, this.at), 16));
  }

  private skipSpace(): void {
    for (;;) {
      const unit = this.text.charCodeAt(this.at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
      this.at += 1;
    }
  }

  private describeNext(): string {
    const code = this.text.codePointAt(this.at);
    return code === undefined ? 'the end' : quote(String.fromCodePoint(code));
  }

  private error(problem: string, at = this.at): ConnectorError {
    const path = toPointer(this.path);
    const sentence = `${problem.charAt(0).toUpperCase()}${problem.slice(1)}.`;
    return new ConnectorError('WPK_SYNTAX', sentence, {
      // A pointer of a hostile document may be as long as the document.
      place: { ...lineAndColumn(this.text, at), ...(path && path.length <= 512 ? { path } : {}) },
    });
  }
}

/**
 * An ordinary empty object, kept as a hash table by V8: as `{}` each new combination of keys would get a hidden class,
 * and a document of ever new keys took 0.2 s.
 */
function newObject(): { [key: string]: JsonValue } {
  return Object.setPrototypeOf(Object.create(null), Object.prototype) as { [key: string]: JsonValue };
}

/** A text as JSON shows it, cut to what a message can bear. */
export function quote(text: string): string {
  return JSON.stringify(text.length <= 64 ? text : `${text.slice(0, 64)}…`);
}
