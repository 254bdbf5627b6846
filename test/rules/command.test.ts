import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function byoc(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [BYOC, ...args], { env }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

describe('byoc', () => {
  it('says so where it waits for something that never comes', async () => {
    const hung = 'fs.readFile = () => new Promise(() => {}); syncBuiltinESMExports();';
    const module = `import fs from 'node:fs/promises'; import { syncBuiltinESMExports } from 'node:module'; ${hung}`;
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(module)}`;
    expect(await byoc(['check', 'x.wpk.json'], { NODE_OPTIONS })).toMatchObject({
      ...{ code: 1, stdout: '', stderr: expect.stringMatching(/^byoc: INTERNAL: .*waits for something that never/) },
    });
  });
});
