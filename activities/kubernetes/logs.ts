import type { ObjectRef } from '../../domain/plan.ts';
import type { LogTail } from '../../domain/status.ts';
import type { KubeReader } from './kube-api.ts';
import { at, type KubeObject, listAt } from './kube-object.ts';
import { type Redact, redactorFor } from './redact-secrets.ts';

/** Pods of a Job whose logs are kept, the newest. */
const MAX_PODS = 3;
const MAX_LISTED = 500;
const TAIL_LINES = 20;
const MAX_CHARS = 2_000;
/** A node that does not answer must not hold up a package that is otherwise done. */
const ANSWERED_WITHIN_MS = 5_000;

/** The ends of the logs of a Job's newest pods. Rejects with the signal's reason alone: a log that can't be had is told so. */
export async function tailsOf(api: KubeReader, job: ObjectRef, signal?: AbortSignal): Promise<LogTail[]> {
  const { name, namespace = '' } = job;
  const labelSelector = `batch.kubernetes.io/job-name=${name}`;
  try {
    const path = `/api/v1/namespaces/${namespace}/pods`;
    const pods = (await api.list(path, { atMost: MAX_LISTED, labelSelector }, signal)) ?? [];
    const newest = [...pods].sort((a, b) => createdAt(b).localeCompare(createdAt(a))).slice(0, MAX_PODS);
    const [first] = newest;
    if (!first) return [];
    const redact = await redactorFor(api, first, signal);
    const tails: LogTail[] = [];
    for (const pod of newest) {
      for (const container of listAt(pod, 'spec', 'containers')) {
        tails.push(await tailOf(api, pod, String(at(container, 'name')), redact, signal));
      }
    }
    return tails;
  } catch {
    signal?.throwIfAborted();
    return []; // what the Job did is known; its log is a help and no more
  }
}

async function tailOf(
  api: KubeReader,
  pod: KubeObject,
  container: string,
  redact: Redact | undefined,
  signal: AbortSignal | undefined,
): Promise<LogTail> {
  const { name } = pod.metadata;
  if (!redact) {
    const missing = 'it may hold values of Secrets that the connector may not read, and so could not mask';
    return { pod: name, container, text: '', missing };
  }
  try {
    const text = await readLog(api, pod, { container, tailLines: TAIL_LINES }, signal);
    return { pod: name, container, text: lastPart(redact(text)) };
  } catch {
    signal?.throwIfAborted();
    return { pod: name, container, text: '', missing: 'its node does not give it' };
  }
}

/**
 * The last line that a container wrote before it ended the last time, masked; empty where there is none to be had.
 * Rejects with the signal's reason alone.
 */
export async function lastLineBefore(
  api: KubeReader,
  pod: KubeObject,
  container: string,
  signal?: AbortSignal,
): Promise<string> {
  try {
    const redact = await redactorFor(api, pod, signal);
    if (!redact) return '';
    const text = await readLog(api, pod, { container, tailLines: 1, previous: true }, signal);
    return redact(text).trimEnd();
  } catch {
    signal?.throwIfAborted();
    return '';
  }
}

interface LogOptions {
  readonly container: string;
  readonly tailLines: number;
  readonly previous?: boolean;
}

async function readLog(
  api: KubeReader,
  { metadata }: KubeObject,
  { container, tailLines, previous = false }: LogOptions,
  signal: AbortSignal | undefined,
): Promise<string> {
  const path = `/api/v1/namespaces/${metadata.namespace ?? ''}/pods/${metadata.name}/log`;
  const query = { container, tailLines: String(tailLines), ...(previous && { previous: 'true' }) };
  const inTime = AbortSignal.timeout(ANSWERED_WITHIN_MS);
  return api.getText(path, query, signal ? AbortSignal.any([signal, inTime]) : inTime);
}

/** The end says why; a line that would be cut is left out as a whole. */
function lastPart(text: string): string {
  if (text.length <= MAX_CHARS) return text;
  const part = text.slice(-MAX_CHARS);
  const lineEnd = part.indexOf('\n');
  return `…${lineEnd >= 0 && lineEnd < part.length - 1 ? part.slice(lineEnd) : part}`;
}

function createdAt({ metadata }: KubeObject): string {
  return String(metadata['creationTimestamp'] ?? '');
}
