import { DatabaseSync } from 'node:sqlite';

import { ConnectorError } from '../../domain/errors.ts';

/** Held until released, or until the process ends, however it ends. */
export interface Lock {
  release(): void;
}

/**
 * Makes us the only writer, on this machine, of what a file stands for. Two writers would fork the chain.
 *
 * The lock is the kernel's (fcntl), taken through SQLite because Node itself offers no file locks. A file with a
 * pid would
 * block after a SIGKILL, or not hold where containers share a disk but not their process ids. Nothing is stored in it.
 * @throws {ConnectorError} AUDIT_UNAVAILABLE when somebody holds it, or the file can't be made
 */
export function takeLock(file: string): Lock {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database?.close();
    const held = cause instanceof Error && cause.message.includes('locked');
    const detail = held ? 'Another process writes this chain.' : `The lock of ${file} cannot be taken.`;
    throw new ConnectorError('AUDIT_UNAVAILABLE', detail, { cause });
  }
  const held = database;
  return { release: () => held.isOpen && held.close() };
}
