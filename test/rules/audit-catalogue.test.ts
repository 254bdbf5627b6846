import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { AUDIT_CATALOGUE } from '../../domain/audit-catalogue.ts';

// R9, R20

const DOCUMENT = join(import.meta.dirname, '../../docs/audit.md');

describe('the catalogue of event types', () => {
  it('is what docs/audit.md shows to auditors, row by row', async () => {
    const document = await readFile(DOCUMENT, 'utf8');
    const rows = Object.entries(AUDIT_CATALOGUE).map(([type, { tells, detail }]) => {
      const fields = Object.entries(detail.shape).map(([name, field]) => `${name}${field.isOptional() ? '?' : ''}`);
      return `| \`${type}\` | ${tells} | ${fields.map((name) => `\`${name}\``).join(' ')} |`;
    });
    const shown = document.split('\n').filter((line) => /^\| `[a-z]+\.[a-z-]+` \|/.test(line));
    expect(shown).toEqual(rows);
  });
});
