import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../dev/programs.ts';
import { devSettings } from '../../dev/settings.ts';

const run = promisify(execFile);

/** For `beforeAll`: cosign is built where it is not in the cache yet. */
export const COSIGN_TIMEOUT_MS = 900_000;

/** The real cosign, working in a folder of its own. */
export class Cosign {
  readonly #program: string;
  readonly #folder: string;

  private constructor(program: string, folder: string) {
    this.#program = program;
    this.#folder = folder;
  }

  static async open(): Promise<Cosign> {
    const program = await findProgram('cosign', {
      settings: devSettings(process.env),
      onProgress: (part, message) => console.error(`${part}: ${message}`),
    });
    return new Cosign(program, await mkdtemp(join(tmpdir(), 'byoc-cosign-')));
  }

  /** The path of a file in the folder. */
  at(name: string): string {
    return join(this.#folder, name);
  }

  write(name: string, content: string | Uint8Array): Promise<void> {
    return writeFile(this.at(name), content);
  }

  read(name: string): Promise<string> {
    return readFile(this.at(name), 'utf8');
  }

  async readJson(name: string): Promise<unknown> {
    return JSON.parse(await this.read(name));
  }

  /** Runs cosign with keys that have no password; rejects where it fails. */
  call(...args: string[]) {
    return this.callWith('', ...args);
  }

  callWith(password: string, ...args: string[]) {
    return run(this.#program, args, { cwd: this.#folder, env: { ...process.env, COSIGN_PASSWORD: password } });
  }

  /** Whether cosign is content. */
  accepts(...args: string[]): Promise<boolean> {
    return this.call(...args).then(
      () => true,
      () => false,
    );
  }

  remove(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}
