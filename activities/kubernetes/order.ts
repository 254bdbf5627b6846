import { ADMISSION_KINDS } from '../../domain/risk.ts';

/**
 * The order in which the objects of one apply step are written, as kapp and Flux have it: what others stand on first,
 * what judges or moves others last. Kinds that no row names (custom resources among them) go with the workloads.
 */
const ORDER: readonly (readonly string[])[] = [
  ['Namespace', 'CustomResourceDefinition'],
  [
    'ServiceAccount',
    'Role',
    'ClusterRole',
    'RoleBinding',
    'ClusterRoleBinding',
    'ConfigMap',
    'Secret',
    'StorageClass',
    'PersistentVolume',
    'PersistentVolumeClaim',
    'PriorityClass',
    'RuntimeClass',
    'LimitRange',
    'ResourceQuota',
    'NetworkPolicy',
  ],
  [],
  ['HorizontalPodAutoscaler', 'PodDisruptionBudget', 'Ingress', ...ADMISSION_KINDS],
];
const WORKLOADS = 2;

const RANKS = new Map(ORDER.flatMap((kinds, rank) => kinds.map((kind) => [kind, rank] as const)));

/** Splits what belongs to one step into the groups that are written one after the other; empty groups are left out. */
export function inOrder<T>(items: readonly T[], kindOf: (item: T) => string): T[][] {
  const groups = ORDER.map((): T[] => []);
  for (const item of items) groups[RANKS.get(kindOf(item)) ?? WORKLOADS]?.push(item);
  return groups.filter((group) => group.length > 0);
}
