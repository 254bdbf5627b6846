import type { KubeReader } from '../../activities/kubernetes/kube-api.ts';
import { at, isRecord, type KubeObject, listAt } from '../../activities/kubernetes/kube-object.ts';

const COLLECTIONS = [
  ['/api/v1', 'configmaps'],
  ['/api/v1', 'secrets'],
  ['/api/v1', 'services'],
  ['/api/v1', 'serviceaccounts'],
  ['/apis/apps/v1', 'deployments'],
  ['/apis/apps/v1', 'statefulsets'],
  ['/apis/batch/v1', 'jobs'],
  ['/apis/policy/v1', 'poddisruptionbudgets'],
] as const;

/** What the server alone decides about an object, whoever makes it. */
const SERVERS = new Set(['uid', 'resourceVersion', 'generation', 'creationTimestamp']);

/**
 * Everything that people make in a namespace, whole: with who owns which field, without status and what the server counts
 * and gives. Two of them are equal where nobody can tell one state from the other.
 */
export async function stateOf(api: KubeReader, namespace: string): Promise<Readonly<Record<string, unknown>>> {
  const lists = await Promise.all(
    COLLECTIONS.map(([group, plural]) => api.list(`${group}/namespaces/${namespace}/${plural}`, { atMost: 5_000 })),
  );
  const objects = lists.flatMap((list) => list ?? []);
  return Object.fromEntries(objects.map((object) => [`${object.kind} ${object.metadata.name}`, bare(object)]));
}

function bare(object: KubeObject): unknown {
  const { metadata } = object;
  const rest = Object.fromEntries(Object.entries(object).filter(([key]) => key !== 'status'));
  const own = Object.fromEntries(Object.entries(metadata).filter(([key]) => !SERVERS.has(key)));
  const counted = Object.entries(metadata.annotations ?? {}).filter(([key]) => key !== REVISION);
  const owners = listAt(metadata, 'managedFields')
    .filter((entry) => at(entry, 'subresource') === undefined)
    .map((entry) => (isRecord(entry) ? { ...entry, time: undefined } : entry));
  const annotations = counted.length > 0 ? { annotations: Object.fromEntries(counted) } : { annotations: undefined };
  return { ...rest, metadata: { ...own, ...annotations, managedFields: owners } };
}

const REVISION = 'deployment.kubernetes.io/revision';
