/** One kind that the simulated API server serves. */
export interface ServedKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Whether the server counts the versions of its spec. */
  readonly counted: boolean;
  readonly scalable: boolean;
}

type Traits = 'cluster' | 'counted' | 'scalable';

/** The kinds that packages change most, each in the one version that it is served in; there are no custom ones. */
const TABLE: readonly (readonly [
  group: string,
  version: string,
  kinds: Readonly<Record<string, readonly Traits[]>>,
])[] = [
  [
    '',
    'v1',
    {
      'Namespace namespaces': ['cluster'],
      'Node nodes': ['cluster'],
      'ConfigMap configmaps': [],
      'Secret secrets': [],
      'Service services': [],
      'ServiceAccount serviceaccounts': [],
      'Pod pods': ['counted'],
      'PersistentVolumeClaim persistentvolumeclaims': [],
      'Event events': [],
    },
  ],
  [
    'apps',
    'v1',
    {
      'Deployment deployments': ['counted', 'scalable'],
      'ReplicaSet replicasets': ['counted', 'scalable'],
      'StatefulSet statefulsets': ['counted', 'scalable'],
      'DaemonSet daemonsets': ['counted'],
      'ControllerRevision controllerrevisions': [],
    },
  ],
  ['batch', 'v1', { 'Job jobs': ['counted'], 'CronJob cronjobs': ['counted'] }],
  ['autoscaling', 'v2', { 'HorizontalPodAutoscaler horizontalpodautoscalers': [] }],
  ['policy', 'v1', { 'PodDisruptionBudget poddisruptionbudgets': ['counted'] }],
  ['networking.k8s.io', 'v1', { 'Ingress ingresses': ['counted'], 'NetworkPolicy networkpolicies': ['counted'] }],
  [
    'rbac.authorization.k8s.io',
    'v1',
    {
      'Role roles': [],
      'RoleBinding rolebindings': [],
      'ClusterRole clusterroles': ['cluster'],
      'ClusterRoleBinding clusterrolebindings': ['cluster'],
    },
  ],
  ['coordination.k8s.io', 'v1', { 'Lease leases': [] }],
];

export const SERVED: readonly ServedKind[] = TABLE.flatMap(([group, version, kinds]) =>
  Object.entries(kinds).map(([names, traits]) => {
    const [kind = '', plural = ''] = names.split(' ');
    const has = (trait: Traits) => traits.includes(trait);
    return {
      group,
      version,
      kind,
      plural,
      namespaced: !has('cluster'),
      counted: has('counted'),
      scalable: has('scalable'),
    };
  }),
);

export function apiVersionOf({ group, version }: Pick<ServedKind, 'group' | 'version'>): string {
  return group === '' ? version : `${group}/${version}`;
}

/** `deployments.apps`, as the API server calls a resource in its messages. */
export function qualified({ plural, group }: ServedKind): string {
  return group === '' ? plural : `${plural}.${group}`;
}

/** Aggregated discovery (KEP-3352) of `/api` and of `/apis`. */
export function discoveryDocument(root: 'api' | 'apis'): unknown {
  const groups = Map.groupBy(
    SERVED.filter(({ group }) => (group === '') === (root === 'api')),
    ({ group }) => group,
  );
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: [...groups].map(([group, kinds]) => ({
      metadata: group === '' ? {} : { name: group },
      versions: [{ version: kinds[0]?.version, resources: kinds.map(describe) }],
    })),
  };
}

function describe({ group, version, kind, plural, namespaced, scalable }: ServedKind): unknown {
  const scale = { subresource: 'scale', responseKind: { group: 'autoscaling', version: 'v1', kind: 'Scale' } };
  return {
    resource: plural,
    responseKind: { group, version, kind },
    scope: namespaced ? 'Namespaced' : 'Cluster',
    singularResource: kind.toLowerCase(),
    verbs: ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'],
    ...(scalable && { subresources: [scale] }),
  };
}
