import { at, type KubeObject } from './kube-object.ts';

/** Where an object stands on the way to what its spec says. */
export interface Health {
  readonly state: 'ready' | 'progressing' | 'failed';
  /** What is missing, or what went wrong; for people. */
  readonly message: string;
}

const ready: Health = { state: 'ready', message: '' };
const progressing = (message: string): Health => ({ state: 'progressing', message });
const failed = (message: string): Health => ({ state: 'failed', message });

/**
 * Judges an object by the rules of its kind, after kapp (`pkg/kapp/resourcesmisc`), Argo CD
 * (`gitops-engine/pkg/health`) and kstatus. `failed` is final: waiting longer does not help. Kinds without rules of
 * their own are ready once their controller has seen the newest generation and no condition says otherwise.
 */
export function healthOf(object: KubeObject): Health {
  if (object.metadata.deletionTimestamp !== undefined) return progressing('is being deleted');
  const observed = at(object, 'status', 'observedGeneration');
  const { generation } = object.metadata;
  const awaitsObserver = OBSERVED_KINDS.has(object.kind) || observed !== undefined;
  if (awaitsObserver && generation !== undefined && count(observed) < generation) {
    return progressing('its controller has not seen the change yet');
  }
  return (BY_KIND.get(object.kind) ?? byConditions)(object);
}

/** Kinds whose status is about an older spec until `observedGeneration` says otherwise. */
const OBSERVED_KINDS = new Set(['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'PodDisruptionBudget']);

const BY_KIND: ReadonlyMap<string, (object: KubeObject) => Health> = new Map([
  ['Deployment', deployment],
  ['StatefulSet', statefulSet],
  ['DaemonSet', daemonSet],
  ['ReplicaSet', replicaSet],
  ['Job', job],
  ['Pod', pod],
  ['PersistentVolumeClaim', persistentVolumeClaim],
  ['Service', service],
  ['CustomResourceDefinition', customResourceDefinition],
  // Their conditions tell about the load and the pods, not about whether the object itself is in force.
  ['HorizontalPodAutoscaler', () => ready],
  ['PodDisruptionBudget', () => ready],
]);

function deployment(object: KubeObject): Health {
  const progress = condition(object, 'Progressing');
  if (progress?.status === 'False') return failed(progress.message);
  if (at(object, 'spec', 'paused') === true) return progressing('its rollout is paused');
  const wanted = replicasOf(object);
  const status = (field: string) => count(at(object, 'status', field));
  if (status('updatedReplicas') < wanted)
    return progressing(`${status('updatedReplicas')} of ${wanted} pods are of the new version`);
  const old = status('replicas') - status('updatedReplicas');
  if (old > 0) return progressing(`${old} pods of the old version are still there`);
  if (status('availableReplicas') < wanted) {
    const failure = condition(object, 'ReplicaFailure');
    const because = failure?.status === 'True' ? `: ${failure.message}` : '';
    return progressing(`${status('availableReplicas')} of ${wanted} pods are available${because}`);
  }
  return ready;
}

function statefulSet(object: KubeObject): Health {
  if (at(object, 'spec', 'updateStrategy', 'type') === 'OnDelete') return ready;
  const wanted = replicasOf(object);
  const status = (field: string) => count(at(object, 'status', field));
  if (status('readyReplicas') < wanted) return progressing(`${status('readyReplicas')} of ${wanted} pods are ready`);
  const partition = count(at(object, 'spec', 'updateStrategy', 'rollingUpdate', 'partition'));
  if (partition > 0) {
    const toUpdate = Math.max(0, wanted - partition);
    if (status('updatedReplicas') >= toUpdate) return ready;
    return progressing(`${status('updatedReplicas')} of ${toUpdate} pods are of the new version`);
  }
  if (at(object, 'status', 'updateRevision') === at(object, 'status', 'currentRevision')) return ready;
  return progressing(`${status('updatedReplicas')} of ${wanted} pods are of the new version`);
}

function daemonSet(object: KubeObject): Health {
  if (at(object, 'spec', 'updateStrategy', 'type') === 'OnDelete') return ready;
  const status = (field: string) => count(at(object, 'status', field));
  const wanted = status('desiredNumberScheduled');
  if (status('updatedNumberScheduled') < wanted) {
    return progressing(`${status('updatedNumberScheduled')} of ${wanted} pods are of the new version`);
  }
  if (status('numberAvailable') < wanted)
    return progressing(`${status('numberAvailable')} of ${wanted} pods are available`);
  return ready;
}

function replicaSet(object: KubeObject): Health {
  const [wanted, available] = [replicasOf(object), count(at(object, 'status', 'availableReplicas'))];
  return available < wanted ? progressing(`${available} of ${wanted} pods are available`) : ready;
}

function job(object: KubeObject): Health {
  const failure = condition(object, 'Failed');
  if (failure?.status === 'True') return failed(failure.message || 'the Job failed');
  if (condition(object, 'Complete')?.status === 'True') return ready;
  if (condition(object, 'Suspended')?.status === 'True') return progressing('the Job is suspended');
  return progressing(`${count(at(object, 'status', 'succeeded'))} pods have succeeded`);
}

function pod(object: KubeObject): Health {
  const phase = at(object, 'status', 'phase');
  if (phase === 'Succeeded') return ready;
  if (phase === 'Failed') return failed(String(at(object, 'status', 'message') ?? 'the Pod failed'));
  if (condition(object, 'Ready')?.status === 'True') return ready;
  return progressing(`the Pod is ${String(phase ?? 'Pending')}, not ready`);
}

function persistentVolumeClaim(object: KubeObject): Health {
  const phase = at(object, 'status', 'phase');
  if (phase === 'Bound') return ready;
  return phase === 'Lost' ? failed('its volume is lost') : progressing('no volume is bound to it');
}

function service(object: KubeObject): Health {
  if (at(object, 'spec', 'type') !== 'LoadBalancer') return ready;
  const ingress = at(object, 'status', 'loadBalancer', 'ingress');
  return Array.isArray(ingress) && ingress.length > 0 ? ready : progressing('it has no address from a load balancer');
}

function customResourceDefinition(object: KubeObject): Health {
  const names = condition(object, 'NamesAccepted');
  if (names?.status === 'False') return failed(names.message);
  return condition(object, 'Established')?.status === 'True' ? ready : progressing('it is not established');
}

/** By the conventions of kstatus: `Stalled`, `Reconciling`, `Ready`. */
function byConditions(object: KubeObject): Health {
  const stalled = condition(object, 'Stalled');
  if (stalled?.status === 'True') return failed(stalled.message);
  const reconciling = condition(object, 'Reconciling');
  if (reconciling?.status === 'True') return progressing(reconciling.message);
  const isReady = condition(object, 'Ready');
  return isReady && isReady.status !== 'True'
    ? progressing(isReady.message || 'its condition Ready is not True')
    : ready;
}

interface Condition {
  readonly status: string;
  readonly message: string;
}

function condition(object: KubeObject, type: string): Condition | undefined {
  const conditions = at(object, 'status', 'conditions');
  const found: unknown = Array.isArray(conditions) ? conditions.find((one) => at(one, 'type') === type) : undefined;
  return found === undefined
    ? undefined
    : { status: String(at(found, 'status')), message: String(at(found, 'message') ?? '') };
}

function replicasOf(object: KubeObject): number {
  return count(at(object, 'spec', 'replicas') ?? 1); // the API server's default
}

function count(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
