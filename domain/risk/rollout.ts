import { at, same } from '../json-values.ts';
import type { JudgedObject, RiskRule } from './rule.ts';

/** What happens to pods that run. */
export const ROLLOUT_RULES: readonly RiskRule[] = [
  {
    id: 'scales-to-zero',
    level: 'medium',
    sentence: 'A workload is scaled to no replicas.',
    find: ({ before, after }) =>
      before !== undefined && at(after, 'spec', 'replicas') === 0 && at(before, 'spec', 'replicas') !== 0
        ? 'is scaled to no replicas'
        : undefined,
  },
  {
    id: 'suspends',
    level: 'medium',
    sentence: 'A Job or CronJob is suspended.',
    find: ({ before, after }) =>
      before !== undefined && at(after, 'spec', 'suspend') === true && at(before, 'spec', 'suspend') !== true
        ? 'is suspended'
        : undefined,
  },
  {
    id: 'restarts-many',
    level: 'medium',
    sentence: 'Half of the pods of a workload, or more, may be missing at a time while they restart.',
    find: (subject) => {
      const share = restartShare(subject);
      if (share === undefined || share < 0.5) return undefined;
      return share === 1
        ? 'may have none of its pods running while it restarts them'
        : 'may miss half of its pods or more while it restarts them';
    },
  },
  {
    id: 'restarts',
    level: 'low',
    sentence: 'The pods of a workload restart, less than half of them at a time.',
    find: (subject) => {
      const share = restartShare(subject);
      return share !== undefined && share < 0.5 ? 'restarts its pods' : undefined;
    },
  },
];

/**
 * Which share of its pods a workload may miss at a time, from 0 to 1, where the change makes it restart them; undefined
 * where it does not. A number of pods, not a percentage, is counted against the replicas, which an autoscaler may move: so
 * findings tell no numbers, only whether it is all, half or less.
 */
function restartShare({ planned: { object }, before, after }: JudgedObject): number | undefined {
  const kind = RESTARTING.get(object.kind);
  const template = at(after, 'spec', 'template');
  if (!kind || before === undefined || template === undefined) return undefined;
  if (same(template, at(before, 'spec', 'template'))) return undefined;
  return kind(after);
}

const RESTARTING: ReadonlyMap<string, (workload: unknown) => number | undefined> = new Map([
  ['Deployment', shareOfDeployment],
  ['StatefulSet', shareOfStatefulSet],
  ['DaemonSet', shareOfDaemonSet],
]);

function shareOfDeployment(workload: unknown): number | undefined {
  const replicas = replicasOf(workload);
  if (replicas === 0 || at(workload, 'spec', 'paused') === true) return undefined;
  if (at(workload, 'spec', 'strategy', 'type') === 'Recreate') return 1;
  return shareOf(at(workload, 'spec', 'strategy', 'rollingUpdate', 'maxUnavailable') ?? '25%', replicas);
}

function shareOfStatefulSet(workload: unknown): number | undefined {
  const replicas = replicasOf(workload);
  const strategy = at(workload, 'spec', 'updateStrategy');
  // Pods below the partition stay as they are.
  const partition = at(strategy, 'rollingUpdate', 'partition');
  if (typeof partition === 'number' && replicas <= partition) return undefined;
  if (at(strategy, 'type') === 'OnDelete' || replicas === 0) return undefined;
  return shareOf(at(strategy, 'rollingUpdate', 'maxUnavailable') ?? 1, replicas);
}

function shareOfDaemonSet(workload: unknown): number | undefined {
  const strategy = at(workload, 'spec', 'updateStrategy');
  if (at(strategy, 'type') === 'OnDelete') return undefined;
  // On how many nodes it runs only its status says, and that moves with the nodes.
  return shareOf(at(strategy, 'rollingUpdate', 'maxUnavailable') ?? 1, Number.POSITIVE_INFINITY);
}

function replicasOf(workload: unknown): number {
  const replicas = at(workload, 'spec', 'replicas');
  return typeof replicas === 'number' ? replicas : 1;
}

/** @param unavailable a number of pods, or a percentage, of `replicas`; what is neither is taken for all of them */
function shareOf(unavailable: unknown, replicas: number): number {
  if (typeof unavailable === 'number') return Math.min(1, Math.max(0, unavailable / replicas));
  const percent = typeof unavailable === 'string' ? /^([0-9]{1,3})%$/.exec(unavailable)?.[1] : undefined;
  return percent === undefined ? 1 : Math.min(1, Number(percent) / 100);
}
