import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { generateWpkSchema, SCHEMA_FILE } from '../../dev/generate-schema.ts';

describe('the published JSON Schema of the work package', () => {
  it('is the one that the code generates; if not: node dev/generate-schema.ts', async () => {
    expect(await readFile(SCHEMA_FILE, 'utf8')).toBe(generateWpkSchema());
  });
});
