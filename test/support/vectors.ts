import { existsSync } from 'node:fs';
import { describe } from '@jest/globals';

/** Describes tests on published data; where the data is not there they are skipped, and their name says why. */
export function describeVectors(name: string, path: string, tests: () => void): void {
  if (existsSync(path)) describe(name, tests);
  else describe.skip(`${name} (skipped: no ${path}; set BYOC_VECTORS)`, tests);
}
