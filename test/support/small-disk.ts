import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from '@jest/globals';

/** A file system of its own, as small as is asked for. */
export class SmallDisk {
  readonly path = mkdtempSync(join(tmpdir(), 'byoc-disk-'));

  /** Throws where nobody, or not this user, may mount one. */
  constructor(sizeKib: number) {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeKib}k`, 'tmpfs', this.path], { stdio: 'pipe' });
    } catch (error) {
      rmSync(this.path, { recursive: true });
      throw error;
    }
  }

  makeReadOnly(): void {
    execFileSync('mount', ['-o', 'remount,ro', this.path]);
  }

  makeWritable(): void {
    execFileSync('mount', ['-o', 'remount,rw', this.path]);
  }

  unmount(): void {
    execFileSync('umount', ['-l', this.path]);
    rmSync(this.path, { recursive: true });
  }
}

/** Describes tests on small disks; where none can be mounted they are skipped, and their name says why. */
export function describeOnSmallDisk(name: string, tests: () => void): void {
  if (canMount()) describe(name, tests);
  else describe.skip(`${name} (skipped: mounting a small disk needs root)`, tests);
}

function canMount(): boolean {
  try {
    new SmallDisk(64).unmount();
    return true;
  } catch {
    return false;
  }
}
