import { parseArgs } from 'node:util';
import { ConnectorError } from '../domain/errors.ts';

/**
 * Reads `worker --role NAME`, which may be given several times.
 * @returns what it says as settings
 * @throws {ConnectorError} USAGE
 */
export function readArguments(args: readonly string[]): { readonly BYOC_ROLES?: string } {
  try {
    const { role } = parseArgs({ args: [...args], options: { role: { type: 'string', multiple: true } } }).values;
    return role ? { BYOC_ROLES: role.join(',') } : {};
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ConnectorError(
      'USAGE',
      `${why.replace(/\.?$/, '.')} Usage: worker [--role registration|metrics|execution]…`,
      {
        cause: error,
      },
    );
  }
}
