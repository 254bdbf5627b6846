import { FIELD_MANAGER, STAMP_ANNOTATION } from '../../../domain/names.ts';
import { toPointer } from '../../../domain/json-pointer.ts';
import type { Manifest } from '../../../domain/wpk.ts';
import { toJsonBody } from '../json-body.ts';
import type { WriteCall } from '../kube-api.ts';
import { type KubeObject, type Version, versionOf } from '../kube-object.ts';
import { STAMP_PATH } from '../stamp.ts';

export const STRICT = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' };

/** Server-side apply of a manifest, bound to the live object or to the absence of one. */
export function applyCall(path: string, manifest: Manifest, live: KubeObject | undefined, force: boolean): WriteCall {
  // No object has the resourceVersion "1": it creates where there is none and answers 409 where there is one.
  const precondition = live ? versionOf(live) : { resourceVersion: '1' };
  return {
    method: 'PATCH',
    path,
    query: { ...STRICT, force: String(force) },
    contentType: 'application/apply-patch+yaml',
    body: toJsonBody({ ...manifest, metadata: { ...manifest.metadata, ...precondition } }),
  };
}

/** A merge patch (RFC 7396); what it is bound to is in its metadata. */
export function mergeCall(path: string, body: unknown): WriteCall {
  return { method: 'PATCH', path, query: STRICT, contentType: 'application/merge-patch+json', body: toJsonBody(body) };
}

/** Metadata of a merge patch that is bound to a state and stamps the object in the same write. */
export function stamped(live: KubeObject, stamp: string): object {
  return { ...versionOf(live), annotations: { [STAMP_ANNOTATION]: stamp } };
}

/**
 * A JSON patch (RFC 6902) with its stamp and precondition in one write: seen together or not at all.
 * @param hasAnnotations whether the object has any once the operations are through
 */
export function jsonPatchCall(
  path: string,
  operations: readonly object[],
  { live, stamp, hasAnnotations }: { live: KubeObject; stamp: string; hasAnnotations: boolean },
): WriteCall {
  const version = versionOf(live);
  const replace = (pointer: string, value: unknown) => ({ op: 'replace', path: pointer, value });
  const all = [
    ...operations,
    ...(hasAnnotations ? [] : [{ op: 'add', path: '/metadata/annotations', value: {} }]),
    { op: 'add', path: toPointer(STAMP_PATH), value: stamp },
    replace('/metadata/uid', version.uid),
    replace('/metadata/resourceVersion', version.resourceVersion),
  ];
  return { method: 'PATCH', path, query: STRICT, contentType: 'application/json-patch+json', body: toJsonBody(all) };
}

export type Propagation = 'background' | 'foreground' | 'orphan';

const PROPAGATION = { background: 'Background', foreground: 'Foreground', orphan: 'Orphan' } as const;

export function deleteCall(path: string, propagation: Propagation, preconditions: Version): WriteCall {
  const propagationPolicy = PROPAGATION[propagation];
  const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy, preconditions };
  return { method: 'DELETE', path, query: {}, contentType: 'application/json', body: toJsonBody(body) };
}
