import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Something of this machine that is seen inside a root folder. */
export interface Bind {
  readonly from: string;
  readonly to: string;
  readonly writable?: boolean;
}

export interface Sandbox {
  /** The folder that is `/` inside. */
  readonly root: string;
  readonly binds: readonly Bind[];
  readonly env: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  /** Without one: root, and the root folder may be written. With one: nothing may be written but what is bound so. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

/** How a program is started. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Whether this process may do what an engine does: mounts of its own and another user. */
export function canIsolate(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/bin/unshare') && existsSync('/usr/bin/setpriv');
}

/**
 * How a program is started that sees `root` as its file system, in a mount namespace of its own: what an engine does, without
 * one. A user is left without capabilities, and `no_new_privs` keeps it so. The environment is the program's own: none
 * of this machine's is seen inside.
 */
export async function launchIn({ root, binds, env, command, user }: Sandbox): Promise<Launch> {
  const lines = ['set -e', `mount --bind ${quote(root)} ${quote(root)}`];
  for (const { from, to, writable = false } of binds) {
    const target = join(root, to);
    await makeTarget(from, target);
    if (isLink(from)) continue;
    lines.push(`mount --rbind ${quote(from)} ${quote(target)}`);
    if (!writable) lines.push(`mount -o remount,bind,ro ${quote(target)}`);
  }
  if (user) lines.push(`mount -o remount,bind,ro ${quote(root)}`);
  const enter = user
    ? [
        '/usr/bin/setpriv',
        '--no-new-privs',
        '/usr/sbin/chroot',
        `--userspec=${user.uid}:${user.gid}`,
        `--groups=${user.gid}`,
      ]
    : ['/usr/sbin/chroot'];
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const inner = ['/usr/bin/env', '-i', ...variables, ...enter, root, ...command];
  lines.push(`cd ${quote(root)}`, `exec ${inner.map(quote).join(' ')}`);
  return {
    command: '/usr/bin/unshare',
    args: ['--mount', '--propagation', 'private', '/bin/sh', '-c', lines.join('\n')],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  };
}

/** What is mounted upon must be there; a link such as /lib is made anew instead. */
async function makeTarget(from: string, target: string): Promise<void> {
  if (existsSync(target) || isLink(target)) return;
  await mkdir(dirname(target), { recursive: true });
  if (isLink(from)) await symlink(readlinkSync(from), target);
  else if (lstatSync(from).isDirectory()) await mkdir(target, { recursive: true });
  else await writeFile(target, '');
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
