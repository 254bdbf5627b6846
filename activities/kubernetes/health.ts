import { groupOf } from './discovery.ts';
import { at, type KubeObject, listAt } from './kube-object.ts';

/** Where an object stands on the way to what its spec says. */
export interface Health {
  readonly state: 'ready' | 'progressing' | 'failed';
  /** What is missing, or what went wrong; for people. */
  readonly message: string;
}

export const READY: Health = { state: 'ready', message: '' };
export const progressing = (message: string): Health => ({ state: 'progressing', message });
export const failed = (message: string): Health => ({ state: 'failed', message });

/**
 * Judges an object by the rules of its kind, after kapp (`pkg/kapp/resourcesmisc`), Argo CD
 * (`gitops-engine/pkg/health`) and kstatus. `failed` is final: waiting longer does not help. Kinds without rules of
 * their own are ready once their controller has seen the newest generation and no condition says otherwise.
 */
export function healthOf(object: KubeObject): Health {
  if (object.metadata.deletionTimestamp !== undefined) return progressing('is being deleted');
  const observed = at(object, 'status', 'observedGeneration');
  const { generation } = object.metadata;
  const rule = ruleFor(object);
  const awaitsObserver = (rule !== byConditions && OBSERVED_KINDS.has(object.kind)) || observed !== undefined;
  if (awaitsObserver && generation !== undefined && count(observed) < generation) {
    return progressing('its controller has not seen the change yet');
  }
  return rule(object);
}

/** Kinds whose status is about an older spec until `observedGeneration` says otherwise. */
const OBSERVED_KINDS = new Set(['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'PodDisruptionBudget']);

type Rule = (object: KubeObject) => Health;

/** By group and kind: a custom resource may be called Service as well. */
const BY_KIND: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['apps/Deployment', deployment],
  ['apps/StatefulSet', statefulSet],
  ['apps/DaemonSet', daemonSet],
  ['apps/ReplicaSet', replicaSet],
  ['batch/Job', job],
  ['/Pod', pod],
  ['/PersistentVolumeClaim', persistentVolumeClaim],
  ['/PersistentVolume', persistentVolume],
  ['/Service', service],
  ['/Namespace', namespace],
  ['networking.k8s.io/Ingress', ingress],
  ['apiextensions.k8s.io/CustomResourceDefinition', customResourceDefinition],
  ['apiregistration.k8s.io/APIService', apiService],
  ['autoscaling/HorizontalPodAutoscaler', horizontalPodAutoscaler],
  // Its condition tells how many pods may go just now, not whether the budget itself is in force.
  ['policy/PodDisruptionBudget', () => READY],
  // A schedule is in force as soon as it is there; what comes of its Jobs is theirs to tell.
  ['batch/CronJob', () => READY],
]);

function ruleFor({ apiVersion, kind }: KubeObject): Rule {
  return BY_KIND.get(`${groupOf(apiVersion)}/${kind}`) ?? byConditions;
}

function deployment(object: KubeObject): Health {
  const progress = condition(object, 'Progressing');
  if (progress?.status === 'False')
    return failed([progress.message, replicaFailure(object)].filter(Boolean).join(': '));
  if (at(object, 'spec', 'paused') === true) return progressing('its rollout is paused');
  const wanted = replicasOf(object);
  const status = (field: string) => count(at(object, 'status', field));
  if (status('updatedReplicas') < wanted) {
    return shortOf(object, `${status('updatedReplicas')} of ${wanted} pods are of the new version`);
  }
  const old = status('replicas') - status('updatedReplicas');
  if (old > 0) return shortOf(object, `${old} pods of the old version are still there`);
  if (status('availableReplicas') < wanted) {
    return shortOf(object, `${status('availableReplicas')} of ${wanted} pods are available`);
  }
  return READY;
}

/** With what keeps the controller from making pods, such as a quota, where it says so. */
function shortOf(object: KubeObject, message: string): Health {
  const because = replicaFailure(object);
  return progressing(because ? `${message}: ${because}` : message);
}

function replicaFailure(object: KubeObject): string {
  const failure = condition(object, 'ReplicaFailure');
  return failure?.status === 'True' ? failure.message : '';
}

function statefulSet(object: KubeObject): Health {
  if (at(object, 'spec', 'updateStrategy', 'type') === 'OnDelete') return READY;
  const wanted = replicasOf(object);
  const status = (field: string) => count(at(object, 'status', field));
  if (status('readyReplicas') < wanted) return progressing(`${status('readyReplicas')} of ${wanted} pods are ready`);
  const partition = count(at(object, 'spec', 'updateStrategy', 'rollingUpdate', 'partition'));
  if (partition > 0) {
    const toUpdate = Math.max(0, wanted - partition);
    if (status('updatedReplicas') >= toUpdate) return READY;
    return progressing(`${status('updatedReplicas')} of ${toUpdate} pods are of the new version`);
  }
  if (at(object, 'status', 'updateRevision') === at(object, 'status', 'currentRevision')) return READY;
  return progressing(`${status('updatedReplicas')} of ${wanted} pods are of the new version`);
}

function daemonSet(object: KubeObject): Health {
  if (at(object, 'spec', 'updateStrategy', 'type') === 'OnDelete') return READY;
  const status = (field: string) => count(at(object, 'status', field));
  const wanted = status('desiredNumberScheduled');
  if (status('updatedNumberScheduled') < wanted) {
    return progressing(`${status('updatedNumberScheduled')} of ${wanted} pods are of the new version`);
  }
  if (status('numberAvailable') < wanted)
    return progressing(`${status('numberAvailable')} of ${wanted} pods are available`);
  return READY;
}

function replicaSet(object: KubeObject): Health {
  const [wanted, available] = [replicasOf(object), count(at(object, 'status', 'availableReplicas'))];
  return available < wanted ? shortOf(object, `${available} of ${wanted} pods are available`) : READY;
}

function job(object: KubeObject): Health {
  const failure = condition(object, 'Failed');
  if (failure?.status === 'True') return failed(failure.message || 'the Job failed');
  if (condition(object, 'Complete')?.status === 'True') return READY;
  if (condition(object, 'Suspended')?.status === 'True') return progressing('the Job is suspended');
  return progressing(`${count(at(object, 'status', 'succeeded'))} pods have succeeded`);
}

function pod(object: KubeObject): Health {
  const phase = at(object, 'status', 'phase');
  if (phase === 'Succeeded') return READY;
  if (phase === 'Failed') return failed(String(at(object, 'status', 'message') ?? 'the Pod failed'));
  if (condition(object, 'Ready')?.status === 'True') return READY;
  return progressing(`the Pod is ${String(phase ?? 'Pending')}, not ready`);
}

function persistentVolumeClaim(object: KubeObject): Health {
  const phase = at(object, 'status', 'phase');
  if (phase === 'Bound') return READY;
  return phase === 'Lost' ? failed('its volume is lost') : progressing('no volume is bound to it');
}

function persistentVolume(object: KubeObject): Health {
  const phase = at(object, 'status', 'phase');
  if (phase === 'Failed') return failed(String(at(object, 'status', 'message') ?? 'the volume failed'));
  return phase === 'Pending' ? progressing('the volume is not available') : READY;
}

function service(object: KubeObject): Health {
  if (at(object, 'spec', 'type') !== 'LoadBalancer') return READY;
  return hasAddress(object) ? READY : progressing('it has no address from a load balancer');
}

function ingress(object: KubeObject): Health {
  return hasAddress(object) ? READY : progressing('it has no address from an ingress controller');
}

function hasAddress(object: KubeObject): boolean {
  return listAt(object, 'status', 'loadBalancer', 'ingress').length > 0;
}

function namespace(object: KubeObject): Health {
  return at(object, 'status', 'phase') === 'Active' ? READY : progressing('it is not active');
}

function customResourceDefinition(object: KubeObject): Health {
  const names = condition(object, 'NamesAccepted');
  if (names?.status === 'False') return failed(names.message);
  return condition(object, 'Established')?.status === 'True' ? READY : progressing('it is not established');
}

function apiService(object: KubeObject): Health {
  const available = condition(object, 'Available');
  if (available?.status === 'True') return READY;
  return progressing(available?.message || 'nobody has said that its server answers');
}

/** What its other conditions tell is about the load: it is in force all the same. */
function horizontalPodAutoscaler(object: KubeObject): Health {
  const able = condition(object, 'AbleToScale');
  return able?.status === 'False' ? progressing(able.message) : READY;
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
    : READY;
}

interface Condition {
  readonly status: string;
  readonly message: string;
}

function condition(object: KubeObject, type: string): Condition | undefined {
  const found = listAt(object, 'status', 'conditions').find((one) => at(one, 'type') === type);
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
