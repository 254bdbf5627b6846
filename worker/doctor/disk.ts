import { randomUUID } from 'node:crypto';
import { access, constants, open, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { found, ok } from './check.ts';
import type { CheckGroup, Told } from './check.ts';

export interface DiskOptions {
  readonly dataDir: string;
  /** How much the log and the spools may take of it together. */
  readonly wantedBytes: number;
}

const MIB = 1024 * 1024;
/** Below this the worker begins no package; see ROOM_BYTES in audit-trail.ts. */
const NEEDED_BYTES = 4 * MIB;
const OWN_FOLDERS = ['audit', 'alerts', 'metrics'];

/** The folder of the audit log: a file is written, made durable and removed again. */
export function diskChecks({ dataDir, wantedBytes }: DiskOptions): CheckGroup {
  return {
    checks: [
      {
        name: 'disk',
        async run() {
          const info = await stat(dataDir).catch(() => undefined);
          if (!info) return [await judgeMissing(dataDir)];
          if (!info.isDirectory()) return [found('DISK_UNWRITABLE', `${dataDir} is no folder.`)];
          const written = await writeAndSync(dataDir);
          if (written) return [written];
          return [await judgeRoom(dataDir, wantedBytes), ...(await judgeAccess(dataDir))];
        },
      },
    ],
  };
}

/** The worker makes the folder, if it may. */
async function judgeMissing(dataDir: string): Promise<Told> {
  let parent = dirname(dataDir);
  while (parent !== dirname(parent) && !(await stat(parent).catch(() => undefined))) parent = dirname(parent);
  const mayWrite = await access(parent, constants.W_OK).then(
    () => true,
    () => false,
  );
  return mayWrite
    ? ok(`${dataDir} is not there yet; the worker makes it.`)
    : found('DISK_UNWRITABLE', `${dataDir} is not there, and ${parent} cannot be written.`);
}

async function writeAndSync(dataDir: string): Promise<Told | undefined> {
  const path = join(dataDir, `.byoc-doctor-${randomUUID()}`);
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.write('byoc doctor\n');
      await file.sync();
    } finally {
      await file.close();
      await rm(path, { force: true });
    }
    return undefined;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    if (code === 'ENOSPC' || code === 'EDQUOT')
      return found('DISK_FULL', `There is no room left in ${dataDir} (${code}).`);
    return found('DISK_UNWRITABLE', `Nothing can be written in ${dataDir} (${code}).`);
  }
}

async function judgeRoom(dataDir: string, wantedBytes: number): Promise<Told> {
  const { bavail, bsize } = await statfs(dataDir);
  const free = bavail * bsize;
  const says = `${Math.floor(free / MIB)} MiB are free in ${dataDir}`;
  if (free < NEEDED_BYTES) return found('DISK_FULL', `${says}; a package is begun with 4 MiB at least.`);
  if (free < wantedBytes)
    return found('DISK_SMALL', `${says}; the settings let it grow to ${Math.ceil(wantedBytes / MIB)} MiB.`);
  return ok(`${says}, and what is written is durable.`);
}

/** The volume of a pod is open to all by itself; what the worker makes in it is not. */
async function judgeAccess(dataDir: string): Promise<Told[]> {
  const told = await Promise.all(
    OWN_FOLDERS.map(async (name) => {
      const path = join(dataDir, name);
      const mode = ((await stat(path).catch(() => undefined))?.mode ?? 0) & 0o777;
      return mode & 0o077 ? [found('DISK_OPEN', `${path} is open to others (${mode.toString(8)}).`)] : [];
    }),
  );
  return told.flat();
}
