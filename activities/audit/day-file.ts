import type { FileHandle } from 'node:fs/promises';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
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
 * One day's file, of which we know how many bytes are durable. MUST NOT say that bytes are durable before the disk has
 * them. MUST NOT go on after a failed write or sync with what the page cache shows: after one the kernel may call pages
 * clean that never reached the disk, so they are cut off and what is left is read again.
 */
export class DayFile {
  readonly name: string;
  readonly #folder: string;
  #handle: FileHandle;
  #durableBytes: number;
  #writtenBytes: number;

  private constructor(folder: string, name: string, handle: FileHandle, durableBytes: number) {
    this.#folder = folder;
    this.name = name;
    this.#handle = handle;
    this.#durableBytes = durableBytes;
    this.#writtenBytes = durableBytes;
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
    const handle = await open(path, OPEN_FLAGS | create, 0o600);
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
      return { file: new DayFile(folder, name, handle, durableBytes), cutBytes: size - durableBytes };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Adds bytes, for now to the page cache only: a trip to another thread would cost more than the copying. */
  write(bytes: Buffer): void {
    for (let written = 0; written < bytes.length;) written += writeSync(this.#handle.fd, bytes, written);
    this.#writtenBytes += bytes.length;
  }

  /**
   * Makes durable what was written before this call; more may be written meanwhile.
   * @returns how many bytes were put back, where somebody had deleted the file under us
   * @throws {ConnectorError} AUDIT_BROKEN when somebody else wrote to the file or put another in its place
   */
  async sync(): Promise<number> {
    const upTo = this.#writtenBytes;
    await this.#handle.datasync();
    const { size, nlink } = fstatSync(this.#handle.fd);
    if (size !== this.#writtenBytes) throw broken(this.name, 'somebody else writes to it');
    const restored = nlink === 0 ? this.#restore() : 0;
    this.#durableBytes = restored > 0 ? restored : upTo;
    return restored;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** What we still hold open is all there is of a deleted file. In one go: nothing may be written to it meanwhile. */
  #restore(): number {
    const path = join(this.#folder, this.name);
    const bytes = Buffer.alloc(this.#writtenBytes);
    const copy = `${path}.restored`;
    try {
      for (let at = 0; at < bytes.length;) at += readSync(this.#handle.fd, bytes, at, bytes.length - at, at);
      writeFileSync(copy, bytes, { mode: 0o600, flush: true });
      linkSync(copy, path); // which, unlike renaming, never replaces anything
      unlinkSync(copy);
      const folder = openSync(this.#folder, constants.O_RDONLY);
      fsyncSync(folder);
      closeSync(folder);
    } catch (cause) {
      throw broken(this.name, 'it was deleted while it was being written, and cannot be put back', cause);
    }
    return bytes.length;
  }
}

const OPEN_FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW;

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

function broken(path: string, what: string, cause?: unknown): ConnectorError {
  return new ConnectorError('AUDIT_BROKEN', `${path}: ${what}`, { cause });
}
