import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { PreparedConnector } from '../dev/connector.ts';
import { prepareConnector } from '../dev/connector.ts';
import { Program, untilHealthy } from '../dev/process.ts';
import type { Stack } from '../dev/stack.ts';
import type { Role } from '../domain/names.ts';
import { MetricsTarget } from './metrics-target.ts';
import { cpuMsOf } from './process-cpu.ts';
import { median } from './statistics.ts';

/** What is measured of one role. */
export interface RoleFootprint {
  readonly role: Role;
  readonly readyMs: readonly number[];
  readonly memory: Memory;
  /** Thousandths of a core, while idle. */
  readonly cpuMillicores: number;
  readonly targetMib: number;
}

/** MiB, from /proc/PID/smaps. */
interface Memory {
  readonly rss: number;
  /** What is shared with other processes counts in parts. */
  readonly pss: number;
  readonly parts: Readonly<Record<MemoryPart, number>>;
}

type MemoryPart = 'node' | 'temporal core' | 'other files' | 'V8 heaps' | 'native heap and stacks';

const CLUSTER = 'bench-roles';
const STARTS = 5;
/** Of the starts, those whose memory is looked at, too. */
const WATCHED = 3;
/** Start and what follows it, as the first beats and what a small role gives back then. */
const SETTLED_MS = 30_000;
const IDLE_MS = 60_000;
const READY_TARGET_MS = 2_000;
const START_TIMEOUT_MS = 60_000;
const TARGETS_MIB: Readonly<Record<Role, number>> = { registration: 150, metrics: 150, execution: 220 };
const ROOT = join(import.meta.dirname, '..');

const SMALL = {
  // One arena instead of eight a core: glibc keeps in each what was freed there.
  MALLOC_ARENA_MAX: '1',
  MALLOC_TRIM_THRESHOLD_: '65536',
  TOKIO_WORKER_THREADS: '1',
  UV_THREADPOOL_SIZE: '2',
  NODE_OPTIONS: '--max-semi-space-size=1 --v8-pool-size=1',
} as const;

/** The settings of the runtime that keep memory small; the chart sets the same (docs/roles.md). */
export const RUNTIME: Readonly<Record<Role, Readonly<Record<string, string>>>> = {
  registration: SMALL,
  metrics: SMALL,
  execution: { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '65536', NODE_OPTIONS: '--max-semi-space-size=2' },
};

export const ROLES_NOTES: readonly string[] = [
  'Each role is a process of its own from dist/, with its prebuilt bundle and the settings of the runtime in docs/roles.md.',
  `Ready: from the start of the process to its line "ready", ${STARTS} starts. CPU, in thousandths of a core: over ${IDLE_MS / 1_000} s that begin ${SETTLED_MS / 1_000} s after it, without a package, schedules running. Memory: at their end.`,
  `Of ${WATCHED} starts the one in the middle, by memory.`,
  'RSS is what the kernel counts for the process; PSS counts what it shares with others in parts.',
];

/** Builds dist/, then starts each role and looks at it when it is idle. */
export async function measureRoles(stack: Stack, onProgress: (what: string) => void): Promise<RoleFootprint[]> {
  onProgress('building dist/');
  await promisify(execFile)(process.execPath, [join(ROOT, 'dev', 'build.ts')]);
  const folder = join(stack.stateDir, CLUSTER);
  const prepared = await prepareConnector({
    services: stack,
    folder,
    clusterId: CLUSTER,
    controlPlane: stack.controlPlane,
  });
  const target = await MetricsTarget.start(stack, folder);
  const env = {
    ...prepared.env,
    ...target.settings,
    BYOC_AGENT_PORT: '0',
  };
  try {
    const found: RoleFootprint[] = [];
    for (const role of ['execution', 'registration', 'metrics'] as const) {
      found.push(await measure(role, { ...prepared, env }, onProgress));
    }
    return found;
  } finally {
    await target.close();
  }
}

async function measure(
  role: Role,
  prepared: PreparedConnector,
  onProgress: (what: string) => void,
): Promise<RoleFootprint> {
  const readyMs: number[] = [];
  const idle: { readonly memory: Memory; readonly cpuMillicores: number }[] = [];
  for (let start = 1; start <= STARTS; start++) {
    const { program, tookMs } = await startRole(role, prepared, start);
    readyMs.push(tookMs);
    onProgress(`${role}: ready in ${Math.round(tookMs)} ms`);
    if (start > STARTS - WATCHED) idle.push(await watch(program));
    await program.stop();
  }
  idle.sort((one, other) => one.memory.rss - other.memory.rss);
  const middle = idle[Math.floor(WATCHED / 2)];
  if (!middle) throw new Error('nothing was looked at');
  return { role, readyMs, ...middle, targetMib: TARGETS_MIB[role] };
}

/** What an idle process takes: CPU over a while, memory at its end. */
async function watch(program: Program): Promise<Pick<RoleFootprint, 'memory' | 'cpuMillicores'>> {
  await sleep(SETTLED_MS);
  const before = await cpuMsOf(program);
  await sleep(IDLE_MS);
  const cpuMillicores = ((await cpuMsOf(program)) - before) / (IDLE_MS / 1_000);
  return { memory: memoryIn(await readFile(`/proc/${program.pid}/smaps`, 'utf8')), cpuMillicores };
}

async function startRole(role: Role, { folder, env }: PreparedConnector, start: number) {
  const home = join(folder, `${role}-${start}`);
  await mkdir(home, { recursive: true });
  const startedAt = performance.now();
  const program = new Program({
    name: role,
    command: process.execPath,
    args: [join(ROOT, 'dist', 'worker', 'main.js'), '--role', role],
    env: {
      PATH: '/usr/bin:/bin',
      HOME: home,
      ...env,
      ...RUNTIME[role],
      BYOC_WRITER: `${role}-${start}`,
      BYOC_DATA_DIR: join(home, 'data'),
    },
    logFile: join(home, 'worker.log'),
  });
  const isReady = () => Promise.resolve(program.output().includes('"message":"ready"'));
  await untilHealthy(program, isReady, { timeoutMs: START_TIMEOUT_MS });
  return { program, tookMs: performance.now() - startedAt };
}

/** @param smaps as proc(5) has it: mappings, each with a header and lines of `Name: value kB` */
function memoryIn(smaps: string): Memory {
  const parts = { node: 0, 'temporal core': 0, 'other files': 0, 'V8 heaps': 0, 'native heap and stacks': 0 };
  let rss = 0;
  let pss = 0;
  let part: MemoryPart = 'other files';
  for (const line of smaps.split('\n')) {
    const header = /^[0-9a-f]+-[0-9a-f]+ (\S{4}) \S+ \S+ \d+\s*(.*)$/.exec(line);
    if (header) part = partOf(header[2] ?? '', line);
    const [, name, kib] = /^(Rss|Pss):\s+(\d+) kB$/.exec(line) ?? [];
    const mib = Number(kib ?? 0) / 1024;
    if (name === 'Pss') pss += mib;
    if (name !== 'Rss') continue;
    rss += mib;
    parts[part] += mib;
  }
  return { rss, pss, parts };
}

/** V8 reserves its heaps in pages of 256 KiB and more, aligned to that, and names none; the rest is the allocator's. */
function partOf(path: string, header: string): MemoryPart {
  if (path.endsWith('/node')) return 'node';
  if (path.endsWith('.node')) return 'temporal core';
  if (path.startsWith('/')) return 'other files';
  const [start = '0', end = '0'] = (header.split(' ')[0] ?? '').split('-');
  const [from, to] = [BigInt(`0x${start}`), BigInt(`0x${end}`)];
  const isV8 = path === '' && from % V8_PAGE === 0n && to % V8_PAGE === 0n;
  return isV8 ? 'V8 heaps' : 'native heap and stacks';
}

const V8_PAGE = 256n * 1024n;

/** Whether it is as small and as quick as it is to be. */
export function isSmall({ readyMs, memory, targetMib }: RoleFootprint): boolean {
  return memory.rss <= targetMib && median(readyMs) <= READY_TARGET_MS;
}

export function renderRoles(found: readonly RoleFootprint[]): string[][] {
  const mib = (value: number) => `${value.toFixed(0)} MiB`;
  const names = Object.keys(found[0]?.memory.parts ?? {}) as MemoryPart[]; // the table's own keys
  return [
    ['role', 'ready', 'target', 'RSS', 'target', 'PSS', ...names, 'CPU', 'met'],
    ...found.map((one) => [
      one.role,
      `${(median(one.readyMs) / 1000).toFixed(2)} s`,
      `≤ ${READY_TARGET_MS / 1000} s`,
      mib(one.memory.rss),
      `≤ ${one.targetMib} MiB`,
      mib(one.memory.pss),
      ...names.map((name) => mib(one.memory.parts[name])),
      `${one.cpuMillicores.toFixed(0)}m`,
      isSmall(one) ? 'yes' : 'no',
    ]),
  ];
}
