import { createReadStream } from 'node:fs';
import type { Stats } from 'node:fs';
import { glob, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { ConnectorError } from '../domain/errors.ts';
import type { AuditFile } from './audit-verify.ts';

/** Logs, and what was signed of them. */
const PATTERNS = ['**/*.jsonl', '**/*.head.json', '**/*.manifest.json'];

/**
 * The audit files among local paths: files as given, folders with every log, signed head and manifest below them. What
 * was set aside after a crash (`.torn-…`) was never part of the log and is left out.
 * @throws {ConnectorError} FILE_UNREADABLE, also for what is no regular file
 */
export async function localAuditFiles(paths: readonly string[]): Promise<AuditFile[]> {
  const names = [];
  for (const path of paths) {
    if (!(await look(path)).isDirectory()) names.push(path);
    else for await (const name of glob(PATTERNS, { cwd: path })) names.push(join(path, name));
  }
  // A path given twice, or a folder and a file in it, is one log and no duplicate.
  const unique = [...new Set(names)].sort();
  return Promise.all(
    unique.map(async (name) => {
      const found = await look(name);
      // A pipe or a device would have us wait for ever, and could not be read twice.
      if (!found.isFile()) throw new ConnectorError('FILE_UNREADABLE', `${name} is no regular file.`);
      return { name, version: `${found.size}/${found.mtimeMs}`, open: () => read(name) };
    }),
  );
}

async function look(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (cause) {
    throw new ConnectorError('FILE_UNREADABLE', `${path} is not there, or may not be read.`, { cause });
  }
}

async function* read(name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(name, { highWaterMark: 1024 * 1024 });
  } catch (cause) {
    throw new ConnectorError('FILE_UNREADABLE', `${name} cannot be read.`, { cause });
  }
}
