import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { environmentOf } from '../dev/environment.ts';
import type { Stack } from '../dev/stack.ts';
import type { Step } from '../domain/wpk.ts';
import { SlowNetwork } from '../test/support/slow-network.ts';
import { applyStep, buildWpk, configMap, sign } from '../test/support/packages.ts';
import type { BenchContext } from './compare.ts';
import type { RunningConnector } from './connectors.ts';
import { startApart } from './connectors.ts';
import { percentile, summarise } from './statistics.ts';
import type { Deadline } from './table.ts';

const CLUSTER = 'bench-stop';
const PACKAGES = 20;
const OBJECTS = 100;
/** How long each answer of the API server takes on its way: 16 writes under way make about 500 a second. */
const WAY_MS = 30;
const TARGET_MS = 1_000;
/** After which a write that was sent before would have arrived and be in the log. */
const SETTLED_MS = 1_000;
const BYOC = join(import.meta.dirname, '..', 'client', 'cli', 'main.ts');
const PERSON = 'bob@example.com';

/** What a reader of the table must know to believe it. */
export const STOP_NOTES: readonly string[] = [
  `Each round: ${PACKAGES} packages of ${OBJECTS} ConfigMaps are at work; one of them is cancelled in Temporal, then byoc stop --all.`,
  `Answers of the API server reach the worker ${WAY_MS} ms late, as over a network; the command asks it directly.`,
  "The last write is the last one in the API server's own audit log, by when it received it; dry runs don't count.",
  'The command is timed from the start of its process, which takes most of it: see the line about writes after the freeze.',
];

/** Times what happens from a stop until the last write that reaches the API server. */
export async function benchStop({ stack, env, rounds, onProgress }: BenchContext, log: string): Promise<Deadline[]> {
  const names = Array.from({ length: PACKAGES }, (_, index) => `${CLUSTER}-${String(index).padStart(2, '0')}`);
  for (const name of names) await kubectl(stack, 'create', 'namespace', name);
  const network = await SlowNetwork.start(stack.kubernetes);
  const { temporal, vault, s3, stateDir } = stack;
  const throughIt = { temporal, vault, s3, stateDir, kubernetes: network };
  const connector = await startApart({ stack: throughIt, env, clusterId: CLUSTER, approved: [] });
  const writes = new WriteLog(log);
  const found: Round[] = [];
  try {
    const bench = { stack, network, connector, names, writes };
    await stopRound(bench, 'warm-up', 0);
    const typicalMs = await untilFirstEnd(bench);
    for (let round = 1; round <= rounds; round++) {
      const one = await stopRound(bench, String(round), typicalMs);
      found.push(one);
      onProgress(
        `stop ${round} of ${rounds}: ${one.stopped} packages stopped, last write ${one.commandMs.toFixed(0)} ms after the ` +
          `command, ${one.cancelMs.toFixed(0)} ms after the cancel`,
      );
    }
  } finally {
    await connector.stop();
    await network.stop();
  }
  const late = found.reduce((sum, one) => sum + one.late, 0);
  const afterFreeze = found.map((one) => one.freezeMs);
  const running = found.map(({ stopped }) => stopped);
  return [
    {
      what: 'byoc stop --all, to the last write',
      times: summarise(found.map(({ commandMs }) => commandMs)),
      targetMs: TARGET_MS,
      facts: [
        `Writes after the command had returned: ${late}, in ${found.length} stops.`,
        `From when the API server took the freeze to the last write: median ${percentile(afterFreeze, 50).toFixed(0)} ms, p99 ${percentile(afterFreeze, 99).toFixed(0)} ms.`,
        `Until the command returned: median ${percentile(
          found.map((one) => one.returnedMs),
          50,
        ).toFixed(0)} ms, p99 ${percentile(
          found.map((one) => one.returnedMs),
          99,
        ).toFixed(0)} ms.`,
        `Packages that were at work when they were stopped: ${Math.min(...running)} to ${Math.max(...running)} a round.`,
      ],
    },
    {
      what: 'cancel in Temporal, to the last write of the package',
      times: summarise(found.map(({ cancelMs }) => cancelMs)),
      targetMs: TARGET_MS,
    },
  ];
}

interface Round {
  /** From the start of the command's process to the last write; 0 where the last one came before. */
  readonly commandMs: number;
  /** From when the API server received the freeze. */
  readonly freezeMs: number;
  /** Until the command had ended. */
  readonly returnedMs: number;
  /** From the request to Temporal to the last write of the package that was cancelled. */
  readonly cancelMs: number;
  /** Writes that the API server received after the command had returned. */
  readonly late: number;
  readonly stopped: number;
}

interface Bench {
  readonly stack: Stack;
  readonly network: SlowNetwork;
  readonly connector: RunningConnector;
  /** Namespaces, one a package. */
  readonly names: readonly string[];
  readonly writes: WriteLog;
}

async function stopRound(bench: Bench, text: string, typicalMs: number): Promise<Round> {
  const { stack, network, connector, names, writes } = bench;
  const { client } = connector;
  const ids = await startAll(bench, text);
  await sleep(Math.random() * typicalMs * 0.4);
  const { victim, before } = await atWork(bench);
  const cancelledAt = Date.now();
  const cancelling = client.stop(ids[victim] ?? '');
  await sleep(Math.random() * typicalMs * 0.3);
  const commandAt = Date.now();
  await byoc(stack, 'stop', '--all', '--reason', 'bench');
  const returnedAt = Date.now();
  await cancelling;
  await sleep(SETTLED_MS);
  await network.letAnswersThrough();
  const seen = [...before, ...(await writes.read())];
  const phases = await Promise.all(ids.map(async (id) => (await client.result(id)).phase));
  await byoc(stack, 'resume', '--reason', 'bench');

  const own = seen.filter(({ namespace }) => names.includes(namespace));
  const last = Math.max(...own.map(({ at }) => at), 0);
  const lastOfVictim = Math.max(...own.filter(({ namespace }) => namespace === names[victim]).map(({ at }) => at), 0);
  const frozenAt = seen.find(({ name }) => name === `byoc-freeze-${CLUSTER}`)?.at ?? Number.NaN;
  return {
    commandMs: Math.max(0, last - commandAt),
    freezeMs: Math.max(0, last - frozenAt),
    returnedMs: returnedAt - commandAt,
    cancelMs: Math.max(0, lastOfVictim - cancelledAt),
    late: own.filter(({ at }) => at > returnedAt).length,
    stopped: phases.filter((phase) => phase === 'stopped').length,
  };
}

/** A package that is at work now, and the writes until then. */
async function atWork({
  names,
  writes,
}: Bench): Promise<{ readonly victim: number; readonly before: readonly Write[] }> {
  const before: Write[] = [];
  for (;;) {
    before.push(...(await writes.read()));
    const started = names.map((name) => before.filter(({ namespace }) => namespace === name).length);
    const candidates = [...started.keys()].filter((index) => {
      const count = started[index] ?? 0;
      return count > 0 && count < OBJECTS * 0.8;
    });
    const victim = candidates[Math.floor(Math.random() * candidates.length)];
    if (victim !== undefined) return { victim, before };
    await sleep(10);
  }
}

/** How long the packages may be taken to be at work: from the first write until the first of them ends. */
async function untilFirstEnd(bench: Bench): Promise<number> {
  const { connector, network } = bench;
  const ids = await startAll(bench, 'first');
  const startedAt = performance.now();
  const ends = ids.map((id) => connector.client.result(id));
  await Promise.race(ends);
  const tookMs = performance.now() - startedAt;
  await Promise.all(ends);
  await network.letAnswersThrough();
  return tookMs;
}

/** Submits the packages, approves all of them once each has its plan, and waits for the first write. */
async function startAll({ connector, names, writes, network }: Bench, text: string): Promise<string[]> {
  const { client, clusterId, privateKeyPem } = connector;
  const submitted = await Promise.all(
    names.map((name) => {
      const wpk = buildWpk({ clusterId, namespaces: [name], steps: stepsIn(name, text) });
      return client.submit(sign(wpk, privateKeyPem));
    }),
  );
  const ids = submitted.map(({ wpkId }) => wpkId);
  const digests = await Promise.all(ids.map(planOf));
  await writes.read();
  await network.holdAnswers(WAY_MS);
  await Promise.all(ids.map((id, index) => client.approve(id, { approver: PERSON, planDigest: digests[index] ?? '' })));
  while (!(await writes.read()).some(({ namespace }) => names.includes(namespace))) await sleep(10);
  return ids;

  async function planOf(id: string): Promise<string> {
    for (;;) {
      const { phase, planDigest } = await client.get(id);
      if (phase === 'awaiting-approval' && planDigest) return planDigest;
      await sleep(50);
    }
  }
}

function stepsIn(namespace: string, text: string): Step[] {
  const names = Array.from({ length: OBJECTS }, (_, index) => `settings-${index}`);
  return [applyStep(...names.map((name) => configMap(name, namespace, { text })))];
}

interface Write {
  readonly namespace: string;
  readonly name: string;
  /** When the API server received it, ms since the epoch. */
  readonly at: number;
}

/** Writes as the API server itself tells them, in its audit log. */
class WriteLog {
  readonly #file: string;
  #offset = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** What came since the last time; dry runs left out. */
  async read(): Promise<Write[]> {
    const file = await open(this.#file);
    try {
      const { size } = await file.stat();
      const { buffer } = await file.read(Buffer.alloc(size - this.#offset), 0, size - this.#offset, this.#offset);
      const text = buffer.toString('utf8');
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      this.#offset += Buffer.byteLength(whole);
      return whole.split('\n').flatMap(writeIn);
    } finally {
      await file.close();
    }
  }
}

function writeIn(line: string): Write[] {
  if (line === '') return [];
  // The form of audit.k8s.io/v1.
  const { stage, requestURI, objectRef, requestReceivedTimestamp } = JSON.parse(line) as {
    readonly stage: string;
    readonly requestURI: string;
    readonly requestReceivedTimestamp: string;
    readonly objectRef?: { readonly namespace?: string; readonly name?: string };
  };
  if (stage !== 'RequestReceived' || requestURI.includes('dryRun=')) return [];
  const { namespace = '', name = '' } = objectRef ?? {};
  return [{ namespace, name, at: Date.parse(requestReceivedTimestamp) }];
}

const run = promisify(execFile);

async function byoc(stack: Stack, ...args: readonly string[]): Promise<void> {
  const { stateDir: XDG_CACHE_HOME } = stack;
  const env = { ...environmentOf(stack), BYOC_CLUSTER_ID: CLUSTER, PATH: '/usr/bin:/bin', XDG_CACHE_HOME };
  await run(process.execPath, [BYOC, ...args], { env });
}

async function kubectl({ kubernetes }: Stack, ...args: readonly string[]): Promise<void> {
  await run(kubernetes.kubectl, ['--kubeconfig', kubernetes.kubeconfig, ...args]);
}
