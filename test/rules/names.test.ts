import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { AUDIT_CATALOGUE } from '../../domain/audit-catalogue.ts';
import { taskQueueOf, VERSION, workflowIdOf } from '../../domain/names.ts';
import { printable } from '../../domain/printable.ts';

describe('names that other programs rely on', () => {
  it('are what they were', () => {
    expect(workflowIdOf('prod-eu-1', '01JD0000000000000000000000')).toBe('wpk/prod-eu-1/01JD0000000000000000000000');
    expect(taskQueueOf('prod-eu-1', 'execution')).toBe('byoc.prod-eu-1.execution');
  });

  it('have the version of the package', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
    expect(VERSION).toBe(version);
  });

  it.each(['succeeded', 'denied', 'rejected', 'expired', 'failed', 'rolled-back', 'stopped'])(
    'include an audit event for a package that %s',
    (phase) => {
      expect(AUDIT_CATALOGUE).toHaveProperty([`package.${phase}`]);
    },
  );
});

describe('text from outside', () => {
  it.each([
    ['a line break', 'a\nb', 'a\\u000ab'],
    ['an ANSI sequence', '\u001b[31mred', '\\u001b[31mred'],
    ['a separator that some logs break at', 'a\u2028b', 'a\\u2028b'],
    ['a mark that turns the direction of text', 'a\u202eb', 'a\\u202eb'],
  ])('shows %s instead of obeying it', (_, text, shown) => {
    expect(printable(text)).toBe(shown);
  });
});
