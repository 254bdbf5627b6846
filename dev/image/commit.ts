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
  /** Whether there are changes that are not committed. */
  readonly isDirty: boolean;
}

/**
 * What the image of this checkout is called. With changes that are not committed its tag ends in `-dirty`: it can't be
 * made again.
 * @throws {Error} where it is no checkout, or git is missing
 */
export async function describeCommit(): Promise<Commit> {
  const { version } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8')) as { version: string };
  const revision = await git('rev-parse', 'HEAD');
  const isDirty = (await git('status', '--porcelain')) !== '';
  const exact = `${version}-${revision.slice(0, 12)}${isDirty ? '-dirty' : ''}`;
  return {
    version,
    revision,
    epoch: Number(await git('log', '-1', '--format=%ct')),
    tags: isDirty ? [exact] : [exact, version],
    isDirty,
  };
}

async function git(...args: string[]): Promise<string> {
  // Images are built as root, and the checkout may be somebody else's, which git would refuse.
  // Its configuration is not obeyed as far as it names programs.
  const trusted = ['-c', `safe.directory=${PROJECT}`, '-c', 'core.fsmonitor=false', '-C', PROJECT];
  try {
    return (await promisify(execFile)('git', [...trusted, ...args])).stdout.trim();
  } catch (cause) {
    const { stderr, message } = cause as Error & { readonly stderr?: string };
    throw new Error(`an image is called after its commit, and git does not tell it: ${(stderr || message).trim()}`, {
      cause,
    });
  }
}
