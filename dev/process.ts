import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { ConnectorError } from '../domain/errors.ts';

/**
 * Ties a program to the life of ours. Each program leads a process group of its own; a watcher in that group holds the
 * read end of a pipe whose other end only we hold. When we end, however we end (SIGKILL included), the kernel closes
 * the pipe, the watcher's `read` returns, and the whole group is killed. `exec` makes the program itself the group's
 * leader, so its pid, signals and exit code are the ones that we see.
 */
const WATCH = 'exec 3<&0; { read -r _ <&3; rm -f $BYOC_LEFTOVERS; kill -KILL -$$; } >/dev/null 2>&1 &';
/** What only the watcher needs does not reach the program, which would take it for a misspelt setting. */
const TETHER = `${WATCH} unset BYOC_LEFTOVERS; exec "$@" </dev/null 3<&-`;

/** How long a program may take to end after SIGTERM before it is killed. */
const STOP_TIMEOUT_MS = 5_000;
const LAST_LINES = 12;

export interface ProgramOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** stdout and stderr are appended here. */
  readonly logFile: string;
  readonly cwd?: string;
  /** The whole environment of the program; nothing is inherited. */
  readonly env: NodeJS.ProcessEnv;
  /** Files that it leaves behind wherever it ends, removed by its watcher; paths without spaces. */
  readonly leftovers?: readonly string[];
}

/** A running program that ends when we end. */
export class Program {
  readonly name: string;
  readonly #options: ProgramOptions;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #logStart: number;
  #failure: Error | undefined;

  constructor(options: ProgramOptions) {
    this.name = options.name;
    this.#options = options;
    mkdirSync(dirname(options.logFile), { recursive: true });
    const log = openSync(options.logFile, 'a', 0o600);
    this.#logStart = fstatSync(log).size;
    this.#child = spawn('/bin/sh', ['-c', TETHER, 'sh', options.command, ...options.args], {
      detached: true,
      cwd: options.cwd,
      env: { ...options.env, BYOC_LEFTOVERS: (options.leftovers ?? []).join(' ') },
      stdio: ['pipe', log, log],
    });
    closeSync(log);
    // The pipe carries nothing; it breaks when the program ends, which `exit` tells already.
    this.#child.stdin?.on('error', () => undefined);
    this.#exited = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#failure = error;
        resolve();
      });
      this.#child.once('exit', () => {
        // Closing the pipe ends the watcher, and with it what the program may have left in its group.
        this.#child.stdin?.destroy();
        resolve();
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#failure === undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Why the program is not running and what it said last, as one text for people. */
  describeEnd(): string {
    const { signalCode, exitCode } = this.#child;
    const how = this.#failure ? this.#failure.message : signalCode ? `ended by ${signalCode}` : `exit code ${exitCode}`;
    return `${this.name}: ${how}\n${this.lastLines()}\n(log: ${this.#options.logFile})`;
  }

  lastLines(): string {
    return this.output().trimEnd().split('\n').slice(-LAST_LINES).join('\n');
  }

  /** What the program has printed since it was started. */
  output(): string {
    return readFileSync(this.#options.logFile).subarray(this.#logStart).toString();
  }

  /** Ends the program at once, without a chance to clean up. */
  async kill(): Promise<void> {
    if (this.running) this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** Asks the program to end, and ends it when it doesn't within five seconds. */
  async stop(): Promise<void> {
    if (this.running) this.#child.kill('SIGTERM');
    const patience = new AbortController();
    const late = sleep(STOP_TIMEOUT_MS, true, { signal: patience.signal }).catch(() => false);
    if (await Promise.race([this.#exited.then(() => false), late])) await this.kill();
    patience.abort();
  }
}

/**
 * Waits until `probe` returns true.
 * @param probe asked every 50 ms; a rejection counts as "not yet"
 * @throws ConnectorError PART_UNAVAILABLE when the program ends before, or after `timeoutMs`
 */
export async function untilHealthy(
  program: Program,
  probe: () => Promise<boolean>,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const deadline = Date.now() + options.timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    if (!program.running) throw new ConnectorError('PART_UNAVAILABLE', program.describeEnd());
    if (await probe().catch(() => false)) return;
    if (Date.now() > deadline) {
      const text = `${program.name} is not healthy after ${options.timeoutMs / 1000} s; it said last:`;
      throw new ConnectorError('PART_UNAVAILABLE', `${text}\n${program.lastLines()}`);
    }
    await sleep(50);
  }
}

/**
 * Runs a program to its end, as long as we live and `signal` is not aborted.
 * @returns its stdout
 * @throws ConnectorError PART_UNAVAILABLE with the last lines of its stderr when it fails or can't be started
 */
export async function run(
  command: string,
  args: readonly string[],
  options: {
    readonly env: NodeJS.ProcessEnv;
    readonly cwd?: string | undefined;
    readonly signal?: AbortSignal | undefined;
    /** Gets each line of stderr as it comes. */
    readonly onLine?: ((line: string) => void) | undefined;
  },
): Promise<string> {
  options.signal?.throwIfAborted();
  const child = spawn('/bin/sh', ['-c', TETHER, 'sh', command, ...args], {
    detached: true,
    cwd: options.cwd,
    env: { ...options.env, BYOC_LEFTOVERS: '' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.on('error', () => undefined);
  // Closing the pipe is the one way to end the whole group, children of the program included.
  const abort = () => child.stdin.destroy();
  options.signal?.addEventListener('abort', abort, { once: true });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-20_000);
    for (const line of text.split('\n')) if (line.trim()) options.onLine?.(line.trim());
  });
  child.once('exit', abort);
  const failure = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => {
      resolve(code === 0 ? undefined : signal ? `ended by ${signal}` : `exit code ${code}`);
    });
  });
  options.signal?.removeEventListener('abort', abort);
  options.signal?.throwIfAborted();
  if (failure !== undefined) {
    const last = (stderr || stdout).trimEnd().split('\n').slice(-LAST_LINES).join('\n');
    throw new ConnectorError('PART_UNAVAILABLE', `${command} ${args.join(' ')}: ${failure}\n${last}`);
  }
  return stdout;
}
