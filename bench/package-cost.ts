import { execFile } from 'node:child_process';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openBucket } from '../activities/s3/bucket.ts';
import { ConnectorClient } from '../client/connector-client.ts';
import type { SubmittedPackage } from '../client/connector-client.ts';
import type { Signer } from '../client/signer.ts';
import { openSigner } from '../client/signer.ts';
import { signApproval } from '../client/vote.ts';
import type { PreparedConnector } from '../dev/connector.ts';
import { DEV_APPROVER, prepareConnector, startWorker } from '../dev/connector.ts';
import type { Program } from '../dev/process.ts';
import type { Stack } from '../dev/stack.ts';
import { STATE_NAMESPACE } from '../domain/names.ts';
import { buildWpk, sign } from '../test/support/packages.ts';
import { configMapChange } from './changes.ts';
import { planOf } from './package-run.ts';
import { cpuMsOf } from './process-cpu.ts';
import type { RunCost } from './run-cost.ts';
import { runCostOf } from './run-cost.ts';
import { RUNTIME } from './roles.ts';
import { median } from './statistics.ts';

/** What one package costs, or leaves behind, of one thing. */
export interface PackageCost {
  readonly where: string;
  readonly what: string;
  readonly perPackage: number;
}

const CLUSTER = 'bench-cost';
const OBJECTS = 4;
/** Timed one right after the other, in a worker that has carried out some. */
const WARM_UP = 20;
const TIMED = 100;
/** What is left behind is counted of packages that come singly: what comes in a row shares uploads of the audit log. */
const COUNTED = 30;
/** The audit log is uploaded half a second after a package's end. */
const APART_MS = 1_500;

export const PACKAGE_COST_NOTES: readonly string[] = [
  `Packages of ${OBJECTS} ConfigMaps of about 450 bytes each, with one signed vote; a bucket with Object Lock; the chart's settings of the runtime. Payloads are not encrypted.`,
  `CPU: all that the worker's process took for ${TIMED} packages, one right after the other, after ${WARM_UP} others.`,
  `All else: of ${COUNTED} packages that came singly, less what a worker leaves that starts and ends without one. Temporal's figures are medians.`,
];

/** What is counted while the worker is not running. */
interface Leftovers {
  readonly entries: number;
  readonly auditBytes: number;
  readonly objects: number;
  readonly objectBytes: number;
  readonly records: number;
  readonly recordBytes: number;
}

/** Runs packages through a worker and looks at what they leave in Temporal, on the disk, in the bucket and in the cluster. */
export async function measurePackageCost(stack: Stack, onProgress: (what: string) => void): Promise<PackageCost[]> {
  const prepared = await prepareConnector({
    services: stack,
    folder: join(stack.stateDir, CLUSTER),
    clusterId: CLUSTER,
    env: RUNTIME.execution,
  });
  await kubectl(stack, 'create', 'namespace', CLUSTER);
  const signer = await openSigner(prepared.approverKeyPath, {});
  const client = await ConnectorClient.connect(CLUSTER, prepared.env);
  const run = (which: Pick<Work, 'first' | 'count' | 'apartMs'>) => runPackages({ client, signer, prepared, ...which });
  try {
    onProgress(`${TIMED} packages in a row`);
    const cpuMs = await withWorker(prepared, async (worker) => {
      await run({ first: 0, count: WARM_UP });
      const start = await cpuMsOf(worker);
      await run({ first: WARM_UP, count: TIMED });
      return (await cpuMsOf(worker)) - start;
    });
    onProgress(`${COUNTED} packages singly`);
    const before = await leftovers(stack, prepared);
    const packages = await withWorker(prepared, () =>
      run({ first: WARM_UP + TIMED, count: COUNTED, apartMs: APART_MS }),
    );
    const between = await leftovers(stack, prepared);
    await withWorker(prepared, () => sleep(APART_MS));
    const after = await leftovers(stack, prepared);
    const each = (name: keyof Leftovers) => (2 * between[name] - before[name] - after[name]) / COUNTED;
    return [
      { where: 'worker', what: 'ms of CPU', perPackage: cpuMs / TIMED },
      ...(await inTemporal(client, packages)),
      { where: 'audit log', what: 'entries', perPackage: each('entries') },
      { where: 'audit log', what: 'bytes on the disk', perPackage: each('auditBytes') },
      { where: 'bucket', what: 'objects', perPackage: each('objects') },
      { where: 'bucket', what: 'bytes', perPackage: each('objectBytes') },
      { where: 'cluster', what: 'ConfigMaps and Secrets', perPackage: each('records') },
      { where: 'cluster', what: 'bytes of them, as JSON', perPackage: each('recordBytes') },
    ];
  } finally {
    await client.close();
  }
}

export function renderPackageCost(costs: readonly PackageCost[]): string[][] {
  return [
    ['where', 'what', 'a package'],
    ...costs.map(({ where, what, perPackage }) => [where, what, perPackage.toFixed(perPackage < 100 ? 1 : 0)]),
  ];
}

async function withWorker<T>(prepared: PreparedConnector, work: (worker: Program) => Promise<T>): Promise<T> {
  const worker = await startWorker(prepared);
  try {
    return await work(worker);
  } finally {
    await worker.stop();
  }
}

interface Work {
  readonly client: ConnectorClient;
  readonly signer: Signer;
  readonly prepared: PreparedConnector;
  /** The round of the change with which the first package comes. */
  readonly first: number;
  readonly count: number;
  /** Between the end of one and the start of the next. */
  readonly apartMs?: number;
}

async function runPackages({ client, signer, prepared, first, count, apartMs = 0 }: Work): Promise<SubmittedPackage[]> {
  const change = configMapChange(CLUSTER, OBJECTS);
  const packages: SubmittedPackage[] = [];
  for (let round = first; round < first + count; round++) {
    const wpk = buildWpk({
      ...{ clusterId: CLUSTER, namespaces: [change.namespace], sequence: round + 1 },
      steps: change.steps(round),
    });
    const one = await client.submit(sign(wpk, prepared.privateKeyPem));
    const { workflowId, runId, wpkId } = one;
    const about = { workflowId, runId, plan: await planOf(client, wpkId) };
    await client.approve(wpkId, await signApproval(about, { approver: DEV_APPROVER.identity, signer }));
    const { phase, error } = await client.result(wpkId);
    if (phase !== 'succeeded') throw new Error(`a package ended as ${phase}: ${error?.message ?? 'no reason given'}`);
    packages.push(one);
    await sleep(apartMs);
  }
  return packages;
}

async function inTemporal({ client }: ConnectorClient, packages: readonly SubmittedPackage[]): Promise<PackageCost[]> {
  const runs: RunCost[] = [];
  for (const { workflowId, runId } of packages)
    runs.push(await runCostOf(client.workflow.getHandle(workflowId, runId)));
  const where = 'Temporal';
  return [
    { where, what: 'events', perPackage: median(runs.map(({ events }) => events)) },
    { where, what: 'state transitions', perPackage: median(runs.map(({ transitions }) => transitions)) },
    { where, what: 'bytes of history', perPackage: median(runs.map(({ bytes }) => bytes)) },
  ];
}

async function leftovers(stack: Stack, { auditDir }: PreparedConnector): Promise<Leftovers> {
  let auditBytes = 0;
  let entries = 0;
  for await (const file of glob('**/*.jsonl', { cwd: auditDir })) {
    const text = await readFile(join(auditDir, file));
    auditBytes += text.length;
    entries += text.toString().split('\n').length - 1;
  }
  const records = await kubectl(
    stack,
    '-n',
    STATE_NAMESPACE,
    'get',
    'configmaps,secrets',
    '-o',
    'json',
    '--show-managed-fields',
  );
  const { items } = JSON.parse(records) as { items: unknown[] }; // as kubectl answers
  return {
    ...{ entries, auditBytes, ...(await inBucket(stack)) },
    ...{ records: items.length, recordBytes: Buffer.byteLength(JSON.stringify(items)) },
  };
}

async function inBucket({ s3 }: Stack): Promise<Pick<Leftovers, 'objects' | 'objectBytes'>> {
  const { bucket: name, endpoint, region, caFile, accessKeyId, secretAccessKey } = s3;
  const credentials = { accessKeyId, secretAccessKey };
  const bucket = openBucket({ bucket: name, endpoint, region, credentials, tls: { ca: caFile } });
  try {
    let objects = 0;
    let objectBytes = 0;
    for await (const { key, versionId } of bucket.versions('')) {
      objects += 1;
      for await (const chunk of bucket.read(key, versionId)) objectBytes += chunk.length;
    }
    return { objects, objectBytes };
  } finally {
    bucket.close();
  }
}

async function kubectl({ kubernetes }: Stack, ...args: string[]): Promise<string> {
  const flags = ['--kubeconfig', kubernetes.kubeconfig];
  const { stdout } = await promisify(execFile)(kubernetes.kubectl, [...flags, ...args], { maxBuffer: 2 ** 26 });
  return stdout;
}
