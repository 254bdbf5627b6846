import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { KubeConfig } from '@kubernetes/client-node';
import { createKubeApi, type KubeReader } from '../activities/kubernetes/kube-api.ts';
import { createMask } from '../activities/kubernetes/mask.ts';
import { createPlanner, type Planner } from '../activities/kubernetes/planner.ts';
import { makePlan } from '../activities/package/planning.ts';
import { type LoadedPolicy, policySource } from '../activities/policy/load-policy.ts';
import { sha256 } from '../client/sha256.ts';
import type { Stack } from '../dev/stack.ts';
import { FIELD_MANAGER } from '../domain/names.ts';
import { parseWpk } from '../domain/parse-wpk.ts';
import { printed } from '../domain/plan-text/lines.ts';
import { planText } from '../domain/plan-text/plan-text.ts';
import { buildWpk } from '../test/support/packages.ts';
import { toBytes } from '../test/support/wpk.ts';
import { type Change, configMapChange } from './changes.ts';
import { type BenchContext, compare, THEIRS } from './compare.ts';
import type { Contestant } from './interleave.ts';
import { kubectlApply, kubectlDiff, openShell, type Shell } from './shell.ts';
import type { Comparison } from './table.ts';

const OBJECTS = [100, 1_000];

/** How many times faster than `kubectl diff` a plan has to be. */
const TARGET = 4;

/** What is in the cluster, and what is planned: one of them has changed each object. */
const LIVE = 0;
const PLANNED = 1;

/** What a reader of the table must know to believe it. */
export const PLAN_NOTES: readonly string[] = [
  'ConfigMaps of about 450 bytes, each of which would change; nothing is written. Both sides have the API server dry-run each object.',
  'Theirs is kubectl diff --server-side on the same objects as a file: a process, for each object a GET and a dry run, one after the other, and diff -u; no risk and no digest.',
  'Ours runs in this process, as in the worker: strict parse, discovery, dry run of each object, differences, risk, digests and the whole text.',
  'Cold: a new planner each round, which knows nothing of the cluster; its connections are open, as those of a worker are.',
  'Again: the same planner asked once more, as before execution; it reads every object, and repeats no dry run where none changed.',
];

/** Measures a plan as people read it against `kubectl diff`. */
export async function benchPlan(context: BenchContext): Promise<Comparison[]> {
  const { stack, env } = context;
  const shell = await openShell(stack, env);
  const policy = await policySource(undefined, sha256)();
  const api = createKubeApi(kubeConfigOf(stack));
  try {
    const results: Comparison[] = [];
    for (const objects of OBJECTS) {
      const [ours, theirs] = [configMapChange(`plan-${objects}`, objects), configMapChange(`diff-${objects}`, objects)];
      await Promise.all([
        makeLive(stack, shell, ours, FIELD_MANAGER),
        makeLive(stack, shell, theirs, 'kubectl'), // as kubectl calls itself: it would conflict with another
      ]);
      results.push(
        ...(await compare(context, `${objects} objects planned`, TARGET, [
          planning('cold', { api, policy, change: ours, isWarm: false }),
          planning('again', { api, policy, change: ours, isWarm: true }),
          kubectlDiff(THEIRS, shell, { ...theirs, manifests: () => theirs.manifests(PLANNED) }),
        ])),
      );
    }
    return results;
  } finally {
    await api.close();
  }
}

async function makeLive(stack: Stack, shell: Shell, change: Change, fieldManager: string): Promise<void> {
  const { kubectl, kubeconfig } = stack.kubernetes;
  await promisify(execFile)(kubectl, ['--kubeconfig', kubeconfig, 'create', 'namespace', change.namespace]);
  await kubectlApply(shell, change, LIVE, fieldManager);
}

function kubeConfigOf({ kubernetes }: Stack): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(kubernetes.kubeconfig);
  return config;
}

interface Planning {
  readonly api: KubeReader;
  readonly policy: LoadedPolicy;
  readonly change: Change;
  /** Whether the planner has made this plan before. */
  readonly isWarm: boolean;
}

function planning(name: string, { api, policy, change, isWarm }: Planning): Contestant {
  const wpk = buildWpk({ namespaces: [change.namespace], steps: change.steps(PLANNED) });
  const bytes = toBytes(wpk);
  const plan = async (planner: Planner) => {
    const made = await makePlan(planner, sha256, { wpk: parseWpk(bytes), wpkDigest: sha256(bytes), policy });
    const text = Array.from(planText(made.plan), printed).join('\n');
    const updates = made.plan.objects.filter((one) => one.change === 'update').length;
    if (updates !== change.objects || text === '') throw new Error(`a plan has ${updates} updates`);
  };
  return {
    name,
    async prepare() {
      const planner = createPlanner({ api, sha256, mask: createMask(randomBytes(32)) });
      if (isWarm) await plan(planner);
      return () => plan(planner);
    },
  };
}
