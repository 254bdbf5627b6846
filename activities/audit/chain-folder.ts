import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import type { EntryLink } from '../../domain/audit-chain.ts';
import { checkLine, continueChain, emptyChain } from '../../domain/audit-chain.ts';
import type { AuditHead } from '../../domain/audit.ts';
import { AUDIT_MAX_LINE_BYTES, GENESIS } from '../../domain/audit.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { isDigest } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { Line } from '../../domain/line-splitter.ts';
import { LineSplitter } from '../../domain/line-splitter.ts';
import { replaceFile } from './replace-file.ts';

/** Reads what `log.ts` wrote: the folder of one chain, a file for each UTC day. */

const DAY_FILE = /^\d{4}-\d\d-\d\d\.jsonl$/;

/** Names of the day files, oldest first. */
export async function dayFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  return names.filter((name) => DAY_FILE.test(name)).sort();
}

/** @param start byte to begin at, where a line begins; offsets count from the beginning of the file in any case */
export async function* readLines(path: string, start = 0): AsyncGenerator<Line> {
  const splitter = new LineSplitter(AUDIT_MAX_LINE_BYTES, start);
  for await (const chunk of createReadStream(path, { start, highWaterMark: 256 * 1024 })) yield* splitter.push(chunk);
  const rest = splitter.end();
  if (rest) yield rest;
}

/** Where the chain ends on disk, and what is needed to go on from there. */
export interface ChainTail {
  readonly seq: number;
  readonly hash: Digest;
  /** Of the last entry; empty when there is none. */
  readonly time: string;
  /** The newest day file, where there is one; a torn tail can only be in it. */
  readonly file?: { readonly name: string; readonly goodBytes: number; readonly tornBytes: number };
  /** What the last days recorded, oldest first. */
  readonly events: ReadonlyMap<string, { readonly seq: number; readonly hash: Digest }>;
}

/**
 * Reads the newest files of a chain.
 * @param remember of how many days that hold something the events are told, and of how many events: the newest ones
 * @throws {ConnectorError} AUDIT_BROKEN when they hold anything else than what a crash can leave: whole entries,
 *   then at
 *   most a piece of one. A whole line with a wrong hash was never a crash, and going on would bury it.
 */
export async function readTail(
  folder: string,
  chain: string,
  { days, events: maxEvents }: { readonly days: number; readonly events: number },
  sha256: Sha256,
): Promise<ChainTail> {
  const names = await dayFiles(folder);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  let from = names.length;
  for (let filled = 0; from > 0 && filled < days; from -= 1) if ((sizes[from - 1] ?? 0) > 0) filled += 1;

  const events = new Map<string, { seq: number; hash: Digest }>();
  const removed = from === 0 ? await readRemoved(folder) : undefined;
  let state = emptyChain(chain);
  let file: ChainTail['file'];
  for (const name of names.slice(from)) {
    if (file?.tornBytes) throw broken(join(folder, file.name), 'it ends in a piece of a line, yet is not the newest');
    let goodBytes = 0;
    let tornBytes = 0;
    let number = 0;
    for await (const line of readLines(join(folder, name))) {
      const place = `${join(folder, name)}:${(number += 1)}`;
      if (isTorn(line)) {
        tornBytes += line.length;
        continue;
      }
      const checked = checkLine(line.bytes, sha256);
      if (!checked.ok) throw broken(place, `expected ${checked.expected}, found ${checked.found}`);
      if (tornBytes > 0) throw broken(place, 'an entry follows bytes that are none');
      if (removed && state.entries === 0) assertContinues(place, removed, checked);
      const { state: next, finding } = continueChain(state, checked, from > 0 || removed !== undefined);
      if (finding) throw broken(place, `expected ${finding.expected}, found ${finding.found}`);
      state = next;
      events.set(checked.entry.eventId, { seq: checked.entry.seq, hash: checked.hash });
      const [oldest] = events.size > maxEvents ? events.keys() : [];
      if (oldest !== undefined) events.delete(oldest);
      goodBytes += line.length;
    }
    file = { name, goodBytes, tornBytes };
  }
  return { ...state.last, events, ...(file ? { file } : {}) };
}

/**
 * Looks up one entry, and where the chain ends on disk; writes nothing. Everything from that entry to the end is checked,
 * so that its hash stands for all of it.
 * @returns no hash where the entry is not there, or where nothing ties it to what is
 * @throws {ConnectorError} AUDIT_BROKEN as `readTail`
 */
export async function findEntry(
  folder: string,
  chain: string,
  seq: number,
  sha256: Sha256,
): Promise<{ readonly end: AuditHead; readonly hash?: Digest | undefined }> {
  const names = await dayFiles(folder).catch(() => []); // a chain that is only known elsewhere has no folder here
  const removed = await readRemoved(folder);
  let state = emptyChain(chain);
  let hash = seq === 0 ? GENESIS : undefined;
  for (const name of names.slice(await fileOf(folder, names, seq, sha256))) {
    let number = 0;
    for await (const line of readLines(join(folder, name))) {
      const place = `${join(folder, name)}:${(number += 1)}`;
      if (isTorn(line)) continue; // whoever opens the log says whether a crash can have left it
      const checked = checkLine(line.bytes, sha256);
      if (!checked.ok) throw broken(place, `expected ${checked.expected}, found ${checked.found}`);
      const { entry } = checked;
      if (removed?.seq === seq && entry.seq === seq + 1 && entry.prev === removed.hash) hash = removed.hash;
      const { state: next, finding } = continueChain(state, checked, true);
      if (finding) throw broken(place, `expected ${finding.expected}, found ${finding.found}`);
      state = next;
      if (entry.seq === seq) hash = checked.hash;
    }
  }
  const { last } = state;
  return { end: { chain, seq: last.seq, hash: last.hash }, hash };
}

/** The newest file that begins with an entry or before it; the first one where none does. */
async function fileOf(folder: string, names: readonly string[], seq: number, sha256: Sha256): Promise<number> {
  for (let at = names.length - 1; at > 0; at -= 1) {
    for await (const { bytes } of readLines(join(folder, names[at] ?? ''))) {
      const checked = checkLine(bytes, sha256);
      if (checked.ok && checked.entry.seq <= seq) return at;
      break;
    }
  }
  return 0;
}

/** The last entry of the files that were removed once the bucket had them; what is left begins after it. */
export interface RemovedUpTo {
  readonly seq: number;
  readonly hash: Digest;
}

const REMOVED = 'removed.json';
const removedSchema = z.strictObject({ seq: z.int().min(1), hash: z.custom<Digest>(isDigest) });

/** @returns undefined where nothing was removed yet */
export async function readRemoved(folder: string): Promise<RemovedUpTo | undefined> {
  try {
    return removedSchema.parse(JSON.parse(await readFile(join(folder, REMOVED), 'utf8')));
  } catch {
    return undefined; // then the first file must begin with the first entry
  }
}

export async function writeRemoved(folder: string, { seq, hash }: RemovedUpTo): Promise<void> {
  await replaceFile(folder, REMOVED, JSON.stringify({ seq, hash }));
}

/** A crash between the note and the removal leaves a file that is noted as removed: so it may begin earlier, not later. */
function assertContinues(place: string, removed: RemovedUpTo, { entry }: { readonly entry: EntryLink }): void {
  const due = removed.seq + 1;
  if (entry.seq > due) throw broken(place, `expected entry ${due} or one before it, found entry ${entry.seq}`);
  if (entry.seq === due && entry.prev !== removed.hash) {
    throw broken(place, `expected prev ${removed.hash}, found prev ${entry.prev}`);
  }
}

/**
 * What a crash leaves of a group that was being written: its beginning, or blocks that never got their
 * bytes (zeros).
 */
function isTorn({ bytes, ended }: Line): boolean {
  return !ended || bytes.includes(0); // JSON never holds a NUL byte
}

function broken(place: string, what: string): ConnectorError {
  return new ConnectorError('AUDIT_BROKEN', `${place}: ${what}`);
}
