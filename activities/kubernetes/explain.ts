import type { KubeReader } from './kube-api.ts';
import { at, isRecord, type KubeObject, listAt } from './kube-object.ts';
import { lastLineBefore } from './logs.ts';
import { isControlledBy, selectorOf } from './selector.ts';
import { clip } from './status-message.ts';

/** Pods looked at; the first few tell what is wrong with all. */
const MAX_PODS = 200;
const MAX_EVENTS = 500;
/** A container writes what it likes when it ends, secrets too: enough of it to recognise the trouble. */
const MAX_LAST_WORDS = 200;

/**
 * Why an object does not get ready, as a person needs it: which pod, which container, and what about it (scheduling,
 * image, crash with its last words, failed probe), or why there is no pod at all (quota, admission).
 * Empty where nothing tells, or it may not be read.
 */
export async function explain(api: KubeReader, object: KubeObject, signal?: AbortSignal): Promise<string> {
  try {
    return (await aboutPods(api, object, signal)) || (await aboutOwn(api, object, signal));
  } catch {
    signal?.throwIfAborted();
    return ''; // an explanation that can't be had must not hide what it was to explain
  }
}

async function aboutPods(api: KubeReader, object: KubeObject, signal?: AbortSignal): Promise<string> {
  for (const pod of object.kind === 'Pod' ? [object] : await podsOf(api, object, signal)) {
    const why = await troubleOf(api, pod, signal);
    if (why) return `Pod ${pod.metadata.name}: ${why}`;
  }
  return '';
}

/** The newest first: those of the old version are there still and run. */
async function podsOf(api: KubeReader, workload: KubeObject, signal?: AbortSignal): Promise<readonly KubeObject[]> {
  const labelSelector = selectorOf(workload);
  const { namespace } = workload.metadata;
  if (labelSelector === undefined || namespace === undefined) return [];
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const pods = (await api.list(path, { atMost: MAX_PODS, labelSelector }, signal)) ?? [];
  const createdAt = ({ metadata }: KubeObject) => String(metadata['creationTimestamp'] ?? '');
  return [...pods].sort((a, b) => createdAt(b).localeCompare(createdAt(a)));
}

async function troubleOf(api: KubeReader, pod: KubeObject, signal?: AbortSignal): Promise<string> {
  const scheduled = conditionOf(pod, 'PodScheduled');
  if (at(scheduled, 'status') === 'False') return sentence(at(scheduled, 'reason'), at(scheduled, 'message'));
  const containers = [...listAt(pod, 'status', 'initContainerStatuses'), ...listAt(pod, 'status', 'containerStatuses')];
  for (const container of containers) {
    const why = await containerTrouble(api, pod, container, signal);
    if (why) return `container ${String(at(container, 'name'))} ${why}`;
  }
  if (at(pod, 'status', 'phase') === 'Failed')
    return sentence(at(pod, 'status', 'reason'), at(pod, 'status', 'message'));
  return '';
}

async function containerTrouble(
  api: KubeReader,
  pod: KubeObject,
  container: unknown,
  signal?: AbortSignal,
): Promise<string> {
  const waiting = at(container, 'state', 'waiting');
  const reason = at(waiting, 'reason');
  if (reason === 'CrashLoopBackOff') return crashLoop(api, pod, container, signal);
  if (reason !== undefined && reason !== 'ContainerCreating' && reason !== 'PodInitializing') {
    return `waits: ${sentence(reason, at(waiting, 'message'))}`;
  }
  const ended = at(container, 'state', 'terminated');
  if (isRecord(ended) && at(ended, 'exitCode') !== 0) return howItEnded(ended, lastWords(ended));
  const isRunning = at(container, 'state', 'running') !== undefined;
  if (!isRunning || at(container, 'ready') === true) return '';
  const probe = await lastEventOf(api, pod, (event) => event['reason'] === 'Unhealthy', signal);
  return probe ? `is not ready: ${probe}` : 'is not ready';
}

async function crashLoop(api: KubeReader, pod: KubeObject, container: unknown, signal?: AbortSignal): Promise<string> {
  const ended = at(container, 'lastState', 'terminated');
  const written = await lastLineBefore(api, pod, String(at(container, 'name')), signal);
  const restarts = Number(at(container, 'restartCount') ?? 0);
  const often = restarts > 0 ? ` after ${restarts} ${restarts === 1 ? 'restart' : 'restarts'}` : '';
  const words = written ? clip(written, MAX_LAST_WORDS) : lastWords(ended);
  return `crashes again and again (CrashLoopBackOff${often}): ${howItEnded(ended, words)}`;
}

function howItEnded(ended: unknown, words: string): string {
  return `ended with exit code ${String(at(ended, 'exitCode') ?? 'unknown')}: ${sentence(at(ended, 'reason'), words)}`;
}

function lastWords(ended: unknown): string {
  const [line = ''] = String(at(ended, 'message') ?? '').split(/\r?\n/, 1);
  return clip(line, MAX_LAST_WORDS);
}

/** What controllers say about the object itself, or about what they make its pods with. */
async function aboutOwn(api: KubeReader, object: KubeObject, signal?: AbortSignal): Promise<string> {
  const own = await lastWarningOf(api, object, signal);
  if (own || object.kind !== 'Deployment') return own;
  const path = `/apis/apps/v1/namespaces/${object.metadata.namespace ?? ''}/replicasets`;
  const labelSelector = selectorOf(object) ?? '';
  const sets = (await api.list(path, { atMost: MAX_PODS, labelSelector }, signal)) ?? [];
  for (const set of sets.filter((one) => isControlledBy(one, object))) {
    const why = await lastWarningOf(api, set, signal);
    if (why) return `ReplicaSet ${set.metadata.name}: ${why}`;
  }
  return '';
}

function lastWarningOf(api: KubeReader, object: KubeObject, signal?: AbortSignal): Promise<string> {
  const isTold = (event: KubeObject) => event['type'] === 'Warning' || PENDING_REASONS.has(String(event['reason']));
  return lastEventOf(api, object, isTold, signal);
}

/** Told as normal, and yet the reason why a claim for a volume waits. */
const PENDING_REASONS: ReadonlySet<string> = new Set(['WaitForFirstConsumer', 'FailedBinding', 'ExternalProvisioning']);

async function lastEventOf(
  api: KubeReader,
  { metadata }: KubeObject,
  isTold: (event: KubeObject) => boolean,
  signal?: AbortSignal,
): Promise<string> {
  const place = metadata.namespace === undefined ? '/api/v1/events' : `/api/v1/namespaces/${metadata.namespace}/events`;
  const fieldSelector = `involvedObject.uid=${metadata.uid ?? ''}`;
  const events = (await api.list(place, { atMost: MAX_EVENTS, fieldSelector }, signal)) ?? [];
  const told = events.filter(isTold).sort((a, b) => seenAt(b).localeCompare(seenAt(a)));
  const [last] = told;
  return last ? sentence(last['reason'], clip(String(last['message'] ?? ''), 2 * MAX_LAST_WORDS)) : '';
}

function seenAt(event: KubeObject): string {
  const times = [at(event, 'series', 'lastObservedTime'), event['lastTimestamp'], event['eventTime']];
  return String(times.find((time) => typeof time === 'string') ?? '');
}

function conditionOf(object: KubeObject, type: string): unknown {
  return listAt(object, 'status', 'conditions').find((one) => at(one, 'type') === type);
}

function sentence(reason: unknown, message: unknown): string {
  return [reason, message].filter((part) => typeof part === 'string' && part !== '').join(', ');
}
