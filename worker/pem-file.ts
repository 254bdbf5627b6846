import { readFile } from 'node:fs/promises';
import { ConnectorError } from '../domain/errors.ts';

/**
 * Reads a PEM file that a setting names.
 * @throws {ConnectorError} CONFIG_INVALID
 */
export async function readPem(setting: string, path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ConnectorError('CONFIG_INVALID', `${setting} (${path}) cannot be read.`, { cause });
  });
}
