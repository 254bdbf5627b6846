import { ConnectorError } from '../../domain/errors.ts';
import type { Environment, TlsFiles, TlsPart } from '../../domain/tls-settings.ts';
import { TLS_SETTINGS, tlsFilesOf } from '../../domain/tls-settings.ts';
import { readTlsMaterial, TlsFilesError } from './material.ts';

/**
 * The files that a part's settings name, once it is known that they can be used: for commands, which would otherwise
 * meet them only when they connect, where it looks as though the part were away.
 * @throws {ConnectorError} CONFIG_INVALID, naming the setting and the file
 */
export async function usableTlsFiles(env: Environment, part: TlsPart): Promise<TlsFiles> {
  const files = tlsFilesOf(env, part);
  await readTlsMaterial(files).catch((cause: unknown) => {
    throw unusableTlsFile(part, files, cause);
  });
  return files;
}

/** @param cause what reading them ended with */
export function unusableTlsFile(part: TlsPart, files: TlsFiles, cause: unknown): ConnectorError {
  const which = cause instanceof TlsFilesError ? cause.which : 'ca';
  const said = cause instanceof Error ? cause.message : 'something is wrong';
  return new ConnectorError('CONFIG_INVALID', `${TLS_SETTINGS[part][which]} (${files[which]}): ${said}.`, { cause });
}
