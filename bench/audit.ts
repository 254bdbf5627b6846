import { hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openAuditLog } from '../activities/audit/log.ts';
import { localAuditFiles } from '../client/audit-files.ts';
import { verifyAudit } from '../client/audit-verify.ts';
import { sha256 } from '../client/sha256.ts';
import type { AuditEntry, AuditEvent } from '../domain/audit.ts';
import { GENESIS, sealEntry } from '../domain/audit.ts';
import type { Contestant } from './interleave.ts';
import { interleave } from './interleave.ts';
import { percentile } from './statistics.ts';
import type { Comparison } from './table.ts';
import { duration } from './table.ts';

const WRITERS = [1, 8, 64] as const;
/** A multiple of every number of writers. */
const APPENDS = 3_840;
/** The first rounds compile the code and wake the disk. */
const WARM_UP = 3;
/** How many times faster so many writers have to be together than one sync for each record; one alone just no slower. */
const TARGETS = { 1: 0.9, 8: 1, 64: 30 } as const;

const CHAIN = 'bench.writer';
const SMALL_LOG_BYTES = 64 * 1024 * 1024;
const LARGE_LOG_BYTES = 1024 * 1024 * 1024;
/** Verifying may take twice as long as reading, parsing and hashing alone. */
const VERIFY_TARGET = 0.5;

/** What a reader of the table must know to believe it. */
export const AUDIT_NOTES: readonly string[] = [
  `Appends: ${APPENDS} a round, each awaited by its writer; entries of about 600 bytes, sealed the same way on all sides.`,
  'One fsync per record: write and fsync for each entry, one after the other. Plain: the same writes, never synced.',
  'Verify: against reading the file line by line, JSON.parse and SHA-256 of each, which checks nothing.',
];

export interface AuditBenchContext {
  readonly stateDir: string;
  /** Timed rounds of each comparison. */
  readonly rounds: number;
  readonly onProgress: (message: string) => void;
}

/** Measures appending with durable acknowledgement, and verifying, on the disk that `stateDir` is on. */
export async function benchAudit({ stateDir, rounds, onProgress }: AuditBenchContext): Promise<Comparison[]> {
  await mkdir(stateDir, { recursive: true });
  const dir = await mkdtemp(join(stateDir, 'audit-'));
  try {
    const comparisons = [];
    for (const writers of WRITERS) comparisons.push(await compareAppends(dir, writers, rounds, onProgress));
    comparisons.push(await compareVerify(dir, rounds, onProgress));
    return comparisons;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

type Append = (event: AuditEvent) => Promise<unknown>;

interface Log {
  readonly append: Append;
  close(): Promise<void>;
}

async function compareAppends(
  dir: string,
  writers: keyof typeof TARGETS,
  rounds: number,
  onProgress: (message: string) => void,
): Promise<Comparison> {
  const latencies = new Map<string, number[]>();
  const contestant = (name: string, openLog: (folder: string) => Promise<Log>): Contestant => ({
    name,
    async prepare(round) {
      const folder = await mkdtemp(join(dir, 'log-'));
      const log = await openLog(folder);
      const took: number[] = [];
      return async () => {
        await appendAll(log.append, writers, took);
        await log.close();
        await rm(folder, { recursive: true });
        if (round >= WARM_UP) latencies.set(name, [...(latencies.get(name) ?? []), ...took]);
      };
    },
  });
  const what = `${writers} ${writers === 1 ? 'writer' : 'writers'}, durable append`;
  const times = await interleave(
    [contestant('ours', openOurs), contestant('synced', openSynced), contestant('plain', openPlain)],
    { warmUp: WARM_UP, timed: rounds },
    (round) => onProgress(`${what}: round ${round + 1} of ${WARM_UP + rounds}`),
  );
  const facts = [...times].map(([name, { medianMs }]) => {
    const took = latencies.get(name) ?? [];
    const perSecond = Math.round(APPENDS / (medianMs / 1000)).toLocaleString('en');
    const [p50, p99] = [duration(percentile(took, 50)), duration(percentile(took, 99))];
    return `${what}: ${LABELS[name] ?? name} ${perSecond}/s, p50 ${p50}, p99 ${p99}`;
  });
  const [ours, theirs] = [times.get('ours'), times.get('synced')];
  if (!ours || !theirs) throw new Error('there is nothing to compare with');
  return { what: `${what} (theirs: one fsync per record)`, ours, theirs, target: TARGETS[writers], facts };
}

const LABELS: Readonly<Record<string, string>> = {
  ours: 'ours',
  synced: 'one fsync per record',
  plain: 'plain writes',
};

async function appendAll(append: Append, writers: number, took: number[]): Promise<void> {
  const write = async (writer: number) => {
    for (let n = 0; n < APPENDS / writers; n += 1) {
      const startedAt = performance.now();
      await append(eventOf(`${writer}/${n}`));
      took.push(performance.now() - startedAt);
    }
  };
  await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
}

function eventOf(id: string): AuditEvent {
  const detail = { activity: 'verifyPackage', code: 'WPK_SCHEMA', detail: 'x'.repeat(160), workflowType: 'executeWpk' };
  const actor = { id: 'control-plane@example.com', proof: 'asserted' } as const;
  return { eventId: id, type: 'call.refused', actor, outcome: 'refused', detail, wpk: '01JD0000000000000000000000' };
}

async function openOurs(dir: string): Promise<Log> {
  const log = await openAuditLog({ dir, chain: CHAIN, now: () => new Date(), sha256 });
  return { append: (event) => log.append(event), close: () => log.close() };
}

/** What one writes first: an entry, a sync, the next one. */
function openSynced(dir: string): Promise<Log> {
  return openSimple(dir, true);
}

function openPlain(dir: string): Promise<Log> {
  return openSimple(dir, false);
}

async function openSimple(dir: string, synced: boolean): Promise<Log> {
  const handle = await open(join(dir, 'log.jsonl'), 'a');
  const seal = sealer();
  let last: Promise<unknown> = Promise.resolve();
  const write = async (event: AuditEvent) => {
    await handle.write(`${seal(event)}\n`);
    if (synced) await handle.sync();
  };
  return { append: (event) => (last = last.then(() => write(event))), close: () => handle.close() };
}

function sealer(): (event: AuditEvent) => string {
  let [seq, prev] = [0, GENESIS];
  return (event) => {
    const time = new Date().toISOString();
    const entry: AuditEntry = { ...event, v: 1, chain: CHAIN, seq: (seq += 1), time, prev };
    const { line, hash: sealed } = sealEntry(sha256, entry);
    prev = sealed;
    return line;
  };
}

async function compareVerify(dir: string, rounds: number, onProgress: (message: string) => void): Promise<Comparison> {
  const small = join(dir, 'small.jsonl');
  await writeLog(small, SMALL_LOG_BYTES);
  const what = `verifying ${SMALL_LOG_BYTES / 1024 / 1024} MiB`;
  const times = await interleave(
    [
      { name: 'ours', prepare: () => Promise.resolve(() => verified(small)) },
      { name: 'theirs', prepare: () => Promise.resolve(() => readParseHash(small)) },
    ],
    { warmUp: 1, timed: rounds },
    (round) => onProgress(`${what}: round ${round + 1} of ${1 + rounds}`),
  );
  const [ours, theirs] = [times.get('ours'), times.get('theirs')];
  if (!ours || !theirs) throw new Error('there is nothing to compare with');
  onProgress('verifying 1 GiB, once, for its memory');
  const facts = [await measureMemory(dir)];
  return { what: `${what} (theirs: read, parse, SHA-256)`, ours, theirs, target: VERIFY_TARGET, facts };
}

async function verified(path: string): Promise<void> {
  const { ok } = await verifyAudit(await localAuditFiles([path]));
  if (!ok) throw new Error('the log of the benchmark does not verify');
}

async function readParseHash(path: string): Promise<void> {
  for await (const line of createInterface({ input: createReadStream(path, { highWaterMark: 1024 * 1024 }) })) {
    JSON.parse(line);
    hash('sha256', line);
  }
}

async function measureMemory(dir: string): Promise<string> {
  const large = join(dir, 'large.jsonl');
  await writeLog(large, LARGE_LOG_BYTES);
  const before = process.memoryUsage.rss();
  let peak = before;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20);
  const startedAt = performance.now();
  await verified(large);
  clearInterval(watch);
  const mib = (bytes: number) => Math.round(bytes / 1024 / 1024);
  const took = duration(performance.now() - startedAt);
  return `verifying ${mib(LARGE_LOG_BYTES)} MiB: ${took}, resident memory from ${mib(before)} to at most ${mib(peak)} MiB`;
}

async function writeLog(path: string, bytes: number): Promise<void> {
  const handle = await open(path, 'w');
  const seal = sealer();
  for (let [written, n] = [0, 0]; written < bytes;) {
    const lines = Array.from({ length: 1000 }, () => `${seal(eventOf(`event/${(n += 1)}`))}\n`).join('');
    await handle.write(lines);
    written += lines.length;
  }
  await handle.close();
}
