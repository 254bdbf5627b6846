import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseStrictJson } from '../../domain/json.ts';
import { errorOf } from '../support/expect-code.ts';
import { describeVectors } from '../support/vectors.ts';
import { vectorsAt } from '../support/vectors-at.ts';

const LIMITS = { maxBytes: 1024 * 1024, maxDepth: 64, maxValues: 100_000, maxMembers: 5_000 };
const parse = (text: string | Uint8Array) =>
  parseStrictJson(typeof text === 'string' ? new TextEncoder().encode(text) : text, LIMITS);
const bytes = (...values: number[]) => Uint8Array.from(values);

describe('strict JSON', () => {
  it('reads every value that JSON can write as JSON.parse does', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), fc.constantFrom(0, 2, '\t'), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        fc.pre(!text.includes('__proto__') && !/\\ud[89a-f]/.test(text));
        const expected: unknown = JSON.parse(text);
        fc.pre(onlySafeNumbers(expected));
        expect(parse(text).value).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });

  it('refuses every text that JSON.parse refuses', () => {
    const nearJson = fc
      .tuple(
        fc.jsonValue({ maxDepth: 3 }),
        fc.nat(),
        fc.constantFrom('', ',', '}', ']', '"', ':', '-', '0', 'e', '\\', '\n', '\u00a0'),
      )
      .map(([value, place, insert]) => {
        const text = JSON.stringify(value);
        const at = place % (text.length + 1);
        return text.slice(0, at) + insert + text.slice(at + (place % 2));
      });
    fc.assert(
      fc.property(nearJson, (text) => {
        let refused = false;
        try {
          JSON.parse(text);
        } catch {
          refused = true;
        }
        if (refused) expect(errorOf(() => parse(text)).code).toBe('WPK_SYNTAX');
      }),
      { numRuns: 2_000 },
    );
  });

  it('answers any bytes with a value or with WPK_SYNTAX and a place', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (input) => {
        try {
          parse(input);
        } catch {
          const { code, place } = errorOf(() => parse(input));
          expect(code).toBe('WPK_SYNTAX');
          expect(place?.line).toBeGreaterThan(0);
          expect(place?.column).toBeGreaterThan(0);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ['a duplicate key', '{"a":1,\n "a":2}', 'Duplicate key "a".', 2, 2],
    ['a duplicate key written with an escape', '{"a":1,"\\u0061":2}', 'Duplicate key "a".', 1, 8],
    ['a duplicate of a key named as a method', '{"toString":1,"toString":1}', 'Duplicate key "toString".', 1, 15],
    ['the key __proto__', '{"a":{"__proto__":1}}', 'The key "__proto__" is not allowed.', 1, 7],
    ['the key __proto__ written with escapes', '{"\\u005f_proto__":1}', 'The key "__proto__" is not allowed.', 1, 2],
    [
      'an integer that a double cannot hold',
      '9007199254740993',
      'The number is beyond ±(2^53 - 1) and would lose digits.',
      1,
      1,
    ],
    ['a number without end', '[\n1e999]', 'The number is too large.', 2, 1],
    ['half a surrogate pair', '"\\ud800"', 'An escaped surrogate without its other half.', 1, 1],
    ['a surrogate pair the wrong way round', '"\\udc00\\ud800"', 'An escaped surrogate without its other half.', 1, 1],
    ['a byte-order mark', '\ufeff{}', 'A byte-order mark is not allowed.', 1, 1],
    ['trailing bytes', '{}\n\u0000', '"\\u0000" after the end of the document.', 2, 1],
    ['nothing at all', '', 'Expected a value, found the end.', 1, 1],
    ['a comment', '{ // no\n}', 'Expected a key in double quotes, found "/".', 1, 3],
    ['a trailing comma', '[1,]', 'Expected a value, found "]".', 1, 4],
    ['a raw line feed in a string', '"a\nb"', 'A control character in a string must be escaped.', 1, 3],
  ])('refuses %s and says where', (_what, text, detail, line, column) => {
    const error = errorOf(() => parse(text));
    expect(error.code).toBe('WPK_SYNTAX');
    expect(error.detail).toBe(detail);
    expect(error.place).toMatchObject({ line, column });
  });

  it.each([
    ['an overlong form', bytes(0x22, 0xc0, 0xaf, 0x22), 2],
    ['a surrogate in UTF-8', bytes(0x22, 0xed, 0xa0, 0x80, 0x22), 2],
    ['a lone continuation byte after a character', bytes(0x22, 0xc3, 0xa9, 0x80, 0x22), 3],
    ['a sequence that is cut off', bytes(0x22, 0x61, 0xe2, 0x82), 3],
    ['UTF-16', bytes(0xff, 0xfe, 0x7b, 0x00), 1],
  ])('refuses bytes that are not UTF-8: %s', (_what, input, column) => {
    const error = errorOf(() => parse(input));
    expect(error.detail).toBe('The bytes are not UTF-8.');
    expect(error.place).toMatchObject({ line: 1, column });
  });

  it('keeps keys that name members of every object as plain data', () => {
    const { value } = parse('{"constructor":{"prototype":1},"hasOwnProperty":2}');
    expect(Object.keys(value as object)).toEqual(['constructor', 'hasOwnProperty']);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)['prototype']).toBeUndefined();
  });

  it('allows what a limit allows and refuses one more', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    expect(parse(nested(64)).value).toHaveLength(1);
    expect(errorOf(() => parse(nested(65))).detail).toBe('Nested more than 64 levels deep.');
    const members = (count: number) => JSON.stringify(Array.from({ length: count }, () => 0));
    expect(parse(members(5_000)).value).toHaveLength(5_000);
    expect(errorOf(() => parse(members(5_001))).detail).toBe('More than 5000 members in one array or object.');
    const text = (length: number) => `"${'x'.repeat(length - 2)}"`;
    expect(parse(text(LIMITS.maxBytes)).value).toHaveLength(LIMITS.maxBytes - 2);
    expect(errorOf(() => parse(text(LIMITS.maxBytes + 1))).code).toBe('WPK_TOO_LARGE');
  });

  it('finds values and keys again by their pointer, and the nearest around one that is not there', () => {
    const { locate } = parse('{\n  "a/b": [1,\n    {"~": true}]\n}');
    expect(locate('/a~1b/1/~0')).toEqual({ line: 3, column: 11 });
    expect(locate('/a~1b/1/~0', 'key')).toEqual({ line: 3, column: 6 });
    expect(locate('/a~1b/1/missing')).toEqual({ line: 3, column: 5 });
    expect(locate('')).toEqual({ line: 1, column: 1 });
  });
});

const vectors = vectorsAt('json-parsing', 'test_parsing');

describeVectors('the published JSON parsing vectors', vectors, () => {
  // What the grammar allows and strictness does not.
  const REFUSED_BY_US = [
    'y_object_duplicated_key.json',
    'y_object_duplicated_key_and_value.json',
    // Integers beyond 2^53, such as 1E22.
    'y_number.json',
    'y_number_real_capital_e.json',
    'y_number_real_exponent.json',
    'y_number_real_fraction_exponent.json',
    'y_object_extreme_numbers.json',
  ];
  const names = existsSync(vectors) ? readdirSync(vectors) : [];
  const load = (name: string) => new Uint8Array(readFileSync(join(vectors, name)));

  it.each(names.filter((name) => name.startsWith('n_') || REFUSED_BY_US.includes(name)))('refuses %s', (name) => {
    expect(errorOf(() => parse(load(name))).code).toBe('WPK_SYNTAX');
  });

  it.each(names.filter((name) => name.startsWith('y_') && !REFUSED_BY_US.includes(name)))('accepts %s', (name) => {
    expect(parse(load(name)).value).toEqual(JSON.parse(new TextDecoder().decode(load(name))));
  });
});

function onlySafeNumbers(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isInteger(value) || Number.isSafeInteger(value);
  return typeof value !== 'object' || value === null || Object.values(value).every(onlySafeNumbers);
}
