import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { PackageName, PartName } from '../../dev/parts.ts';
import { findPackage, findProgram } from '../../dev/programs.ts';
import { devSettings } from '../../dev/settings.ts';

const context = { settings: devSettings(process.env), onProgress: () => undefined };

/** Path of a program, installed where it is missing. */
export function tool(name: PartName): Promise<string> {
  return findProgram(name, context);
}

/** Folder of a package that holds files. */
export function filesOf(name: PackageName): Promise<string> {
  return findPackage(name, context);
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, however that is. */
export async function runTool(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const options = { env: { PATH: '/usr/bin:/bin', HOME: '/nonexistent', ...env }, maxBuffer: 64 * 1024 * 1024 };
  try {
    return { code: 0, ...(await promisify(execFile)(command, [...args], options)) };
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof code !== 'number') throw error;
    return { code, stdout, stderr };
  }
}
