import { toPointer } from '../json-pointer.ts';
import { at, entriesAt, isRecord, listAt, same, textAt } from '../json-values.ts';

/** A pod, or the template of one, wherever an object holds it. */
export interface Pod {
  /** Where its spec lies: a JSON pointer (RFC 6901). */
  readonly path: string;
  readonly spec: unknown;
  /** Its labels and annotations; undefined where the object keeps a pod spec without. */
  readonly metadata: unknown;
  /** Those that start first, first. */
  readonly containers: readonly Container[];
}

export interface Container {
  /** What to call it in a sentence. */
  readonly who: string;
  readonly container: unknown;
}

/** A pod as it would be, beside the one that is at the same place in the live object. */
export interface ChangedPod extends Pod {
  readonly before: Pod | undefined;
  /**
   * Whether another pod would run than before. A restart, a scale and a label leave the spec as it is: they bring
   * nothing into the cluster that is not there already.
   */
  readonly isNew: boolean;
}

const CONTAINER_KEYS = ['initContainers', 'containers', 'ephemeralContainers'] as const;

interface Place {
  readonly value: unknown;
  readonly key: string;
  readonly parent: Place | undefined;
}

/** What an object says of itself at its top and what controllers say of it; that moves and makes no pods. */
const NO_PODS = new Set(['metadata', 'status']);

/**
 * Every pod that an object makes, in a fixed order. Kinds are not asked for: custom workloads (a Rollout, a Service of
 * Knative) hold pod templates in places of their own, and what has containers runs them.
 */
export function podsIn(object: unknown): Pod[] {
  const pods: Pod[] = [];
  const places: Place[] = [{ value: object, key: '', parent: undefined }];
  for (let place = places.pop(); place; place = places.pop()) {
    if (isPodSpec(place)) pods.push(podAt(place));
    const inner = Array.isArray(place.value) ? [...place.value.entries()] : entriesAt(place.value);
    // The last comes off the stack first.
    for (const [key, value] of inner.reverse()) {
      const isTop = place.parent === undefined;
      if (!(isTop && NO_PODS.has(String(key)))) places.push({ value, key: String(key), parent: place });
    }
  }
  return pods;
}

export function changedPods(before: unknown, after: unknown): ChangedPod[] {
  const were = new Map(podsIn(before).map((pod) => [pod.path, pod]));
  return podsIn(after).map((pod) => {
    const was = were.get(pod.path);
    return { ...pod, before: was, isNew: was === undefined || !same(was.spec, pod.spec) };
  });
}

/** Whether a value runs containers, and so is a pod spec wherever it stands. */
export function hasContainers(value: unknown): boolean {
  return isRecord(value) && CONTAINER_KEYS.some((list) => listAt(value, list).some(isRecord));
}

function isPodSpec({ value, key, parent }: Place): boolean {
  if (hasContainers(value)) return true;
  if (key !== 'spec' || !isRecord(value)) return false;
  return parent?.key === 'template' || (parent?.parent === undefined && at(parent?.value, 'kind') === 'Pod');
}

function podAt(place: Place): Pod {
  const path: string[] = [];
  for (let one: Place | undefined = place; one?.parent; one = one.parent) path.push(one.key);
  const metadata = place.key === 'spec' ? at(place.parent?.value, 'metadata') : undefined;
  return { path: toPointer(path.reverse()), spec: place.value, metadata, containers: containersOf(place.value) };
}

function containersOf(spec: unknown): Container[] {
  return CONTAINER_KEYS.flatMap((key) =>
    listAt(spec, key).map((container, index) => ({
      who: `container ${textAt(container, 'name') ?? `${key}/${index}`}`,
      container,
    })),
  );
}
