/**
 * `npm test`: starts the real parts once, runs the layers in order, and ends with one line that says how it went.
 * `npm test -- PATTERN` runs the files that match.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from '../dev/stack.ts';
import { SHARED_STACK, TEST_CLOTHES } from './support/stack.ts';

interface JestResults {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** The first layer needs no server; the others share one stack. */
const LAYERS = ['rules', 'activities', 'workflows', 'replay', 'whole'];

/** Most of a test's time goes by waiting for servers, so every core has a file; more than a few are too many for one stack. */
const FILES_AT_A_TIME = Math.min(availableParallelism(), 4);

const jest = createRequire(import.meta.url).resolve('jest/bin/jest');
const folder = await mkdtemp(join(tmpdir(), 'byoc-tests-'));
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort());

const totals = { passed: 0, failed: 0, skipped: [] as string[] };
const patterns = process.argv.slice(2);
const starting = startStack({
  stateDir: join(folder, 'stack'),
  env: process.env,
  signal: interrupted.signal,
  onProgress: (part, message) => console.error(`[stack] ${part}: ${message}`),
});
starting.catch(() => undefined); // awaited below; it must not end the process before the first layer is through

try {
  for (const layer of LAYERS) {
    if (layer !== 'rules') await starting;
    if (interrupted.signal.aborted) break;
    await runJest(layer);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  totals.failed += 1;
} finally {
  await starting.then((stack) => stack.stop()).catch(() => undefined);
  await rm(folder, { recursive: true, force: true });
}

for (const name of totals.skipped) console.log(`skipped: ${name}`);
const skipped = totals.skipped.length > 0 ? `, ${totals.skipped.length} skipped` : '';
console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
process.exitCode = totals.failed > 0 || interrupted.signal.aborted || totals.passed === 0 ? 1 : 0;

async function runJest(layer: string): Promise<void> {
  const output = join(folder, `${layer}.json`);
  const args = [
    jest,
    '--selectProjects',
    layer,
    ...(patterns.length > 0 ? ['--passWithNoTests'] : []),
    '--json',
    `--outputFile=${output}`,
    `--maxWorkers=${FILES_AT_A_TIME}`,
  ];
  const runner = spawn(process.execPath, [...args, ...patterns.map((pattern) => `--testPathPatterns=${pattern}`)], {
    stdio: ['ignore', 'ignore', 'inherit'], // the report is on stderr, the JSON of stdout is in the file
    env: {
      ...process.env,
      NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning',
      [SHARED_STACK]: join(folder, 'stack'),
      [TEST_CLOTHES]: process.env[TEST_CLOTHES] ?? (layer === 'whole' ? 'production' : 'development'),
    },
  });
  const stop = () => runner.kill('SIGTERM');
  interrupted.signal.addEventListener('abort', stop);
  const code = await new Promise<number | null>((resolve) => runner.once('exit', resolve));
  interrupted.signal.removeEventListener('abort', stop);
  const results = await readFile(output, 'utf8').then(
    (text) => JSON.parse(text) as JestResults,
    () => undefined,
  );
  if (!results) {
    totals.failed += 1;
    return;
  }
  totals.passed += results.numPassedTests;
  // A file that cannot even be loaded has no failed tests of its own.
  totals.failed += Math.max(results.numFailedTests + results.numRuntimeErrorTestSuites, code === 0 ? 0 : 1);
  for (const { assertionResults } of results.testResults) {
    for (const { status, fullName } of assertionResults) if (status === 'pending') totals.skipped.push(fullName);
  }
}
