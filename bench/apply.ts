import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { KubeConfig } from '@kubernetes/client-node';
import { createKubeApi, type KubeApi } from '../activities/kubernetes/kube-api.ts';
import { createMask } from '../activities/kubernetes/mask.ts';
import { createPlanner } from '../activities/kubernetes/planner.ts';
import { createStateSecrets, createWriter } from '../activities/kubernetes/writer.ts';
import { forgetJournal, Journal } from '../activities/package/journal.ts';
import { sha256 } from '../client/sha256.ts';
import type { Stack } from '../dev/stack.ts';
import { STATE_NAMESPACE } from '../domain/names.ts';
import { isEnd } from '../domain/status.ts';
import { buildWpk, sign } from '../test/support/packages.ts';
import { toBytes } from '../test/support/wpk.ts';
import { type Change, configMapChange, PLAYBOOK } from './changes.ts';
import { type BenchContext, compare, THEIRS } from './compare.ts';
import type { RunningConnector } from './connectors.ts';
import { startApart } from './connectors.ts';
import type { Contestant } from './interleave.ts';
import { kubectlApplying, openShell, type Shell } from './shell.ts';
import { summarise } from './statistics.ts';
import type { Comparison } from './table.ts';

const OBJECTS = 1_000;
const PACKAGES = 100;
const OBJECTS_EACH = 4;

/** How many times faster than `kubectl apply --server-side` execution has to be. */
const TARGET = 2.5;
/** As fast as scripts that a person would run side by side, with everything that a package is besides. */
const THROUGHPUT_TARGET = 1;
const KUBECTLS_AT_A_TIME = 8;
const THROUGHPUT_ROUNDS = 3;

/** What a reader of the table must know to believe it. */
export const APPLY_NOTES: readonly string[] = [
  `${OBJECTS} ConfigMaps of about 450 bytes. Theirs is kubectl apply --server-side of the same objects as a file.`,
  'Ours is what follows an approval, in this process as in the worker: the plan is made again and compared, what undoing needs is kept in Secrets, every write is bound to the state that was planned from, and hashes before and after are reported. The plan that people approve is measured by bench plan.',
  'Unchanged: nothing differs; ours fails where it sends a single write. Planned and unchanged: with the dry runs of a planner that knows nothing of the package yet.',
  `${PACKAGES} packages: each of ${OBJECTS_EACH} ConfigMaps, signed, submitted at once, approved by policy, to their audited ends, one worker. Theirs is as many kubectl apply, ${KUBECTLS_AT_A_TIME} at a time, without signature, plan or log.`,
];

/** Measures the execution of packages against `kubectl apply --server-side`. */
export async function benchApply(context: BenchContext): Promise<Comparison[]> {
  const { stack, env } = context;
  const shell = await openShell(stack, env);
  const api = createKubeApi(kubeConfigOf(stack));
  try {
    const change = async (name: string) => configMapChange(await namespace(stack, name), OBJECTS);
    const still = (one: Change): Change => ({ ...one, steps: () => one.steps(0), manifests: () => one.manifests(0) });
    const [ours, theirs] = [await change('apply-ours'), await change('apply-theirs')];
    const [same, sameTheirs] = [still(await change('same-ours')), still(await change('same-theirs'))];
    return [
      ...(await compare(context, `${OBJECTS} objects updated`, TARGET, [
        executing('approved', api, ours, 'update'),
        kubectlApplying(THEIRS, shell, theirs),
      ])),
      ...(await compare(context, `${OBJECTS} objects unchanged`, TARGET, [
        executing('approved', api, same, 'unchanged'),
        executing('planned and approved', api, same, 'unchanged', true),
        kubectlApplying(THEIRS, shell, sameTheirs),
      ])),
      await throughput(context, shell),
    ];
  } finally {
    await api.close();
  }
}

/** Times what the worker does once a plan is approved. @param isPlannedToo also the plan that is approved */
function executing(
  name: string,
  api: KubeApi,
  change: Change,
  wanted: 'update' | 'unchanged',
  isPlannedToo = false,
): Contestant {
  const secrets = createStateSecrets(api);
  let sent = 0;
  const counting: KubeApi = {
    ...api,
    write(call) {
      if (!call.path.includes(STATE_NAMESPACE)) sent += 1;
      return api.write(call);
    },
  };
  return {
    name,
    async prepare(round) {
      const planner = createPlanner({ api, sha256, mask: createMask(randomBytes(32)) });
      const wpk = buildWpk({ namespaces: [change.namespace], steps: change.steps(round) });
      const wpkDigest = sha256(toBytes(wpk));
      const plan = async () =>
        new Set((await planner.dryRun(wpk, wpkDigest)).writes.map(({ planned }) => planned.digest));
      let approved = isPlannedToo ? undefined : await plan();
      return async () => {
        sent = 0;
        approved ??= await plan();
        const dryRun = await planner.dryRun(wpk, wpkDigest);
        const journal = Journal.begin(secrets, wpk);
        const options = { wpk, dryRun, approved, resumed: false, report: { steps: [] }, journal };
        const report = await createWriter({ api: counting, planner }).execute(options);
        await forgetJournal(secrets, wpk.metadata.id);
        const changes = report.steps.flatMap((step) => step.objects.map((object) => object.change));
        const done = changes.filter((one) => one === wanted || (round === 0 && one === 'create'));
        if (done.length !== OBJECTS) throw new Error(`${done.length} objects came to ${wanted} instead of ${OBJECTS}`);
        if (wanted === 'unchanged' && round > 0 && sent > 0) throw new Error(`${sent} writes were sent for nothing`);
      };
    },
  };
}

/** Submits many small packages at once to a worker of its own, and tells how large that worker gets. */
async function throughput({ stack, env, onProgress }: BenchContext, shell: Shell): Promise<Comparison> {
  const changesFor = async (side: string) =>
    Promise.all(
      Array.from({ length: PACKAGES }, async (_, index) =>
        configMapChange(await namespace(stack, `many-${side}-${index}`), OBJECTS_EACH),
      ),
    );
  const [ours, theirs] = [await changesFor('ours'), await changesFor('theirs')];
  const connector = await startApart({ stack, env, clusterId: 'bench-many', approved: ours });
  try {
    const [own, kubectl]: [number[], number[]] = [[], []];
    for (let round = 0; round <= THROUGHPUT_ROUNDS; round++) {
      onProgress(
        `${PACKAGES} packages at once: round ${round} of ${THROUGHPUT_ROUNDS}${round === 0 ? ' (warm-up)' : ''}`,
      );
      const ourMs = await timed(() => Promise.all(ours.map((change) => runPackage(connector, change, round))));
      const runs = await Promise.all(theirs.map((change) => kubectlApplying(THEIRS, shell, change).prepare(round)));
      const theirMs = await timed(() => inTurns(runs, (run) => run()));
      if (round > 0) own.push(ourMs);
      if (round > 0) kubectl.push(theirMs);
    }
    const [summary, other] = [summarise(own), summarise(kubectl)];
    const rate = (PACKAGES / (summary.medianMs / 1_000)).toFixed(1);
    const { now, peak } = await memoryOf(connector.pid);
    const facts = [
      `${PACKAGES} packages at once: ${rate} packages a second; the worker has ${now} MiB after it, ${peak} MiB at its peak.`,
    ];
    return {
      what: `${PACKAGES} packages of ${OBJECTS_EACH} objects at once`,
      ours: summary,
      theirs: other,
      target: THROUGHPUT_TARGET,
      facts,
    };
  } finally {
    await connector.stop();
  }
}

async function runPackage({ client, clusterId, privateKeyPem }: RunningConnector, change: Change, round: number) {
  const [steps, playbook] = [change.steps(round), PLAYBOOK];
  const wpk = buildWpk({ clusterId, namespaces: [change.namespace], playbook, sequence: round, steps });
  const { wpkId } = await client.submit(sign(wpk, privateKeyPem));
  const { phase, error } = await client.result(wpkId);
  if (!isEnd(phase) || phase !== 'succeeded') throw new Error(`a package ended as ${phase}: ${error?.message ?? ''}`);
}

async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const lane = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: KUBECTLS_AT_A_TIME }, lane));
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** Resident memory of a process as Linux counts it, MiB. */
async function memoryOf(pid: number | undefined): Promise<{ now: string; peak: string }> {
  const status = await readFile(`/proc/${pid ?? 'self'}/status`, 'utf8').catch(() => '');
  const field = (name: string) => {
    const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    return kib === undefined ? 'unknown' : (Number(kib) / 1_024).toFixed(0);
  };
  return { now: field('VmRSS'), peak: field('VmHWM') };
}

async function namespace({ kubernetes }: Stack, name: string): Promise<string> {
  const flags = ['--kubeconfig', kubernetes.kubeconfig];
  await promisify(execFile)(kubernetes.kubectl, [...flags, 'create', 'namespace', name]);
  return name;
}

function kubeConfigOf({ kubernetes }: Stack): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(kubernetes.kubeconfig);
  return config;
}
