import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import type { AuditHead } from '../../domain/audit.ts';
import { GENESIS } from '../../domain/audit.ts';
import { isDigest } from '../../domain/digest.ts';
import type { Digest } from '../../domain/digest.ts';
import { syncFolder } from './day-file.ts';

/** What one uploader remembers across restarts, in `uploaded.json` beside its chain. */

export interface Range {
  readonly first: number;
  readonly last: number;
}

export interface Progress {
  readonly uploaded: AuditHead;
  /** A range whose upload began and of which it isn't known whether the bucket has it. */
  readonly intent?: Range | undefined;
}

const FILE = 'uploaded.json';
const seq = z.int().min(0);
const schema = z.strictObject({
  uploaded: z.strictObject({ chain: z.string(), seq, hash: z.custom<Digest>(isDigest) }),
  intent: z.strictObject({ first: seq, last: seq }).optional(),
});

/** Nothing uploaded where there is no file, or none that can be read: the bucket is asked in any case. */
export async function readProgress(folder: string, chain: string): Promise<Progress> {
  try {
    return schema.parse(JSON.parse(await readFile(join(folder, FILE), 'utf8')));
  } catch {
    return { uploaded: { chain, seq: 0, hash: GENESIS } };
  }
}

/** Replaces the file as a whole, durably. */
export async function writeProgress(folder: string, progress: Progress): Promise<void> {
  const temporary = join(folder, `${FILE}.new`);
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(JSON.stringify(progress));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, join(folder, FILE));
  await syncFolder(folder);
}
