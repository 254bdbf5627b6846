import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectorError } from '../../../domain/errors.ts';
import { describeObject } from '../../../domain/plan.ts';
import type { Step } from '../../../domain/wpk.ts';
import { ApiStatusError } from '../api-status-error.ts';
import { forEachLimited } from '../concurrency.ts';
import { toJsonBody } from '../json-body.ts';
import type { KubeReader, WriteCall } from '../kube-api.ts';
import { at, type KubeObject, versionOf } from '../kube-object.ts';
import { STAMP_PATH } from '../stamp.ts';
import { type Action, Obstacle, type StepRun } from './action.ts';
import { mergeCall, stamped } from './calls.ts';
import { refuseUnlessNode, UNSCHEDULABLE_PATH } from './cordon.ts';
import { leftBy, liveOf } from './live.ts';
import { withValue } from './values.ts';

type Drain = Extract<Step, { action: 'drain' }>;

/** A node takes 110 pods unless told otherwise. */
const MAX_PODS = 5_000;
const IN_FLIGHT = 8;
const FIRST_POLL_MS = 250;
/** As kubectl waits before it asks a disruption budget again. */
const MAX_POLL_MS = 5_000;
const POLL_FACTOR = 1.5;
/** How often the node is read anew for the last write, because its status changes all the time. */
const MAX_TRIES = 10;
/** The first few tell what is the matter with all. */
const MAX_NAMED = 3;

/**
 * Empties a node as `kubectl drain --ignore-daemonsets` does: cordons it, then evicts its pods, which respects their
 * disruption budgets. Stamped at its end: until then a repeated attempt goes on where the last one was.
 */
export const drain: Action<Drain> = {
  effect: 'change',
  stampAt: STAMP_PATH,
  isCertain: true,
  refusal: (_, object) => refuseUnlessNode(object),
  async request({ step, intent, live: found, api, signal }) {
    const live = liveOf(step, found);
    const { obstacles } = sorted(step, await podsOn(api, live.metadata.name, signal));
    if (obstacles.length > 0) throw new Obstacle(named(obstacles));
    return mergeCall(intent.path, { metadata: versionOf(live), spec: { unschedulable: true } });
  },
  predict: ({ current, changedBy }) => withValue(leftBy(changedBy, current), UNSCHEDULABLE_PATH, true),
  // The same whether or not an earlier attempt has cordoned the node, and whichever pods come and go meanwhile.
  effects: [
    { path: '/pods', after: 'evicted, but for those of DaemonSets and of the node itself' },
    { path: '/spec/unschedulable', after: true },
  ],
  async finish(run) {
    if (!run.isPending) return {};
    await evictAll(run);
    return stampEnd(run);
  },
};

async function evictAll(run: StepRun<Drain>): Promise<void> {
  const { step, intent, api, signal } = run;
  const name = describeObject(intent.object);
  const deadline = performance.now() + step.timeoutSeconds * 1_000;
  const refused = new Map<string, string>();
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * POLL_FACTOR, MAX_POLL_MS)) {
    const { leaving, obstacles } = sorted(step, await podsOn(api, intent.object.name, signal));
    if (obstacles.length > 0) throw new ConnectorError('WRITE_REFUSED', `${name}: ${named(obstacles)}.`);
    if (leaving.length === 0) return;
    await forEachLimited(leaving, IN_FLIGHT, async (pod) => {
      if (pod.metadata.deletionTimestamp !== undefined) return;
      const refusal = await evict(run, pod);
      if (refusal) refused.set(podName(pod), refusal);
      else refused.delete(podName(pod));
    });
    const [first] = leaving.map(podName).filter((pod) => refused.has(pod));
    const why = first === undefined ? '' : `: Pod ${first}: ${refused.get(first)}`;
    const left = `${leaving.length} ${leaving.length === 1 ? 'pod is' : 'pods are'} still there`;
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) {
      const which = why || `: ${named(leaving.map((pod) => `Pod ${podName(pod)} does not end`))}`;
      throw new ConnectorError('NOT_READY', `${name}: ${left} when the time was up${which}.`);
    }
    run.onProgress(`${name}: ${left}${why}`);
    await sleep(Math.min(pollMs, leftMs), undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
  }
}

/** @returns why the API server does not evict the pod now, if it doesn't */
async function evict({ step, send }: StepRun<Drain>, pod: KubeObject): Promise<string | undefined> {
  try {
    await send(evictionOf(pod, step.gracePeriodSeconds));
    return undefined;
  } catch (error) {
    if (!(error instanceof ApiStatusError)) throw error;
    if (error.isNotFound || error.isStale) return undefined; // gone, or another pod of the same name by now
    if (error.status === 429) return error.message;
    throw new ConnectorError('WRITE_REFUSED', `Pod ${podName(pod)}: ${error.message}`, { cause: error });
  }
}

function evictionOf({ metadata }: KubeObject, gracePeriodSeconds: number | undefined): WriteCall {
  const { name, namespace = '', uid } = metadata;
  const deleteOptions = { preconditions: { uid }, ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }) };
  const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace }, deleteOptions };
  return {
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/pods/${name}/eviction`,
    query: {},
    contentType: 'application/json',
    body: toJsonBody(body),
  };
}

async function stampEnd({ api, intent, stamp, send, signal }: StepRun<Drain>): Promise<{ seen: KubeObject }> {
  for (let attempt = 1; ; attempt++) {
    const live = await api.get(intent.path, signal);
    if (!live) throw new ConnectorError('OBJECT_MISSING', `${describeObject(intent.object)} is gone.`);
    try {
      return { seen: await send(mergeCall(intent.path, { metadata: stamped(live, stamp) })) };
    } catch (error) {
      if (!(error instanceof ApiStatusError)) throw error;
      if (!error.isStale || attempt === MAX_TRIES) throw error.toConnectorError('WRITE_REFUSED');
    }
  }
}

async function podsOn(api: KubeReader, node: string, signal?: AbortSignal): Promise<readonly KubeObject[]> {
  const pods = await api.list('/api/v1/pods', { atMost: MAX_PODS, fieldSelector: `spec.nodeName=${node}` }, signal);
  if (!pods) throw new ConnectorError('WRITE_REFUSED', `Node ${node}: there are too many pods on it to drain it.`);
  return pods;
}

/** Which pods are evicted, and why some must not be (the filters of kubectl's `pkg/drain/filters.go`). */
function sorted(step: Drain, pods: readonly KubeObject[]): { leaving: KubeObject[]; obstacles: string[] } {
  const leaving = pods.filter((pod) => !isMirror(pod) && controllerOf(pod) !== 'DaemonSet');
  const obstacles = leaving.flatMap((pod) => {
    const phase = at(pod, 'status', 'phase');
    const isOver = phase === 'Succeeded' || phase === 'Failed' || pod.metadata.deletionTimestamp !== undefined;
    if (isOver) return [];
    if (controllerOf(pod) === undefined && step.evictUnmanaged !== true) {
      return [`Pod ${podName(pod)} has no controller that brings it back ("evictUnmanaged" is not set)`];
    }
    if (hasLocalData(pod) && step.deleteEmptyDirData !== true) {
      return [`Pod ${podName(pod)} has local data that would be lost ("deleteEmptyDirData" is not set)`];
    }
    return [];
  });
  return { leaving, obstacles };
}

function isMirror({ metadata }: KubeObject): boolean {
  return metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined;
}

/** The kind of the controller that a pod belongs to. */
function controllerOf({ metadata }: KubeObject): string | undefined {
  const references = metadata['ownerReferences'];
  const found: unknown = Array.isArray(references) && references.find((one) => at(one, 'controller') === true);
  return found ? String(at(found, 'kind')) : undefined;
}

function hasLocalData(pod: KubeObject): boolean {
  const volumes = at(pod, 'spec', 'volumes');
  return Array.isArray(volumes) && volumes.some((volume) => at(volume, 'emptyDir') !== undefined);
}

function podName({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

function named(texts: readonly string[]): string {
  const more = texts.length > MAX_NAMED ? `; and ${texts.length - MAX_NAMED} more` : '';
  return `${texts.slice(0, MAX_NAMED).join('; ')}${more}`;
}
