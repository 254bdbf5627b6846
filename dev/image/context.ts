import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The files that a build may copy: those that .dockerignore leaves, by its rules (the last pattern that matches a path, or a
 * folder above it, decides).
 * @returns paths below `folder`, sorted
 */
export async function contextOf(folder: string): Promise<readonly string[]> {
  const patterns = (await readFile(join(folder, '.dockerignore'), 'utf8'))
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const isException = line.startsWith('!');
      const pattern = isException ? line.slice(1) : line;
      return { isException, pattern, matches: expressionOf(pattern) };
    });
  const isIgnored = (path: string) =>
    patterns.reduce((ignored, { isException, matches }) => (matches.test(path) ? !isException : ignored), false);
  const mayHoldExceptions = (path: string) =>
    patterns.some(({ isException, pattern }) => isException && pattern.startsWith(`${path}/`));

  const found: string[] = [];
  const walk = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!isIgnored(path) || mayHoldExceptions(path)) await walk(path);
      } else if (!isIgnored(path)) {
        found.push(path);
      }
    }
  };
  await walk('');
  return found.sort();
}

/** `**` is any number of folders, `*` anything within one; what matches a folder matches what is below it. */
function expressionOf(pattern: string): RegExp {
  const parts = pattern.split(/(\*\*\/|\*)/).map((part) => {
    if (part === '**/') return '(?:.*/)?';
    return part === '*' ? '[^/]*' : part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}(?:/.*)?$`);
}
