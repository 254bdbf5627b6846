import { spawn, type ChildProcess } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import type { AuditLogOptions } from '../../../activities/audit/log.ts';
import type { AuditEvent } from '../../../domain/audit.ts';
import type { Digest } from '../../../domain/digest.ts';
import { localAuditFiles } from '../../../client/audit-files.ts';
import type { AuditReport } from '../../../client/audit-verify.ts';
import { verifyAudit } from '../../../client/audit-verify.ts';

export const CHAIN = 'prod-eu-1.w1';

export const sha256 = (data: string | Uint8Array): Digest => `sha256:${hash('sha256', data, 'hex')}`;

/** A folder that is gone afterwards, whatever happens in between. */
export async function withFolder<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'audit-test-'));
  try {
    return await use(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** @param times of successive looks at the clock; the last one stays */
export function optionsFor(dir: string, ...times: string[]): AuditLogOptions {
  const clock = [...times];
  const now = () => new Date((clock.length > 1 ? clock.shift() : clock[0]) ?? Date.now());
  return { dir, chain: CHAIN, now, sha256 };
}

export function eventOf(eventId: string, text = ''): AuditEvent {
  const detail = { activity: 'verifyPackage', code: 'WPK_SYNTAX', detail: text, workflowType: 'executeWpk' };
  return { eventId, type: 'call.refused', actor: { id: 'mallory', proof: 'asserted' }, outcome: 'refused', detail };
}

export async function verifyFolder(dir: string): Promise<AuditReport> {
  return verifyAudit(await localAuditFiles([dir]));
}

export async function filesOf(dir: string): Promise<string[]> {
  return (await readdir(join(dir, CHAIN))).filter((name) => name !== '.lock').sort();
}

export interface WriterProcess {
  readonly child: ChildProcess;
  /** What it printed so far, a line each: `ready`, then the ids of acknowledged events or `error CODE`. */
  readonly lines: string[];
  readonly exited: Promise<void>;
}

/** A process of its own that appends with many writers until it is killed. `prefix` runs it under another command. */
export function startWriter(
  dir: string,
  { writers, run, prefix = [] }: { writers: number; run: string; prefix?: readonly string[] },
): WriterProcess {
  const script = join(import.meta.dirname, 'writer.ts');
  const [command = process.execPath, ...args] = [...prefix, process.execPath, script, dir, String(writers), run];
  const child = spawn(command, args, {
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return { child, lines, exited: new Promise((resolve) => child.once('close', () => resolve())) };
}
