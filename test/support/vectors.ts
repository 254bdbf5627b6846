import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from '@jest/globals';

/** A folder or file of the test data that others published; it lies beside the project, never in it. */
export function vectorsAt(...path: string[]): string {
  return join(process.env['BYOC_VECTORS'] ?? '../shared/vectors', ...path);
}

/** Describes tests on published data; where the data is not there they are skipped, and their name says why. */
export function describeVectors(name: string, path: string, tests: () => void): void {
  if (existsSync(path)) describe(name, tests);
  else describe.skip(`${name} (skipped: no ${path}; set BYOC_VECTORS)`, tests);
}
