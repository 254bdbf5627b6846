import { ConnectorError } from './errors.ts';
import type { JsonLimits, JsonValue } from './json-parser.ts';
import { JsonParser, lineAndColumn } from './json-parser.ts';
import { pointerSegments } from './json-pointer.ts';

/**
 * JSON as RFC 8259 has it and stricter, because what is parsed here was signed: every reader of the same bytes must
 * come to the same value. Beyond the grammar it refuses duplicate keys, the key `__proto__`, numbers that a double
 * cannot hold (RFC 8785 section 3.1 could not hash them either), lone surrogates, byte-order marks and deep nesting.
 *
 * Why a parser of our own: `JSON.parse` keeps the last of duplicate keys and says nothing. @humanwhocodes/momoa, which
 * keeps places, makes an object for each token (0.9 s for 1 MiB of `0,0,0,…`, where 0.1 s is all that a hostile one
 * may cost) and overflows the stack on nesting. This one is a single pass without backtracking, and keeps no places:
 * `locate` reads the text again, which only an error needs.
 */

export interface ParsedJson {
  readonly value: JsonValue;
  /**
   * Where the value that a JSON pointer (RFC 6901) names starts, or its key with `of` = 'key'; the nearest enclosing
   * value where it does not exist. Lines and columns count from 1, columns in UTF-16 units, as editors do.
   */
  locate(pointer: string, of?: 'value' | 'key'): { line: number; column: number };
}

/**
 * Parses bytes as strict JSON.
 * @throws {ConnectorError} WPK_TOO_LARGE over `maxBytes`; WPK_SYNTAX, with line and column, for everything else.
 */
export function parseStrictJson(bytes: Uint8Array, limits: JsonLimits): ParsedJson {
  if (bytes.length > limits.maxBytes) {
    throw new ConnectorError('WPK_TOO_LARGE', `It has ${bytes.length} bytes; ${limits.maxBytes} are allowed.`);
  }
  const text = decodeUtf8(bytes);
  const value = new JsonParser(text, limits).document();
  return {
    value,
    locate(pointer, of = 'value') {
      const search = new JsonParser(text, limits, pointerSegments(pointer));
      search.document();
      return lineAndColumn(text, of === 'key' ? search.foundKeyAt : search.foundAt);
    },
  };
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    // With ignoreBOM the mark stays in the text, where the grammar has no place for it.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    const lossy = new TextDecoder('utf-8', { ignoreBOM: true });
    const repaired = new TextEncoder().encode(lossy.decode(bytes));
    const wrongByte = bytes.findIndex((byte, index) => byte !== repaired[index]);
    const before = lossy.decode(bytes.subarray(0, wrongByte === -1 ? bytes.length : wrongByte));
    throw new ConnectorError('WPK_SYNTAX', 'The bytes are not UTF-8.', { place: lineAndColumn(before, before.length) });
  }
}
