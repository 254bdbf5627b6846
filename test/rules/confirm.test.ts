import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const CONFIRM = join(import.meta.dirname, '../../client/cli/confirm.ts');
const PROGRAM = `import { confirm } from ${JSON.stringify(CONFIRM)}; console.log((await confirm("Sure?")) ? "yes" : "no");`;

/** Runs the question on a terminal of its own, and presses some keys as soon as it is asked. */
function answered(keys: string): Promise<{ code: number | null; shown: string }> {
  return new Promise((resolve) => {
    // script(1) gives a terminal to a program that has none, and ends as the program does.
    const command = `exec '${process.execPath}' --input-type=module -e '${PROGRAM}'`;
    const child = spawn('/usr/bin/script', ['-qefc', command, '/dev/null'], {
      env: { SHELL: '/bin/bash', TERM: 'dumb', NO_COLOR: '1' },
    });
    let shown = '';
    let pressed = false;
    child.stdout.on('data', (data: Buffer) => {
      shown += data.toString();
      if (pressed || !shown.includes('[y/N] ')) return;
      pressed = true;
      child.stdin.write(keys);
    });
    child.once('close', (code) => resolve({ code, shown: shown.replaceAll('\r\n', '\n') }));
  });
}

describe('a question on the terminal', () => {
  it.each([
    ['y', 'y\r', 'yes'],
    ['Yes', 'Yes\r', 'yes'],
    ['return alone', '\r', 'no'],
    ['anything else', 'yep\r', 'no'],
    ['^D', '\x04', 'no'],
  ])('answered by %s', async (_what, keys, outcome) => {
    const { code, shown } = await answered(keys);
    expect([code, shown.trim().split('\n').at(-1)]).toEqual([0, outcome]);
  });

  it('ends by the signal on ^C', async () => {
    const { code, shown } = await answered('\x03');
    expect(code).toBe(130);
    expect(shown).not.toMatch(/yes$|no$|Error/m);
  });
});
