import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '../../../activities/kubernetes/kube-object.ts';
import { at, isRecord } from '../../../activities/kubernetes/kube-object.ts';
import { SERVED } from './kinds.ts';
import { updated } from './ownership.ts';
import type { Change, ObjectStore, Place } from './store.ts';
import { created } from './store.ts';

const MANAGER = 'kube-controller-manager';
const REVISION = 'deployment.kubernetes.io/revision';

/** What stands in for controllers and kubelets: a moment after a workload is written, it says that it is ready. */
export function runControllers(store: ObjectStore, { readyAfterMs }: { readonly readyAfterMs: number }): () => void {
  const timers = new Set<NodeJS.Timeout>();
  const stop = store.listen(({ type, kind, object }: Change) => {
    const { name, namespace } = object.metadata;
    if (type === 'DELETED' || !statusOf(object)) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      settle(store, { kind, namespace, name });
    }, readyAfterMs);
    timers.add(timer.unref());
  });
  return () => {
    stop();
    for (const timer of timers) clearTimeout(timer);
  };
}

function settle(store: ObjectStore, place: Place): void {
  const found = store.get(place);
  if (!found) return;
  const before = found.kind === 'Deployment' ? withRevision(store, place, found) : found;
  const status = statusOf(before);
  if (!status || isDeepStrictEqual(before['status'], status)) return;
  const after = { ...before, status };
  store.put(place, updated(before, after, { manager: MANAGER, now: new Date(), subresource: 'status' }));
}

/** Undefined for kinds that have no status here. */
function statusOf({ kind, metadata, spec }: KubeObject): Readonly<Record<string, unknown>> | undefined {
  const observedGeneration = metadata.generation ?? 1;
  const wanted = Number(at(spec, 'replicas') ?? 1);
  const condition = (type: string, reason: string) => ({ type, status: 'True', reason });
  switch (kind) {
    case 'Deployment':
      return {
        ...{
          observedGeneration,
          replicas: wanted,
          updatedReplicas: wanted,
          readyReplicas: wanted,
          availableReplicas: wanted,
        },
        conditions: [
          condition('Available', 'MinimumReplicasAvailable'),
          condition('Progressing', 'NewReplicaSetAvailable'),
        ],
      };
    case 'ReplicaSet':
      return { observedGeneration, replicas: wanted, readyReplicas: wanted, availableReplicas: wanted };
    case 'StatefulSet': {
      const revision = `${metadata.name}-${hashOf(at(spec, 'template'))}`;
      return {
        ...{
          observedGeneration,
          replicas: wanted,
          updatedReplicas: wanted,
          readyReplicas: wanted,
          availableReplicas: wanted,
        },
        ...{ currentRevision: revision, updateRevision: revision },
      };
    }
    case 'DaemonSet':
      return {
        ...{ observedGeneration, desiredNumberScheduled: 1, currentNumberScheduled: 1, numberMisscheduled: 0 },
        ...{ updatedNumberScheduled: 1, numberReady: 1, numberAvailable: 1 },
      };
    case 'Job':
      return {
        succeeded: 1,
        conditions: [
          condition('SuccessCriteriaMet', 'CompletionsReached'),
          condition('Complete', 'CompletionsReached'),
        ],
      };
    case 'Pod':
      return { phase: 'Running', conditions: [condition('Ready', 'Simulated')] };
    case 'PersistentVolumeClaim':
      return { phase: 'Bound' };
    case 'PodDisruptionBudget':
      return { observedGeneration, disruptionsAllowed: 1, currentHealthy: 1, desiredHealthy: 0, expectedPods: 1 };
    default:
      return undefined;
  }
}

/** Each template has a ReplicaSet, as the real controller keeps them: a rollback looks for the one before. */
function withRevision(store: ObjectStore, place: Place, deployment: KubeObject): KubeObject {
  const kind = SERVED.find((one) => one.kind === 'ReplicaSet');
  const { uid, namespace, name, annotations = {} } = deployment.metadata;
  const template = at(deployment, 'spec', 'template');
  if (!kind || !isRecord(template)) return deployment;
  const hash = hashOf(template);
  const setPlace = { kind, namespace, name: `${name}-${hash}` };
  const sets = store.list(kind, namespace).filter((one) => at(ownerOf(one), 'uid') === uid);
  const newest = Math.max(0, ...sets.map((one) => revisionOf(one)));
  const current = sets.find((one) => one.metadata.name === setPlace.name);
  const revision = current && revisionOf(current) === newest ? newest : newest + 1;
  for (const one of sets)
    scaled(store, { ...setPlace, name: one.metadata.name }, one, one === current ? revision : undefined, deployment);
  if (!current) {
    const labels = { ...(at(template, 'metadata', 'labels') as object | undefined), 'pod-template-hash': hash };
    const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name, uid, controller: true, blockOwnerDeletion: true };
    const metadata = {
      name: setPlace.name,
      labels,
      annotations: { ...annotations, [REVISION]: `${revision}` },
      ownerReferences: [owner],
    };
    const selector = {
      matchLabels: {
        ...(at(deployment, 'spec', 'selector', 'matchLabels') as object | undefined),
        'pod-template-hash': hash,
      },
    };
    const spec = {
      replicas: at(deployment, 'spec', 'replicas') ?? 1,
      selector,
      template: { ...template, metadata: { ...(template['metadata'] as object | undefined), labels } },
    };
    const set = { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata, spec };
    store.put(setPlace, created(setPlace, set, new Date()));
  }
  if (annotations[REVISION] === `${revision}`) return deployment;
  const metadata = { ...deployment.metadata, annotations: { ...annotations, [REVISION]: `${revision}` } };
  return store.put(place, updated(deployment, { ...deployment, metadata }, { manager: MANAGER, now: new Date() }));
}

function scaled(
  store: ObjectStore,
  place: Place,
  set: KubeObject,
  revision: number | undefined,
  deployment: KubeObject,
): void {
  const replicas = revision === undefined ? 0 : (at(deployment, 'spec', 'replicas') ?? 1);
  const annotations = { ...set.metadata.annotations, ...(revision !== undefined && { [REVISION]: `${revision}` }) };
  const spec = { ...(set['spec'] as object), replicas };
  const after = { ...set, spec, metadata: { ...set.metadata, annotations } };
  if (!isDeepStrictEqual(after, set)) store.put(place, after);
}

function ownerOf({ metadata }: KubeObject): unknown {
  const { ownerReferences: references } = metadata;
  return Array.isArray(references) ? references[0] : undefined;
}

function revisionOf({ metadata }: KubeObject): number {
  return Number(metadata.annotations?.[REVISION] ?? 0);
}

function hashOf(template: unknown): string {
  return createHash('sha256').update(JSON.stringify(template)).digest('hex').slice(0, 10);
}
