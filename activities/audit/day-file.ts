import type { FileHandle } from 'node:fs/promises';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';

/** What a file must hold when it is opened. */
export interface KnownFile {
  readonly name: string;
  /** How much of it is durable, in bytes; 0 makes the file. */
  readonly durableBytes: number;
  /** The last line of that part with its newline: what must be read there. */
  readonly lastLine?: { readonly bytes: number; readonly digest: Digest } | undefined;
  /** What lies behind comes from an attempt of ours that failed, and is cut off. */
  readonly ownTail: boolean;
}

/**
 * One day's file, of which we know how many bytes are durable. MUST NOT say that bytes are written before the disk has
 * them. MUST NOT go on after a failed sync with what the page cache shows: after one the kernel may call pages
 * clean that never reached the disk, so they are cut off and what is left is read again.
 */
export class DayFile {
  readonly name: string;
  readonly #handle: FileHandle;
  #durableBytes: number;

  private constructor(name: string, handle: FileHandle, durableBytes: number) {
    this.name = name;
    this.#handle = handle;
    this.#durableBytes = durableBytes;
  }

  get durableBytes(): number {
    return this.#durableBytes;
  }

  /**
   * Opens a file, and makes it where nothing of it is known to be durable yet.
   * @throws {ConnectorError} AUDIT_BROKEN when it does not hold what it must
   */
  static async open(folder: string, known: KnownFile, sha256: Sha256): Promise<{ file: DayFile; cutBytes: number }> {
    const { name, durableBytes, lastLine } = known;
    const path = join(folder, name);
    const create = durableBytes === 0 ? constants.O_CREAT : 0;
    const handle = await open(path, constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW | create, 0o600);
    try {
      const { size } = await handle.stat();
      if (size < durableBytes) throw broken(path, `${durableBytes - size} bytes are gone from its end`);
      if (size > durableBytes && !known.ownTail) throw broken(path, 'somebody else wrote to it');
      if (size > durableBytes) await handle.truncate(durableBytes);
      await handle.sync();
      if (create) await syncFolder(folder);
      if (lastLine) {
        const { buffer } = await handle.read(
          Buffer.alloc(lastLine.bytes),
          0,
          lastLine.bytes,
          durableBytes - lastLine.bytes,
        );
        if (sha256(buffer) !== lastLine.digest) throw broken(path, 'its last line is not the one that was written');
      }
      return { file: new DayFile(name, handle, durableBytes), cutBytes: size - durableBytes };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /**
   * Adds bytes and returns once they are durable.
   * @throws {ConnectorError} AUDIT_BROKEN when somebody else wrote to the file, or removed it
   */
  async append(bytes: Buffer): Promise<void> {
    for (let written = 0; written < bytes.length;) {
      written += (await this.#handle.write(bytes, written)).bytesWritten;
    }
    await this.#handle.datasync();
    const { size, nlink } = await this.#handle.stat();
    if (nlink === 0) throw broken(this.name, 'it was deleted while it was being written');
    if (size !== this.#durableBytes + bytes.length) throw broken(this.name, 'somebody else writes to it');
    this.#durableBytes = size;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/**
 * Copies the end of a day's file into a file of its own beside it, durably.
 * @returns the name of that file and the bytes
 */
export async function setTailAside(
  folder: string,
  name: string,
  from: number,
  bytes: number,
): Promise<[string, Buffer]> {
  const source = await open(join(folder, name), constants.O_RDONLY | constants.O_NOFOLLOW);
  let tail: Buffer;
  try {
    tail = (await source.read(Buffer.alloc(bytes), 0, bytes, from)).buffer;
  } finally {
    await source.close();
  }
  const [aside, target] = await openUnused(folder, `${name.replace(/\.jsonl$/, '')}.torn-${from}`);
  try {
    await target.writeFile(tail);
    await target.sync();
  } finally {
    await target.close();
  }
  await syncFolder(folder);
  return [aside, tail];
}

/** A crash while the tail is set aside, or while that is recorded, leaves a tail at the same place once more. */
async function openUnused(folder: string, base: string): Promise<[string, FileHandle]> {
  for (let attempt = 1; ; attempt += 1) {
    const name = attempt === 1 ? base : `${base}-${attempt}`;
    try {
      return [name, await open(join(folder, name), 'wx', 0o600)];
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
  }
}

/** A new file is only there after a crash once its folder's entry is on disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The folder above as well, for a folder that was just made. */
export async function syncFolderAndParent(folder: string): Promise<void> {
  await syncFolder(folder);
  await syncFolder(dirname(folder));
}

function broken(path: string, what: string): ConnectorError {
  return new ConnectorError('AUDIT_BROKEN', `${path}: ${what}`);
}
