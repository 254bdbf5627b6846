import { createReadStream } from 'node:fs';
import { glob, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { ConnectorError } from '../domain/errors.ts';
import type { AuditFile } from './audit-verify.ts';

/** Logs, and what was signed of them. */
const PATTERNS = ['**/*.jsonl', '**/*.head.json', '**/*.manifest.json'];

/**
 * The audit files among local paths: files as given, folders with every log, signed head and manifest below them. What
 * was set aside after a crash (`.torn-…`) was never part of the log and is left out.
 * @throws {ConnectorError} FILE_UNREADABLE
 */
export async function localAuditFiles(paths: readonly string[]): Promise<AuditFile[]> {
  const names = [];
  for (const path of paths) {
    try {
      if (!(await stat(path)).isDirectory()) names.push(path);
      else for await (const name of glob(PATTERNS, { cwd: path })) names.push(join(path, name));
    } catch (cause) {
      throw new ConnectorError('FILE_UNREADABLE', `${path} is not there, or may not be read.`, { cause });
    }
  }
  // A path given twice, or a folder and a file in it, is one log and no duplicate.
  return [...new Set(names)].sort().map((name) => ({ name, open: () => read(name) }));
}

async function* read(name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(name, { highWaterMark: 1024 * 1024 });
  } catch (cause) {
    throw new ConnectorError('FILE_UNREADABLE', `${name} cannot be read.`, { cause });
  }
}
