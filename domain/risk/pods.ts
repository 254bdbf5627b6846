import { toPointer } from '../json-pointer.ts';
import { at, isRecord, listAt, same, textAt } from './json-values.ts';

/** A pod, or the template of one, wherever an object holds it. */
export interface Pod {
  /** Where its spec lies: a JSON pointer (RFC 6901). */
  readonly path: string;
  readonly spec: unknown;
  /** Its labels and annotations; undefined where the object keeps a pod spec without. */
  readonly metadata: unknown;
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

/**
 * Every pod that an object makes, in a fixed order. Kinds are not asked for: custom workloads (a Rollout, a Service of
 * Knative) hold pod templates in places of their own, and what has containers runs them.
 */
export function podsIn(object: unknown): Pod[] {
  const pods: Pod[] = [];
  const places: Place[] = [{ value: object, key: '', parent: undefined }];
  for (let place = places.pop(); place; place = places.pop()) {
    const { value } = place;
    if (isPodSpec(place)) pods.push(podAt(place));
    if (typeof value !== 'object' || value === null) continue;
    const keys = Object.keys(value);
    if (!Array.isArray(value)) keys.sort();
    // The last comes off the stack first.
    for (const key of keys.reverse())
      places.push({ value: (value as Record<string, unknown>)[key], key, parent: place });
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

function isPodSpec({ value, key, parent }: Place): boolean {
  if (!isRecord(value)) return false;
  if (CONTAINER_KEYS.some((list) => listAt(value, list).some(isRecord))) return true;
  if (key !== 'spec') return false;
  return parent?.key === 'template' || (parent?.parent === undefined && at(parent?.value, 'kind') === 'Pod');
}

function podAt(place: Place): Pod {
  const path: string[] = [];
  for (let one: Place | undefined = place; one?.parent; one = one.parent) path.unshift(one.key);
  const metadata = place.key === 'spec' ? at(place.parent?.value, 'metadata') : undefined;
  return { path: toPointer(path), spec: place.value, metadata };
}

export interface Container {
  /** What to call it in a sentence. */
  readonly who: string;
  readonly container: unknown;
}

/** All containers of a pod: those that start first, first. */
export function containersOf({ spec }: Pod): Container[] {
  return CONTAINER_KEYS.flatMap((key) =>
    listAt(spec, key).map((container, index) => ({
      who: `container ${textAt(container, 'name') ?? `${key}/${index}`}`,
      container,
    })),
  );
}
