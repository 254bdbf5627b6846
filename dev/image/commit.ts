import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

export const PROJECT = join(import.meta.dirname, '..', '..');

export interface Commit {
  readonly version: string;
  readonly revision: string;
  /** When it was committed, in seconds since 1970: SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/). */
  readonly epoch: number;
  readonly tags: readonly string[];
}

/**
 * What the image of this checkout is called. With changes that are not committed its tag ends in `-dirty`: it can't be
 * made again.
 */
export async function describeCommit(): Promise<Commit> {
  const { version } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8')) as { version: string };
  const git = async (...args: string[]) => (await promisify(execFile)('git', ['-C', PROJECT, ...args])).stdout.trim();
  const revision = await git('rev-parse', 'HEAD');
  const isDirty = (await git('status', '--porcelain')) !== '';
  const exact = `${version}-${revision.slice(0, 12)}${isDirty ? '-dirty' : ''}`;
  return {
    version,
    revision,
    epoch: Number(await git('log', '-1', '--format=%ct')),
    tags: isDirty ? [exact] : [exact, version],
  };
}
