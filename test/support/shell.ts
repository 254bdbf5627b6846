import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';

/** What a person types when they are asked. */
export interface Answer {
  readonly asked: RegExp;
  readonly typed: string;
}

export interface ShellOptions {
  /** Where what is typed is kept. */
  readonly folder: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Reads what to carry out from a channel of its own, so that the terminal is for questions and answers alone. */
const LOOP = `stty cols 160 rows 50; set -euo pipefail
while IFS= read -r -u 3 file; do . "$file"; printf '\\036'; done`;
const DONE = '\u001E';
const TIMEOUT_MS = 90_000;
const THINK_MS = 100;

/**
 * A shell on a terminal, as a person has it: variables, functions and the folder stay from one text to the next, and programs
 * may ask. It ends where a command fails.
 */
export class Shell {
  readonly #child: ChildProcess;
  readonly #folder: string;
  #count = 0;
  #output = '';
  #changed: () => void = () => undefined;
  #ended = false;

  constructor({ folder, env }: ShellOptions) {
    this.#folder = folder;
    // script(1) is what gives a terminal to a program that has none.
    const command = `exec bash --norc --noprofile -c '${LOOP.replaceAll("'", `'\\''`)}'`;
    this.#child = spawn('/usr/bin/script', ['-qefc', command, '/dev/null'], {
      env: { SHELL: '/bin/bash', TERM: 'dumb', NO_COLOR: '1', ...env },
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (data: Buffer) => {
        this.#output += data.toString();
        this.#changed();
      });
    }
    this.#child.once('close', () => {
      this.#ended = true;
      this.#changed();
    });
  }

  /**
   * Carries out some lines.
   * @param answers to what the lines ask, in this order; each must be asked for
   * @returns what was shown meanwhile
   * @throws {Error} with it, where a command fails or asks something else
   */
  async type(text: string, answers: readonly Answer[] = []): Promise<string> {
    if (this.#ended) throw new Error('The shell has ended.');
    const file = join(this.#folder, `typed-${(this.#count += 1)}.sh`);
    await writeFile(file, `${text}\n`);
    const left = [...answers];
    let unseen = 0;
    this.#output = '';
    const shown = () => this.#output.replaceAll('\r\n', '\n');
    const ended = new Promise<string>((resolve, reject) => {
      const late = setTimeout(() => {
        this.#child.kill();
        reject(new Error(`does not end:\n${text}\n${shown()}`));
      }, TIMEOUT_MS);
      const settle = (act: () => void) => {
        clearTimeout(late);
        act();
      };
      this.#changed = () => {
        const [next] = left;
        if (next?.asked.test(this.#output.slice(unseen))) {
          left.shift();
          unseen = this.#output.length;
          // Programs ask first, and only then stop showing what is typed.
          setTimeout(() => this.#child.stdin?.write(`${next.typed}\n`), THINK_MS);
        }
        if (this.#output.endsWith(DONE)) settle(() => resolve(shown().slice(0, -1)));
        else if (this.#ended) settle(() => reject(new Error(`failed:\n${text}\n${shown()}`)));
      };
    });
    (this.#child.stdio[3] as Writable).write(`${file}\n`); // a pipe, as it was asked for
    const said = await ended;
    if (left.length > 0) throw new Error(`did not ask ${String(left[0]?.asked)}:\n${text}\n${said}`);
    return said;
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    (this.#child.stdio[3] as Writable).end();
    this.#child.stdin?.end();
    await closed;
  }
}
