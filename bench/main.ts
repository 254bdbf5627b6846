/** Entry point of `npm run bench -- NAME`: starts a stack of its own, measures, prints, and stops everything. */
import { rm } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { print, printAs, reportError, say } from '../client/cli/output.ts';
import type { Stack } from '../dev/stack.ts';
import { SERVICE_NAMES, startStack } from '../dev/stack.ts';
import { ConnectorError } from '../domain/errors.ts';
import { AGENT_NOTES, benchAgent } from './agent.ts';
import { AUDIT_NOTES, benchAudit } from './audit.ts';
import { APPLY_NOTES, benchApply } from './apply.ts';
import type { BenchContext } from './compare.ts';
import { benchPayloadCodec, PAYLOAD_CODEC_NOTES } from './payload-codec.ts';
import { measurePackageCost, PACKAGE_COST_NOTES, renderPackageCost } from './package-cost.ts';
import { benchPipeline, PIPELINE_NOTES } from './pipeline.ts';
import { benchPlan, PLAN_NOTES } from './plan.ts';
import { benchRedact, REDACT_NOTES } from './redact.ts';
import { isSmall, measureRoles, renderRoles, ROLES_NOTES } from './roles.ts';
import { measureSchedules, renderSchedules, SCHEDULES_NOTES } from './schedules.ts';
import { benchStop, STOP_NOTES } from './stop.ts';
import type { Comparison, Deadline } from './table.ts';
import { alignColumns, isInTime, isMet, ratioOf, renderDeadlines, renderTable } from './table.ts';

interface Benchmark {
  readonly about: string;
  readonly notes: readonly string[];
  readonly run: (context: BenchContext) => Promise<Comparison[]>;
  /** The same for one that needs nothing but this machine. */
  readonly runAlone?: undefined;
}

interface LoneBenchmark extends Omit<Benchmark, 'run' | 'runAlone'> {
  readonly runAlone: (context: Omit<BenchContext, 'stack'> & { readonly stateDir: string }) => Promise<Comparison[]>;
}

/** Times something of ours against a fixed target. */
interface TimedBenchmark extends Omit<Benchmark, 'run' | 'runAlone'> {
  readonly rounds: number;
  /** @param requestLog file in which the API server tells the writes that it gets */
  readonly runTimed: (context: BenchContext, requestLog: string) => Promise<Deadline[]>;
}

const TIMED: ReadonlyMap<string, TimedBenchmark> = new Map([
  [
    'agent',
    { about: "the agent's health while packages are refused", notes: AGENT_NOTES, rounds: 2_000, runTimed: benchAgent },
  ],
  ['stop', { about: 'from a stop to the last write', notes: STOP_NOTES, rounds: 100, runTimed: benchStop }],
]);

const BENCHMARKS: ReadonlyMap<string, Benchmark | LoneBenchmark> = new Map<string, Benchmark | LoneBenchmark>([
  [
    'pipeline',
    { about: 'whole packages and signatures, against cosign and kubectl', notes: PIPELINE_NOTES, run: benchPipeline },
  ],
  ['plan', { about: 'dry runs with differences and risk, against kubectl diff', notes: PLAN_NOTES, run: benchPlan }],
  ['apply', { about: 'execution of approved packages, against kubectl apply', notes: APPLY_NOTES, run: benchApply }],
  ['audit', { about: 'the audit log: durable appends and verifying', notes: AUDIT_NOTES, runAlone: benchAudit }],
  [
    'payload-codec',
    { about: 'what encryption costs a payload', notes: PAYLOAD_CODEC_NOTES, runAlone: benchPayloadCodec },
  ],
  ['redact', { about: 'redaction of 1 MiB, and what it finds', notes: REDACT_NOTES, runAlone: benchRedact }],
]);

/** What is looked at rather than timed, on a stack with all that a connector may stand on. */
const MEASURED: ReadonlyMap<
  string,
  { readonly about: string; readonly notes: readonly string[]; readonly run: Measure }
> = new Map([
  [
    'roles',
    {
      about: 'start and idle memory of each role, from dist/',
      notes: ROLES_NOTES,
      run: async (stack: Stack) => {
        const results = await measureRoles(stack, say);
        return { results: results.map((one) => ({ ...one, met: isSmall(one) })), table: renderRoles(results) };
      },
    },
  ],
  [
    'schedules',
    {
      about: 'what one run of each schedule costs Temporal',
      notes: SCHEDULES_NOTES,
      run: async (stack: Stack) => {
        const results = await measureSchedules(stack, say);
        return { results, table: renderSchedules(results) };
      },
    },
  ],
  [
    'package-cost',
    {
      about: 'what a package takes and leaves behind: CPU, Temporal, disk, bucket, cluster',
      notes: PACKAGE_COST_NOTES,
      run: async (stack: Stack) => {
        const results = await measurePackageCost(stack, say);
        return { results, table: renderPackageCost(results) };
      },
    },
  ],
]);

type Measure = (stack: Stack) => Promise<{ readonly results: unknown; readonly table: readonly (readonly string[])[] }>;

/** Fewer say nothing about a 95th percentile. */
const MIN_ROUNDS = 10;
const ROUNDS = 12;

interface Options {
  readonly output: 'table' | 'json';
  readonly rounds?: number;
}

await new Command('bench')
  .description('Compares the connector with what a user would do without it, in turns, on real servers.')
  .argument('[name]', 'which benchmark; without one they are listed')
  .addOption(new Option('-o, --output <format>', 'how results are printed').choices(['table', 'json']).default('table'))
  .option('--rounds <number>', 'timed rounds of each comparison', roundsIn)
  .addHelpText('after', '\nExample:\n  npm run bench -- pipeline --rounds 20 -o json')
  .action(async (name: string | undefined, options: Options) => {
    if (name === undefined) return list();
    const benchmark = BENCHMARKS.get(name);
    const timed = TIMED.get(name);
    const measured = MEASURED.get(name);
    if (!benchmark && !timed && !measured) {
      say(`bench: there is no benchmark "${name}"`);
      list();
      process.exitCode = 2;
      return;
    }
    try {
      if (benchmark) await measure(benchmark, options);
      if (timed) await time(timed, options);
      if (measured) await look(measured.notes, measured.run, options);
    } catch (error) {
      if (error instanceof ConnectorError) {
        process.exitCode = reportError(error);
      } else {
        say(`bench: ${error instanceof Error ? error.message : String(error)}`);
        process.exitCode = 1;
      }
    }
  })
  .parseAsync();

function list(): void {
  for (const [name, { about }] of [...BENCHMARKS, ...TIMED, ...MEASURED]) print(`${name}  ${about}`);
}

async function measure(benchmark: Benchmark | LoneBenchmark, { rounds = ROUNDS, output }: Options): Promise<void> {
  // The servers end with this process, so there is nothing to wait for.
  process.once('SIGINT', () => process.exit(130));
  // Taken before anything of ours runs: what else keeps the machine busy is in every figure.
  const machine = machineFacts();
  const startedAt = performance.now();
  const results = await run(benchmark, rounds);
  const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
  const rated = results.map((one) => ({ ...one, ratio: ratioOf(one), met: isMet(one) }));
  printAs(output, { machine, rounds, notes: benchmark.notes, results: rated }, () => [
    ...renderTable(results),
    '',
    ...results.flatMap(({ facts = [] }) => facts),
    ...benchmark.notes,
    `${machine.cores} cores (${machine.processor}), load ${machine.loadBefore} before, Node ${machine.node}.`,
    `${rounds} rounds, in turns, ${minutes} min.`,
  ]);
}

async function time({ notes, runTimed, rounds: usual }: TimedBenchmark, { rounds = usual, output }: Options) {
  process.once('SIGINT', () => process.exit(130));
  const machine = machineFacts();
  const stateDir = join(import.meta.dirname, '..', '.byoc', 'bench');
  const requestLog = join(stateDir, 'requests.log');
  await rm(requestLog, { force: true });
  const onProgress = (part: string, message: string) => say(`${part.padEnd(12)} ${message}`);
  const stack = await startStack({ stateDir, env: process.env, onProgress, requestLog });
  try {
    const results = await runTimed({ stack, env: process.env, rounds, onProgress: say }, requestLog);
    const rated = results.map((one) => ({ ...one, met: isInTime(one) }));
    printAs(output, { machine, rounds, notes, results: rated }, () => [
      ...renderDeadlines(results),
      '',
      ...results.flatMap(({ facts = [] }) => facts),
      ...notes,
      `${machine.cores} cores (${machine.processor}), load ${machine.loadBefore} before, Node ${machine.node}.`,
    ]);
  } finally {
    await stack.stop();
  }
}

async function look(notes: readonly string[], run: Measure, { output }: Options): Promise<void> {
  process.once('SIGINT', () => process.exit(130));
  const machine = machineFacts();
  const stateDir = join(import.meta.dirname, '..', '.byoc', 'bench');
  const onProgress = (part: string, message: string) => say(`${part.padEnd(12)} ${message}`);
  const stack = await startStack({
    stateDir,
    env: process.env,
    services: [...SERVICE_NAMES, 'prometheus'],
    onProgress,
  });
  try {
    const { results, table } = await run(stack);
    printAs(output, { machine, notes, results }, () => [
      ...alignColumns(table),
      '',
      ...notes,
      `${machine.cores} cores (${machine.processor}), load ${machine.loadBefore} before, Node ${machine.node}.`,
    ]);
  } finally {
    await stack.stop();
  }
}

async function run(benchmark: Benchmark | LoneBenchmark, rounds: number): Promise<Comparison[]> {
  const stateDir = join(import.meta.dirname, '..', '.byoc', 'bench');
  const context = { env: process.env, rounds, onProgress: say };
  if (benchmark.runAlone) return benchmark.runAlone({ ...context, stateDir });
  const onProgress = (part: string, message: string) => say(`${part.padEnd(12)} ${message}`);
  const stack = await startStack({ stateDir, env: process.env, onProgress });
  try {
    return await benchmark.run({ ...context, stack });
  } finally {
    await stack.stop();
  }
}

function machineFacts() {
  const processor = cpus()[0]?.model.trim() ?? 'unknown';
  const loadBefore = (loadavg()[0] ?? 0).toFixed(1);
  return {
    cores: availableParallelism(),
    processor,
    loadBefore,
    node: process.versions.node,
    platform: process.platform,
  };
}

function roundsIn(text: string): number {
  const rounds = Number(text);
  if (Number.isInteger(rounds) && rounds >= MIN_ROUNDS) return rounds;
  throw new InvalidArgumentError(`At least ${MIN_ROUNDS}.`);
}
