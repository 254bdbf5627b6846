import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process, told apart from a later one that got the same pid. */
export interface Owner {
  readonly pid: number;
  readonly startedAt: string;
  readonly host: string;
}

/** This process. */
export function thisProcess(): Owner {
  return { pid: process.pid, startedAt: startTime(process.pid) ?? '', host: hostname() };
}

/** Whether the process runs; one of another host (a shared folder) is taken to run, because nobody here can know. */
export function isAlive(owner: Owner): boolean {
  return owner.host !== hostname() || startTime(owner.pid) === owner.startedAt;
}

/** When the process started, in a form that only compares; undefined where it does not run (a zombie does not). */
function startTime(pid: number): string | undefined {
  try {
    if (process.platform !== 'linux') {
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    }
    // proc(5): the name in field 2 is in parentheses and may hold anything; state is field 3, starttime field 22.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
