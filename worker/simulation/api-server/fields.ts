import { isDeepStrictEqual } from 'node:util';
import { isRecord } from '../../../activities/kubernetes/kube-object.ts';

/**
 * Which fields an object has, as server-side apply counts them (sigs.k8s.io/structured-merge-diff): the leaves, and the
 * items of lists whose items have names. What a real server takes from schemas is in two small tables here.
 */

/** `f:spec`, `f:containers`, `k:{"name":"web"}`, `f:image`: the steps of `fieldsV1`. */
export type Path = readonly string[];

/** By what the items of a list are told apart, by the list's name and what it is in; other lists are one leaf each. */
const ITEM_KEYS: Readonly<Record<string, readonly string[]>> = {
  containers: ['name'],
  initContainers: ['name'],
  env: ['name'],
  volumes: ['name'],
  volumeMounts: ['mountPath'],
  imagePullSecrets: ['name'],
  secrets: ['name'],
  hostAliases: ['ip'],
  topologySpreadConstraints: ['topologyKey', 'whenUnsatisfiable'],
  ownerReferences: ['uid'],
  conditions: ['type'],
};
const PORT_KEYS = { container: ['containerPort', 'protocol'], service: ['port', 'protocol'] } as const;

/** Maps that have one owner as a whole. */
const ATOMIC = new Set([
  ...['selector', 'nodeSelector', 'labelSelector', 'podSelector', 'namespaceSelector'],
  ...['configMapKeyRef', 'secretKeyRef', 'fieldRef', 'resourceFieldRef', 'scaleTargetRef', 'roleRef'],
]);

/** Who owns them is not counted: they are what an object is, or the server's. */
const METADATA = ['labels', 'annotations', 'finalizers', 'ownerReferences'];

export interface Field {
  readonly path: Path;
  /** Absent for an item of a list, which is there or not. */
  readonly value?: unknown;
}

export type Fields = ReadonlyMap<string, Field>;

/** @param only what part: `status` is not written with the rest */
export function fieldsOf(object: unknown, only: 'status' | 'rest' = 'rest'): Map<string, Field> {
  const found = new Map<string, Field>();
  if (!isRecord(object)) return found;
  for (const [name, value] of Object.entries(object)) {
    if (name === 'apiVersion' || name === 'kind' || (name === 'status') !== (only === 'status')) continue;
    if (name !== 'metadata') collect(found, [`f:${name}`], name, value);
    else if (isRecord(value)) {
      for (const one of METADATA)
        if (value[one] !== undefined) collect(found, ['f:metadata', `f:${one}`], one, value[one]);
    }
  }
  return found;
}

export function keyOf(path: Path): string {
  return path.join('\n');
}

function collect(found: Map<string, Field>, path: Path, name: string, value: unknown): void {
  if (isRecord(value) && Object.keys(value).length > 0 && !ATOMIC.has(name)) {
    for (const [key, member] of Object.entries(value)) collect(found, [...path, `f:${key}`], key, member);
    return;
  }
  const keys = Array.isArray(value) && value.length > 0 ? itemKeys(name, value) : undefined;
  if (!keys) {
    found.set(keyOf(path), { path, value });
    return;
  }
  for (const item of value as readonly unknown[]) {
    const at = [...path, itemStep(item, keys)];
    found.set(keyOf(at), { path: at });
    collect(found, at, '', item);
  }
}

function itemKeys(name: string, list: readonly unknown[]): readonly string[] | undefined {
  const [first] = list;
  if (name !== 'ports') return list.every(isRecord) ? ITEM_KEYS[name] : undefined;
  if (!isRecord(first)) return undefined;
  if (first['containerPort'] !== undefined) return PORT_KEYS.container;
  return first['port'] === undefined ? undefined : PORT_KEYS.service;
}

function itemStep(item: unknown, keys: readonly string[]): string {
  const valueOf = (key: string) => (isRecord(item) ? item[key] : undefined) ?? (key === 'protocol' ? 'TCP' : null);
  return `k:${JSON.stringify(Object.fromEntries(keys.map((key) => [key, valueOf(key)])))}`;
}

/** A copy of the object with what a manifest says; items of lists are joined by their keys. */
export function mergedInto(target: unknown, patch: unknown, name = ''): unknown {
  if (Array.isArray(patch)) {
    const keys = patch.length > 0 ? itemKeys(name, patch) : undefined;
    if (!keys || !Array.isArray(target)) return patch;
    const steps = new Map(patch.map((item: unknown) => [itemStep(item, keys), item]));
    const kept = target.map((item: unknown) => {
      const step = itemStep(item, keys);
      const wanted = steps.get(step);
      if (wanted === undefined) return item;
      steps.delete(step);
      return mergedInto(item, wanted);
    });
    return [...kept, ...steps.values()];
  }
  if (!isRecord(patch) || ATOMIC.has(name)) return patch;
  const result = new Map(Object.entries(isRecord(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, mergedInto(result.get(key), value, key));
  }
  return Object.fromEntries(result);
}

/** A copy without what is at a path; what that leaves empty goes too. */
export function withoutPath(value: unknown, [step, ...rest]: Path): unknown {
  if (step === undefined) return undefined;
  if (Array.isArray(value)) {
    const keys = Object.keys(JSON.parse(step.slice(2)) as object); // a step of our own making
    return value.flatMap((item: unknown) => {
      if (itemStep(item, keys) !== step) return [item];
      const inner = rest.length === 0 ? undefined : withoutPath(item, rest);
      return inner === undefined ? [] : [inner];
    });
  }
  const name = step.slice(2);
  if (!isRecord(value) || !Object.hasOwn(value, name)) return value;
  const { [name]: old, ...others } = value;
  const inner = rest.length === 0 ? undefined : withoutPath(old, rest);
  const isEmpty =
    inner === undefined || (typeof inner === 'object' && inner !== null && Object.keys(inner).length === 0);
  return isEmpty ? (Object.keys(others).length === 0 ? undefined : others) : { ...others, [name]: inner };
}

export function sameValue(a: Field | undefined, b: Field | undefined): boolean {
  return a !== undefined && b !== undefined && isDeepStrictEqual(a.value, b.value);
}

/** `.spec.template.spec.containers[name="web"].image`, as the API server names a field. */
export function describePath(path: Path): string {
  return path
    .map((step) => {
      if (step.startsWith('f:')) return `.${step.slice(2)}`;
      const keys = Object.entries(JSON.parse(step.slice(2)) as object); // a step of our own making
      return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
    })
    .join('');
}

/** `fieldsV1` of a set of paths. */
export function toFieldsV1(paths: Iterable<Path>): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const path of paths) {
    let inner = root;
    for (const step of path) inner = (inner[step] ??= {}) as Record<string, unknown>; // only maps are put there
    if (path.at(-1)?.startsWith('k:')) inner['.'] = {};
  }
  return root;
}

/** The paths of `fieldsV1`, also of one that a client sends. */
export function pathsIn(fieldsV1: unknown, before: Path = []): Path[] {
  const entries = isRecord(fieldsV1) ? Object.entries(fieldsV1) : [];
  if (entries.length === 0) return before.length === 0 ? [] : [before];
  return entries.flatMap(([step, inner]) => (step === '.' ? [before] : pathsIn(inner, [...before, step])));
}
