import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import type { AuditHead } from '../../domain/audit.ts';
import { GENESIS } from '../../domain/audit.ts';
import { isDigest } from '../../domain/digest.ts';
import type { Digest } from '../../domain/digest.ts';
import { replaceFile } from './replace-file.ts';

/** What one uploader remembers across restarts, in `uploaded.json` beside its chain. */

export interface Range {
  readonly first: number;
  readonly last: number;
}

/** The last entry that is in the bucket. */
export interface Uploaded extends AuditHead {
  /** When it was written; empty before the first one. */
  readonly time: string;
}

/** Up to where days have their manifest. */
export interface Sealed {
  readonly day: string;
  readonly seq: number;
  readonly hash: Digest;
}

export interface Progress {
  readonly uploaded: Uploaded;
  readonly sealed?: Sealed | undefined;
  /** A range whose upload began and of which it isn't known whether the bucket has it. */
  readonly intent?: Range | undefined;
}

const FILE = 'uploaded.json';
const seq = z.int().min(0);
const hash = z.custom<Digest>(isDigest);
const schema = z.strictObject({
  uploaded: z.strictObject({ chain: z.string(), seq, hash, time: z.string() }),
  sealed: z.strictObject({ day: z.iso.date(), seq, hash }).optional(),
  intent: z.strictObject({ first: seq, last: seq }).optional(),
});

/** Nothing uploaded where there is no file, or none that can be read: the bucket is asked in any case. */
export async function readProgress(folder: string, chain: string): Promise<Progress> {
  try {
    return schema.parse(JSON.parse(await readFile(join(folder, FILE), 'utf8')));
  } catch {
    return { uploaded: { chain, seq: 0, hash: GENESIS, time: '' } };
  }
}

/** Replaces the file as a whole, durably. */
export async function writeProgress(folder: string, progress: Progress): Promise<void> {
  await replaceFile(folder, FILE, JSON.stringify(progress));
}
