import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { ConnectorError } from '../../domain/errors.ts';
import { whyUnreadable } from '../../domain/why-unreadable.ts';
import type { ManifestSource } from '../pack/read-manifests.ts';

/** Reads a file, or stdin for `-`. @throws {ConnectorError} FILE_UNREADABLE */
export async function readInput(path: string): Promise<Uint8Array> {
  try {
    return path === '-' ? await buffer(process.stdin) : await readFile(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** Reads what a file holds; what is wrong with it then names the file. */
export async function inFile<T>(path: string, parse: () => T | Promise<T>): Promise<T> {
  try {
    return await parse();
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    const { code, detail, place, cause } = error;
    throw new ConnectorError(code, `${path}: ${detail}`, { ...(place && { place }), cause });
  }
}

/** Where the signature of a package lies: `NAME.wpk.json` → `NAME.wpk.sigstore.json`. */
export function bundleBeside(file: string): string {
  return file.replace(/(\.json)?$/, '.sigstore.json');
}

/**
 * Reads a file, stdin for `-`, or the manifests directly inside a folder, as `kubectl apply -f` does: `.yaml`, `.yml`
 * and `.json`, by name; packages and signatures that lie among them are left out.
 * @throws {ConnectorError} FILE_UNREADABLE
 */
export async function readManifestSources(path: string): Promise<ManifestSource[]> {
  const files = path !== '-' && (await isFolder(path)) ? await manifestFiles(path) : [path];
  return Promise.all(
    files.map(async (file) => ({ name: file === '-' ? 'stdin' : file, text: decode(file, await readInput(file)) })),
  );
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

async function manifestFiles(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).sort();
  if (names.some((name) => /^kustomization\.ya?ml$/i.test(name))) {
    throw new ConnectorError(
      'FILE_UNREADABLE',
      `${folder} is for kustomize: pipe what kustomize build ${folder} prints into byoc, and say - for the file.`,
    );
  }
  const files = names.filter((name) => /\.(ya?ml|json)$/.test(name) && !/\.(wpk|sigstore)\.json$/.test(name));
  if (files.length === 0) throw new ConnectorError('FILE_UNREADABLE', `${folder} holds no .yaml, .yml or .json file.`);
  return files.map((name) => join(folder, name));
}

function decode(file: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ConnectorError('MANIFEST_INVALID', `${file} is not UTF-8.`, { cause });
  }
}

function unreadable(path: string, cause: unknown): ConnectorError {
  return new ConnectorError('FILE_UNREADABLE', `${path}: ${whyUnreadable(cause)}.`, { cause });
}
