import { describe, expect, it } from '@jest/globals';
import { fuzzPackages } from '../support/package-fuzzer.ts';

/** A million of them: npm run fuzz */
const RUNS = 10_000;

describe('mutated packages', () => {
  it('are never accepted, crash nothing, and are read as every reader reads them', () => {
    const { refused, parsed, sameBytes } = fuzzPackages({ runs: RUNS, seed: Date.now() % 2 ** 31 });
    const sum = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((a, b) => a + b, 0);
    expect(sum(parsed)).toBe(RUNS);
    expect(sum(refused)).toBeGreaterThanOrEqual(RUNS - sameBytes);
    // The mutations reach every gate: the form of the bundle, the signature, the grammar, the schema and its rules.
    expect(Object.keys(refused)).toEqual(
      expect.arrayContaining(['BUNDLE_MALFORMED', 'SIGNATURE_INVALID', 'KEY_HINT_INVALID']),
    );
    expect(Object.keys(parsed)).toEqual(expect.arrayContaining(['WPK_SYNTAX', 'WPK_SCHEMA', 'valid']));
  }, 240_000);
});
