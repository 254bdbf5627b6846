import { stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';

import { checkLine } from '../../domain/audit-chain.ts';
import { parseRangeName } from '../../domain/audit.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { Bucket } from '../s3/bucket.ts';
import { dayFiles, readLines, writeRemoved } from './chain-folder.ts';
import { syncFolder } from './day-file.ts';
import { readProgress } from './upload-progress.ts';

const DAY_MS = 86_400_000;

export interface RetentionOptions {
  readonly bucket: Bucket;
  /** As the uploader has them. */
  readonly prefix: string;
  readonly dir: string;
  readonly chain: string;
  /** A file goes when its day is so many days ago, or when all files together have more bytes than that. */
  readonly limits: { readonly days: number; readonly bytes: number };
  readonly now: () => Date;
  readonly sha256: Sha256;
}

export interface RemovedFile {
  readonly name: string;
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

export interface RetentionResult {
  readonly removed: readonly { readonly why: 'age' | 'size'; readonly file: RemovedFile }[];
  /** Bytes that are left on the disk. */
  readonly keptBytes: number;
}

/**
 * Removes the oldest files of a chain that are past a limit and of which the bucket has the entries and the day's
 * manifest; never the newest file, and never what has not been uploaded.
 * @throws {ConnectorError} S3_UNAVAILABLE, AUDIT_UNAVAILABLE (the local disk), AUDIT_BROKEN where the bucket no longer
 *   has what was uploaded: then nothing is removed
 */
export async function removeSealedFiles(options: RetentionOptions): Promise<RetentionResult> {
  const { dir, chain, limits, now, sha256 } = options;
  const folder = join(dir, chain);
  const { sealed } = await readProgress(folder, chain);
  const names = await dayFiles(folder);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  let keptBytes = sizes.reduce((sum, size) => sum + size, 0);
  const oldest = `${new Date(now().getTime() - limits.days * DAY_MS).toISOString().slice(0, 10)}.jsonl`;
  const removed = [];
  let covered: Coverage | undefined;
  for (const [index, name] of names.slice(0, -1).entries()) {
    const why = name < oldest ? 'age' : keptBytes > limits.bytes ? 'size' : undefined;
    const ends = why && sealed && (await endsOf(join(folder, name), sha256));
    if (!why || !ends || !sealed || ends.last.seq > sealed.seq) break;
    covered ??= await coverageOf(options);
    if (!covered(ends.first, ends.last.seq)) {
      const range = `${ends.first} to ${ends.last.seq}`;
      throw new ConnectorError('AUDIT_BROKEN', `Chain ${chain}: entries ${range} are no longer in the bucket.`);
    }
    const bytes = sizes[index] ?? 0;
    await remove(folder, name, ends.last);
    keptBytes -= bytes;
    removed.push({ why, file: { name, bytes, first: ends.first, last: ends.last.seq } } as const);
  }
  return { removed, keptBytes };
}

interface Ends {
  readonly first: number;
  readonly last: { readonly seq: number; readonly hash: Digest };
}

/** @returns undefined for a file without entries */
async function endsOf(path: string, sha256: Sha256): Promise<Ends | undefined> {
  let ends: Ends | undefined;
  for await (const line of readLines(path)) {
    const checked = checkLine(line.bytes, sha256);
    if (!checked.ok)
      throw new ConnectorError('AUDIT_BROKEN', `${path} at byte ${line.offset}: found ${checked.found}.`);
    const { seq } = checked.entry;
    ends = { first: ends?.first ?? seq, last: { seq, hash: checked.hash } };
  }
  return ends;
}

/** Whether all entries between two numbers, both included, are in the bucket. */
type Coverage = (first: number, last: number) => boolean;

async function coverageOf({ bucket, prefix, chain }: RetentionOptions): Promise<Coverage> {
  const [ranges, deleted] = [
    [] as { readonly key: string; readonly first: number; readonly last: number }[],
    new Set(),
  ];
  for await (const { key, deleteMarker } of bucket.versions(prefix === '' ? `${chain}/` : `${prefix}/${chain}/`)) {
    const range = parseRangeName(key);
    if (range) ranges.push({ key, ...range });
    if (deleteMarker) deleted.add(key);
  }
  const kept = ranges.filter(({ key }) => !deleted.has(key)).sort((a, b) => a.first - b.first);
  return (first, last) => {
    let due = first;
    for (const range of kept) if (range.first <= due && range.last >= due) due = range.last + 1;
    return due > last;
  };
}

async function remove(folder: string, name: string, last: Ends['last']): Promise<void> {
  try {
    await writeRemoved(folder, last);
    await unlink(join(folder, name));
    await syncFolder(folder);
  } catch (cause) {
    throw new ConnectorError('AUDIT_UNAVAILABLE', `${name} cannot be removed.`, { cause });
  }
}
