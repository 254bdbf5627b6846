/** The groups that a target's kind is looked for in where it names no apiVersion, with their kinds (Kubernetes 1.34). */
const BUILT_IN: readonly (readonly [group: string, kinds: readonly string[]])[] = [
  [
    'core',
    [
      ...['Binding', 'ComponentStatus', 'ConfigMap', 'Endpoints', 'Event', 'LimitRange', 'Namespace', 'Node'],
      ...['PersistentVolume', 'PersistentVolumeClaim', 'Pod', 'PodTemplate', 'ReplicationController'],
      ...['ResourceQuota', 'Secret', 'Service', 'ServiceAccount'],
    ],
  ],
  ['apps', ['ControllerRevision', 'DaemonSet', 'Deployment', 'ReplicaSet', 'StatefulSet']],
  ['batch', ['CronJob', 'Job']],
  ['autoscaling', ['HorizontalPodAutoscaler', 'Scale']],
  ['policy', ['Eviction', 'PodDisruptionBudget']],
  ['networking.k8s.io', ['IPAddress', 'Ingress', 'IngressClass', 'NetworkPolicy', 'ServiceCIDR']],
];

const GROUP_OF = new Map(BUILT_IN.flatMap(([group, kinds]) => kinds.map((kind) => [kind, group] as const)));

/**
 * A kind with its group, as policies write it: `Deployment.apps`, `ConfigMap.core`. Where only the cluster could tell
 * the group (a target without apiVersion whose kind is not built in) it is the bare kind, which no qualified entry takes.
 */
export function qualifiedKind(kind: string, apiVersion: string | undefined): string {
  const group = apiVersion === undefined ? GROUP_OF.get(kind) : groupOf(apiVersion);
  return group === undefined ? kind : `${kind}.${group}`;
}

/** The place in a list of kinds that takes this one, or -1. */
export function placeOfKind(allowed: readonly string[], kind: string, apiVersion: string | undefined): number {
  const qualified = qualifiedKind(kind, apiVersion);
  return allowed.findIndex((entry) => entry === kind || entry === qualified);
}

/** No group of an API can be called `core`: those that are served without a dot are Kubernetes' own. */
function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : 'core';
}
