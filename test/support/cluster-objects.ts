import type { Services } from '../../dev/stack.ts';
import { callKubernetes } from './kubernetes-admin.ts';

/** What the API server and its controllers make by themselves and forget again. */
const TRANSIENT = [
  'events',
  'events.events.k8s.io',
  'leases.coordination.k8s.io',
  'componentstatuses',
  'controllerrevisions.apps',
];

/** All that the API server has, without what comes and goes by itself: kind, namespace and name of each object, sorted. */
export async function everything(cluster: Pick<Services, 'kubernetes'>): Promise<string[]> {
  const kinds = (await callKubernetes(cluster, 'api-resources', '--verbs=list', '-o', 'name')).trim().split('\n');
  const wanted = kinds.filter((kind) => !TRANSIENT.includes(kind)).join(',');
  const row = 'jsonpath={range .items[*]}{.kind} {.metadata.namespace} {.metadata.name}{"\\n"}{end}';
  const rows = await callKubernetes(cluster, 'get', wanted, '-A', '-o', row);
  return rows.trim().split('\n').sort();
}
