import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

import { ConnectorError } from '../domain/errors.ts';
import { ensurePackage, packageFolder } from './cache.ts';
import type { InstallContext } from './install.ts';
import { PARTS, type PackageName, type Part, type PartName } from './parts.ts';
import { run } from './process.ts';
import type { DevSettings } from './settings.ts';

/**
 * Finds a program, or installs it: the setting, then the PATH (only the version that the table asks for), then the
 * cache.
 * @returns its path
 * @throws ConnectorError PART_UNAVAILABLE, which says what is missing and what would help
 */
export async function findProgram(name: PartName, context: InstallContext): Promise<string> {
  const part: Part = PARTS[name];
  const explicit = context.settings.programs[name];
  if (explicit !== undefined) {
    if (await isExecutable(explicit)) return explicit;
    throw new ConnectorError('PART_UNAVAILABLE', `${part.env} names ${explicit}, which is not an executable file.`);
  }
  return (await findOnPath(part, context)) ?? join(await findPackage(part.from, context), part.file);
}

/**
 * Finds the folder of a package in the cache, or installs it; for those that hold files rather than programs.
 * @throws ConnectorError PART_UNAVAILABLE
 */
export function findPackage(name: PackageName, context: InstallContext): Promise<string> {
  return ensurePackage(name, context, () => findProgram('go', context));
}

/** Those of them that the cache has already; nothing is installed. */
export async function programsInCache(names: readonly PartName[], settings: DevSettings): Promise<string[]> {
  const found = names.map(async (name) => {
    const part: Part = PARTS[name];
    const program = join(await packageFolder(part.from, settings), part.file);
    return (await isExecutable(program)) ? [program] : [];
  });
  return (await Promise.all(found)).flat();
}

async function findOnPath(part: Part, context: InstallContext): Promise<string | undefined> {
  if (!part.onPath) return undefined;
  for (const folder of context.settings.path.split(delimiter).filter(Boolean)) {
    const program = join(folder, part.onPath.name);
    if ((await isExecutable(program)) && (await hasVersion(program, part, context))) return program;
  }
  return undefined;
}

async function hasVersion(program: string, part: Part, context: InstallContext): Promise<boolean> {
  if (!part.onPath) return false;
  const { settings, signal } = context;
  const said = await run(program, part.versionArgs, { env: settings.installEnv, signal }).catch(() => '');
  const found = part.versionPattern.exec(said);
  const [major, minor] = part.onPath.version.split('.').map(Number);
  if (!found || major === undefined || minor === undefined || Number(found[1]) !== major) return false;
  return part.onPath.orNewer ? Number(found[2]) >= minor : Number(found[2]) === minor;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
