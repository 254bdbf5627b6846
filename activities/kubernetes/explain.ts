import type { KubeReader } from './kube-api.ts';
import { at, isRecord, type KubeObject } from './kube-object.ts';
import { clip } from './status-message.ts';

/** Pods looked at; the first few tell what is wrong with all. */
const MAX_PODS = 200;
/** A container writes what it likes when it ends, secrets too: enough of it to recognise the trouble. */
const MAX_LAST_WORDS = 200;

/**
 * Why a workload does not get ready, as its pods tell it: which pod, and what about it (image, crash, scheduling).
 * Empty where the pods tell nothing, or may not be read.
 */
export async function explain(api: KubeReader, workload: KubeObject, signal?: AbortSignal): Promise<string> {
  const pods = workload.kind === 'Pod' ? [workload] : await podsOf(api, workload, signal);
  for (const pod of pods) {
    const why = troubleOf(pod);
    if (why) return `Pod ${pod.metadata.name}: ${why}`;
  }
  return '';
}

async function podsOf(api: KubeReader, workload: KubeObject, signal?: AbortSignal): Promise<readonly KubeObject[]> {
  const labels = at(workload, 'spec', 'selector', 'matchLabels');
  const { namespace } = workload.metadata;
  if (!isRecord(labels) || namespace === undefined) return [];
  const labelSelector = Object.entries(labels)
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(',');
  try {
    return (await api.list(`/api/v1/namespaces/${namespace}/pods`, { atMost: MAX_PODS, labelSelector }, signal)) ?? [];
  } catch {
    signal?.throwIfAborted();
    return []; // an explanation that can't be had must not hide what it was to explain
  }
}

function troubleOf(pod: KubeObject): string | undefined {
  const scheduled = listAt(pod, 'status', 'conditions').find((one) => at(one, 'type') === 'PodScheduled');
  if (at(scheduled, 'status') === 'False') return sentence(at(scheduled, 'reason'), at(scheduled, 'message'));
  const containers = [...listAt(pod, 'status', 'initContainerStatuses'), ...listAt(pod, 'status', 'containerStatuses')];
  for (const container of containers) {
    const name = `container ${String(at(container, 'name'))}`;
    const waiting = at(container, 'state', 'waiting');
    const reason = at(waiting, 'reason');
    if (reason !== undefined && reason !== 'ContainerCreating' && reason !== 'PodInitializing') {
      return `${name} waits: ${sentence(reason, at(waiting, 'message'))}`;
    }
    const ended = at(container, 'state', 'terminated');
    const exitCode = at(ended, 'exitCode');
    if (exitCode !== undefined && exitCode !== 0) {
      return `${name} ended with exit code ${String(exitCode)}: ${sentence(at(ended, 'reason'), lastWords(ended))}`;
    }
  }
  return undefined;
}

function lastWords(ended: unknown): string {
  const [line = ''] = String(at(ended, 'message') ?? '').split(/\r?\n/, 1);
  return clip(line, MAX_LAST_WORDS);
}

function listAt(object: KubeObject, ...path: readonly string[]): readonly unknown[] {
  const list = at(object, ...path);
  return Array.isArray(list) ? list : [];
}

function sentence(reason: unknown, message: unknown): string {
  return [reason, message].filter((part) => typeof part === 'string' && part !== '').join(', ');
}
