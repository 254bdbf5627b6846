import { join } from 'node:path';

/** A folder or file of the test data that others published; it lies beside the project, never in it. */
export function vectorsAt(...path: string[]): string {
  return join(process.env['BYOC_VECTORS'] ?? '../shared/vectors', ...path);
}
