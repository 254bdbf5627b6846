import { readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** Of TCP a socket that listens, of UDP one that is bound. */
const STATES = { tcp: '0A', tcp6: '0A', udp: '07', udp6: '07' } as const;

/**
 * On which ports a process takes something in, by the kernel's own tables.
 * @returns such as `tcp 8005`, in order
 * @see proc_pid_fd(5), proc_pid_net(5)
 */
export async function listeningPorts(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const links = await Promise.all(
    (await readdir(folder)).map((fd) => readlink(join(folder, fd)).catch(() => '')), // one may have been closed meanwhile
  );
  const own = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const ports = await Promise.all(
    Object.entries(STATES).map(async ([table, wanted]) => {
      const [, ...rows] = (await readFile(`/proc/${pid}/net/${table}`, 'utf8')).trim().split('\n');
      return rows.flatMap((row) => {
        const [, local = '', , state, , , , , , inode = ''] = row.trim().split(/\s+/);
        const port = Number.parseInt(local.split(':')[1] ?? '', 16);
        return state === wanted && own.has(inode) ? [`${table.replace('6', '')} ${port}`] : [];
      });
    }),
  );
  return ports.flat().sort();
}
