import { mkdir, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { isAlive, thisProcess, type Owner } from './owner.ts';

/** A lock without an owner file for so long was left by a process that died between its two steps. */
const OWNERLESS_MS = 5_000;

/**
 * Holds the lock `path` (a folder: `mkdir` is atomic everywhere) while `work` runs. A lock whose owner no longer runs
 * is taken over. What it guards must be safe without it too: it saves work, it does not carry correctness.
 */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  options: { readonly signal?: AbortSignal | undefined; readonly onWait?: (() => void) | undefined } = {},
): Promise<T> {
  let waited = false;
  while (!(await tryLock(path))) {
    if (!waited) options.onWait?.();
    waited = true;
    await sleep(200, undefined, options.signal ? { signal: options.signal } : {});
  }
  try {
    return await work();
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

async function tryLock(path: string): Promise<boolean> {
  try {
    await mkdir(path);
  } catch (error) {
    // No `instanceof`: errors of Node itself are of another realm under a test runner.
    if (!(typeof error === 'object' && error !== null && 'code' in error && error.code === 'EEXIST')) throw error;
    if (await isStale(path)) {
      await rm(join(path, 'owner'), { force: true });
      // Fails, as it should, when another process has taken the lock over in the meantime.
      await rmdir(path).catch(() => undefined);
    }
    return false;
  }
  await writeFile(join(path, 'owner'), JSON.stringify(thisProcess()));
  return true;
}

async function isStale(path: string): Promise<boolean> {
  try {
    const owner: Owner = JSON.parse(await readFile(join(path, 'owner'), 'utf8'));
    return !isAlive(owner);
  } catch {
    const made = await stat(path).catch(() => undefined);
    return made !== undefined && Date.now() - made.mtimeMs > OWNERLESS_MS;
  }
}
