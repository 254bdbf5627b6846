import { immutableJSONPatch } from 'immutable-json-patch';
import { assertNever } from '../../domain/errors.ts';
import { FIELD_MANAGER, STAMP_ANNOTATION } from '../../domain/names.ts';
import type { Manifest, Step } from '../../domain/wpk.ts';
import type { Intent } from './intents.ts';
import { toJsonBody } from './json-body.ts';
import type { WriteCall } from './kube-api.ts';
import { at, isRecord, type KubeObject, type Version, versionOf } from './kube-object.ts';
import { RESTART_STAMP_PATH } from './stamp.ts';

const STRICT = { fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' };

/**
 * The request that carries out a step on one object, bound to the state it is in: an update to uid *and*
 * resourceVersion, a creation to the object's absence.
 * @param live undefined for a creation, which only `apply` can do
 * @param force takes over fields of other managers; for `apply` only
 */
export function requestOf(intent: Intent, live: KubeObject | undefined, stamp: string, force: boolean): WriteCall {
  const { step, path } = intent;
  if (step.action === 'apply') return applyCall(path, intent.manifest as Manifest, live, force); // set for each apply
  if (!live) throw new TypeError(`${step.action} needs a live object`); // the planner asks only with one
  const version = versionOf(live);
  switch (step.action) {
    case 'restart':
      return mergeCall(path, { metadata: version, ...nested(RESTART_STAMP_PATH, stamp) });
    case 'scale': {
      const metadata = { ...version, annotations: { [STAMP_ANNOTATION]: stamp } };
      return mergeCall(path, { metadata, spec: { replicas: step.replicas } });
    }
    case 'patch':
      return patchCall(path, step.patch, live, stamp);
    case 'delete':
      return deleteCall(path, step.propagation ?? 'background', version);
    default:
      return assertNever(step);
  }
}

function applyCall(path: string, manifest: Manifest, live: KubeObject | undefined, force: boolean): WriteCall {
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

function mergeCall(path: string, body: unknown): WriteCall {
  return { method: 'PATCH', path, query: STRICT, contentType: 'application/merge-patch+json', body: toJsonBody(body) };
}

type Patch = Extract<Step, { action: 'patch' }>['patch'];

/** The patch, its stamp and its precondition in one write: seen together or not at all. */
function patchCall(path: string, patch: Patch, live: KubeObject, stamp: string): WriteCall {
  const version = versionOf(live);
  if (patch.type === 'merge') {
    const metadata = isRecord(patch.body['metadata']) ? patch.body['metadata'] : {};
    const annotations = {
      ...(isRecord(metadata['annotations']) ? metadata['annotations'] : {}),
      [STAMP_ANNOTATION]: stamp,
    };
    return mergeCall(path, { ...patch.body, metadata: { ...metadata, ...version, annotations } });
  }
  const replace = (pointer: string, value: unknown) => ({ op: 'replace', path: pointer, value });
  const operations = [
    ...patch.operations,
    ...(hasAnnotations(patch, live) ? [] : [{ op: 'add', path: '/metadata/annotations', value: {} }]),
    { op: 'add', path: `/metadata/annotations/${STAMP_ANNOTATION.replaceAll('/', '~1')}`, value: stamp },
    replace('/metadata/uid', version.uid),
    replace('/metadata/resourceVersion', version.resourceVersion),
  ];
  const contentType = 'application/json-patch+json';
  return { method: 'PATCH', path, query: STRICT, contentType, body: toJsonBody(operations) };
}

function hasAnnotations(patch: Extract<Patch, { type: 'json' }>, live: KubeObject): boolean {
  try {
    return isRecord(at(immutableJSONPatch(live, patch.operations), 'metadata', 'annotations'));
  } catch {
    return isRecord(live.metadata.annotations); // the server refuses this patch, with the better sentence
  }
}

const PROPAGATION = { background: 'Background', foreground: 'Foreground', orphan: 'Orphan' } as const;

function deleteCall(path: string, propagation: keyof typeof PROPAGATION, version: Version): WriteCall {
  const body = {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    propagationPolicy: PROPAGATION[propagation],
    preconditions: version,
  };
  return { method: 'DELETE', path, query: {}, contentType: 'application/json', body: toJsonBody(body) };
}

function nested(path: readonly [string, ...string[]], value: unknown): Record<string, unknown> {
  const [first, ...rest] = path;
  return { [first]: rest.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) };
}
