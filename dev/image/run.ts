import { existsSync } from 'node:fs';
import { chmod, chown, cp, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FolderImage } from './folder-build.ts';
import type { Bind, Launch } from './sandbox.ts';
import { launchIn } from './sandbox.ts';

export interface RunOptions {
  readonly image: FolderImage;
  /** Where what the container sees besides its image is put together. */
  readonly folder: string;
  readonly args: readonly string[];
  /** Instead of the image's entry point. */
  readonly command?: readonly string[];
  /** Settings; those that are paths of files are mounted below /etc/byoc, as the chart mounts them. */
  readonly env: Readonly<Record<string, string>>;
}

export interface ContainerOptions {
  readonly image: FolderImage;
  readonly args: readonly string[];
  /** Instead of the image's entry point. */
  readonly command?: readonly string[];
  /** Beside those of the image. */
  readonly env: Readonly<Record<string, string>>;
  /** What is mounted, at the paths that the container sees. */
  readonly mounts: readonly Bind[];
}

/** Folders that the chart gives the container to write to. */
export const WRITABLE = { data: '/var/lib/byoc', tmp: '/tmp' } as const;

/** Of this machine: what stands for the base of the image, and what an engine mounts. */
const BASE = [
  '/lib',
  '/lib64',
  '/usr/lib',
  '/usr/lib64',
  '/etc/hosts',
  '/etc/resolv.conf',
  '/etc/nsswitch.conf',
  '/proc',
];

/**
 * How a container of an image that is a folder is started: its root read-only, as the image's user, without capabilities.
 * For the base of the image stand this machine's C library and the Node.js that runs this.
 */
export function launchContainer({ image, args, command, env, mounts }: ContainerOptions): Promise<Launch> {
  const binds: Bind[] = BASE.filter(existsSync).map((path) => ({ from: path, to: path }));
  binds.push({ from: '/dev', to: '/dev', writable: true }, { from: process.execPath, to: '/nodejs/bin/node' });
  return launchIn({
    root: image.root,
    binds: [...binds, ...mounts],
    env: { ...image.env, HOME: '/tmp', ...env },
    command: [...(command ?? image.entrypoint), ...args],
    user: image.user,
  });
}

/** The same with settings and files of this machine in the places in which the chart has them. */
export async function launchImage({ image, folder, args, command, env }: RunOptions): Promise<Launch> {
  const { user } = image;
  const config = join(folder, 'config');
  await rm(config, { recursive: true, force: true });
  await mkdir(config, { recursive: true });
  const settings: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    const isFile = value.startsWith('/') && existsSync(value);
    if (isFile) await cp(value, join(config, name));
    settings[name] = isFile ? `/etc/byoc/${name}` : value;
  }
  for (const name of await readdir(config)) {
    await chown(join(config, name), 0, user.gid);
    await chmod(join(config, name), 0o440); // as the chart mounts them
  }
  const mounts: Bind[] = [{ from: config, to: '/etc/byoc' }];
  for (const [name, path] of Object.entries(WRITABLE)) {
    await mkdir(join(folder, name), { recursive: true });
    await chown(join(folder, name), user.uid, user.gid);
    mounts.push({ from: join(folder, name), to: path, writable: true });
  }
  return launchContainer({ image, args, ...(command && { command }), env: settings, mounts });
}
