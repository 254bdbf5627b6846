import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const ROOT = join(import.meta.dirname, '../..');

describe('docs/upgrade.md', () => {
  it('lists every patch that there is', () => {
    const folder = join(ROOT, 'workflows');
    const sources = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8'));
    const patches = sources.flatMap((text) =>
      [...text.matchAll(/(?:patched|deprecatePatch)\('([^']+)'\)/g)].map(([, id]) => id),
    );
    const text = readFileSync(join(ROOT, 'docs/upgrade.md'), 'utf8');
    const listed = [...text.matchAll(/^\| `([a-z-]+)` \| \d/gm)].map(([, id]) => id);
    expect(listed.toSorted()).toEqual([...new Set(patches)].toSorted());
  });
});
