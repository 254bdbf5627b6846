import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ALERTS } from '../../domain/alerts.ts';
import { ERRORS } from '../../domain/errors.ts';
import { NEEDED, PARTS } from '../../domain/health.ts';

// R25

const ROOT = join(import.meta.dirname, '../..');
const text = readFileSync(join(ROOT, 'docs/degraded.md'), 'utf8');

/** The rows below a heading, by column. */
function rowsOf(heading: string): string[][] {
  const [, section = ''] = text.split(`\n## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  const lines = own.split('\n').filter((line) => line.startsWith('|'));
  return lines.slice(2).map((line) => line.split('|').slice(1, -1));
}
const quoted = (cell = '') => [...cell.matchAll(/`([^`]+)`/g)].map(([, one = '']) => one);

describe('docs/degraded.md', () => {
  const rows = rowsOf('The table');

  it('has a row for every part that is reported on, and for nothing else', () => {
    const shown = rows.map(([, component]) => quoted(component)[0]);
    expect(shown.toSorted()).toEqual([...PARTS].toSorted());
  });

  it('names error codes and alerts that there are', () => {
    for (const [part, component, , alert] of rows) {
      const [, ...codes] = quoted(component);
      for (const code of codes) expect([part, Object.keys(ERRORS)]).toEqual([part, expect.arrayContaining([code])]);
      const alerts = quoted(alert).filter((one) => /^[a-z]+(-[a-z]+)+$|^frozen$/.test(one) && one in ALERTS);
      expect([part, alerts.length > 0 || (alert ?? '').includes('with `kubernetes`')]).toEqual([part, true]);
    }
  });

  it('names for each row tests that there are', () => {
    for (const row of [...rows, ...rowsOf('A pod that starts meanwhile')]) {
      const tests = quoted(row.at(-1));
      expect([row[0], tests.length > 0]).toEqual([row[0], true]);
      for (const test of tests) expect([test, existsSync(join(ROOT, `test/${test}.test.ts`))]).toEqual([test, true]);
    }
  });

  it('tells first which parts a package cannot be taken in without', () => {
    for (const name of Object.values(NEEDED).flat()) expect(PARTS).toContain(name);
    expect(text).toContain(
      'without Temporal, the API server, signing keys, a policy that can be read, or an audit log',
    );
  });
});
