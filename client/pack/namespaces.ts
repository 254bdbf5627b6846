import { ConnectorError } from '../../domain/errors.ts';
import type { Manifest } from '../../domain/wpk.ts';

/** Built-in kinds (Kubernetes 1.34) that live in a namespace, as `group/kind`. */
const NAMESPACED: ReadonlySet<string> = new Set([
  ...['ConfigMap', 'Endpoints', 'Event', 'LimitRange', 'PersistentVolumeClaim', 'Pod', 'PodTemplate'],
  ...['ReplicationController', 'ResourceQuota', 'Secret', 'Service', 'ServiceAccount'],
  ...['ControllerRevision', 'DaemonSet', 'Deployment', 'ReplicaSet', 'StatefulSet'].map((kind) => `apps/${kind}`),
  ...['CronJob', 'Job'].map((kind) => `batch/${kind}`),
  'autoscaling/HorizontalPodAutoscaler',
  'policy/PodDisruptionBudget',
  ...['Ingress', 'NetworkPolicy'].map((kind) => `networking.k8s.io/${kind}`),
  ...['Role', 'RoleBinding'].map((kind) => `rbac.authorization.k8s.io/${kind}`),
  'coordination.k8s.io/Lease',
  'discovery.k8s.io/EndpointSlice',
  'events.k8s.io/Event',
  'storage.k8s.io/CSIStorageCapacity',
]);

/**
 * Says the namespace where a manifest leaves it out, as `kubectl apply --namespace` does. Kinds that are not built in
 * stay as they are: only the cluster knows whether they live in one.
 * @throws {ConnectorError} MANIFEST_INVALID where a namespace is needed and none is given
 */
export function withNamespace(manifest: Manifest, namespace: string | undefined): Manifest {
  const { apiVersion, kind, metadata } = manifest;
  const group = apiVersion.includes('/') ? `${apiVersion.slice(0, apiVersion.indexOf('/'))}/` : '';
  if (metadata.namespace !== undefined || !NAMESPACED.has(`${group}${kind}`)) return manifest;
  if (namespace === undefined) {
    throw new ConnectorError('MANIFEST_INVALID', `${kind} ${metadata.name} names no namespace, and none was given.`);
  }
  return { ...manifest, metadata: { ...metadata, namespace } };
}
