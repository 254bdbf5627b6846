import { readFile } from 'node:fs/promises';

/** USER_HZ of proc(5): 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** The CPU time that a process has taken so far, ms, in steps of 10. */
export async function cpuMsOf({ pid }: { readonly pid?: number | undefined }): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // utime and stime, counted from behind the name, which may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}
