import { isRecord } from '../../domain/json-values.ts';

export { isRecord };

/** What every object of the Kubernetes API has; the rest stays as the API server sent it. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly deletionTimestamp?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** One state of one object: a write is bound to it. */
export interface Version {
  readonly uid: string;
  readonly resourceVersion: string;
}

/** The state that a live object is in; the API server always sets both. */
export function versionOf(object: KubeObject): Version {
  const { uid = '', resourceVersion = '' } = object.metadata;
  return { uid, resourceVersion };
}

/** The value at a path of keys, or undefined where the path ends early; null stays null, as the API server means it. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let inner = value;
  for (const key of path) {
    if (!isRecord(inner) || !Object.hasOwn(inner, key)) return undefined;
    inner = inner[key];
  }
  return inner;
}

/** The list at a path of keys; empty where there is none. */
export function listAt(value: unknown, ...path: readonly string[]): readonly unknown[] {
  const list = at(value, ...path);
  return Array.isArray(list) ? list : [];
}
