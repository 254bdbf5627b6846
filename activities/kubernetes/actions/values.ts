import { isRecord, type KubeObject } from '../kube-object.ts';

/** A JSON merge patch (RFC 7396), without changing what is given. */
export function merged(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  const result = new Map(Object.entries(isRecord(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, merged(result.get(key), value));
  }
  return Object.fromEntries(result);
}

/** `value` below the keys of `path`. */
export function nested(path: readonly string[], value: unknown): Readonly<Record<string, unknown>> {
  const [first = '', ...rest] = path;
  return { [first]: rest.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) };
}

/** A copy with one value set (null removes it); shares what is not on the path. */
export function withValue(object: KubeObject, path: readonly string[], value: unknown): KubeObject {
  return merged(object, nested(path, value)) as KubeObject; // the patch touches neither apiVersion nor kind
}
