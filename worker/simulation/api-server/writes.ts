import { isDeepStrictEqual } from 'node:util';
import { immutableJSONPatch } from 'immutable-json-patch';
import type { JSONPatchDocument } from 'immutable-json-patch';
import { merged } from '../../../activities/kubernetes/actions/values.ts';
import type { KubeObject } from '../../../activities/kubernetes/kube-object.ts';
import { at, listAt } from '../../../activities/kubernetes/kube-object.ts';
import { SERVED } from './kinds.ts';
import type { Writing } from './ownership.ts';
import { applied, updated } from './ownership.ts';
import {
  alreadyExists,
  badRequest,
  conflict,
  invalid,
  managerMissing,
  MODIFIED,
  notFound,
  Refusal,
} from './refusal.ts';
import type { ApiAnswer, ApiRequest, Target } from './request.ts';
import { managerOf, nameIn, objectIn, parsed, placeNamespace } from './request.ts';
import { selects } from './selectors.ts';
import type { ObjectStore, Place } from './store.ts';
import { created } from './store.ts';
import { asStored, assertImmutable, isLeaving, omit, withoutServerFields, withServerFields } from './stored.ts';

/** All of them throw Refusal. */
export function post(store: ObjectStore, { kind, namespace }: Target, request: ApiRequest): ApiAnswer {
  const object = objectIn(request, kind);
  const place = { kind, namespace: placeNamespace(kind, namespace, object), name: nameIn(object, kind) };
  if (store.get(place)) throw alreadyExists(kind, place.name);
  if (object.metadata.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  const fresh = created(place, omit(object, 'status') as KubeObject, new Date()); // its kind and name stay
  return { status: 201, body: keep(store, place, undefined, fresh, request, 'Update') };
}

export function put(store: ObjectStore, place: Place, request: ApiRequest): ApiAnswer {
  const object = objectIn(request, place.kind);
  const before = liveAt(store, place);
  assertUid(place, before, object.metadata.uid, 'put');
  assertVersion(place, before, object.metadata.resourceVersion);
  return ok(keep(store, place, before, withServerFields(before, object), request, 'Update'));
}

export function patch(store: ObjectStore, place: Place, request: ApiRequest): ApiAnswer {
  const type = request.contentType.split(';')[0]?.trim();
  if (type === 'application/apply-patch+yaml') return apply(store, place, request);
  if (type !== 'application/merge-patch+json' && type !== 'application/json-patch+json') {
    throw new Refusal(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format');
  }
  const before = liveAt(store, place);
  const isMerge = type === 'application/merge-patch+json';
  const wanted = isMerge ? merged(before, parsed(request.body)) : jsonPatched(before, request.body);
  const after = wanted as KubeObject; // a patch of an object; who it is, is checked next
  if (after.metadata.name !== place.name) throw badRequest('the name of the object does not match the name on the URL');
  assertVersion(place, before, after.metadata.resourceVersion);
  assertUid(place, before, after.metadata.uid, 'patch');
  return ok(keep(store, place, before, withServerFields(before, after), request, 'Update'));
}

function apply(store: ObjectStore, place: Place, request: ApiRequest): ApiAnswer {
  const { kind, name } = place;
  const before = store.get(place);
  const manifest = objectIn(request, kind);
  if (nameIn(manifest, kind) !== name) throw badRequest('name in URL does not match name in the object');
  placeNamespace(kind, place.namespace, manifest);
  if (manifest.metadata['managedFields'] !== undefined) throw badRequest('metadata.managedFields must be nil');
  const { uid, resourceVersion } = manifest.metadata;
  if (!before && uid) {
    const why = `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`;
    throw conflict(kind, name, why);
  }
  if (before) {
    assertVersion(place, before, resourceVersion);
    assertUid(place, before, uid, 'patch');
  }
  if (!request.query.get('fieldManager')) throw managerMissing();
  const now = new Date();
  const writing = { manager: managerOf(request), now, force: request.query.get('force') === 'true' };
  const wanted = asStored(withoutServerFields(manifest));
  const after = applied(before, wanted, writing);
  if (before) return ok(keep(store, place, before, withServerFields(before, after), request, 'Apply'));
  return { status: 201, body: keep(store, place, undefined, created(place, after, now), request, 'Apply') };
}

function ok(body: unknown): ApiAnswer {
  return { status: 200, body };
}

/** @throws {Refusal} 404 */
export function liveAt(store: ObjectStore, place: Place): KubeObject {
  const live = store.get(place);
  if (!live) throw notFound(place.kind, place.name);
  return live;
}

/** Checks what holds for all writes, notes who owns what, and keeps the object, unless it is a dry run or the same. */
function keep(
  store: ObjectStore,
  place: Place,
  before: KubeObject | undefined,
  wanted: KubeObject,
  request: ApiRequest,
  operation: 'Apply' | 'Update',
): KubeObject {
  const { kind, namespace } = place;
  if (!before && namespace !== undefined) assertNamespace(store, namespace);
  const given = asStored(wanted);
  if (before) assertImmutable(place, before, given);
  const writing = { manager: managerOf(request), now: new Date() };
  const noted = operation === 'Apply' ? given : owned(before, given, writing);
  const isSame = before !== undefined && isDeepStrictEqual(noted, before);
  const isDryRun = request.query.get('dryRun') === 'All';
  if (isSame) return before;
  const counts = before && kind.counted && !isDeepStrictEqual(noted['spec'], before['spec']);
  const generation = counts ? { generation: (before.metadata.generation ?? 0) + 1 } : {};
  const after = { ...noted, metadata: { ...noted.metadata, ...generation } };
  if (isDryRun) return after;
  if (isLeaving(after) && listAt(after, 'metadata', 'finalizers').length === 0) {
    store.remove(place);
    return after;
  }
  return store.put(place, after);
}

/** A client that sends managed fields sets them; else they follow from what it changed. */
function owned(before: KubeObject | undefined, wanted: KubeObject, writing: Writing): KubeObject {
  const sent = wanted.metadata['managedFields'];
  const isSet = before && sent !== undefined && !isDeepStrictEqual(sent, before.metadata['managedFields']);
  return isSet ? wanted : updated(before, wanted, writing);
}

export function remove(store: ObjectStore, place: Place, request: ApiRequest): ApiAnswer {
  const { kind, name } = place;
  const options = request.body === '' ? {} : parsed(request.body);
  const object = liveAt(store, place);
  for (const [field, label] of [
    ['uid', 'UID'],
    ['resourceVersion', 'ResourceVersion'],
  ] as const) {
    const wanted = at(options, 'preconditions', field);
    const found = object.metadata[field];
    if (wanted === undefined || wanted === found) continue;
    const why = `Precondition failed: ${label} in precondition: ${String(wanted)}, ${label} in object meta: ${String(found)}`;
    throw conflict(kind, name, why);
  }
  // With a body its options count, and those of the query do not.
  const isDryRun = request.body === '' ? request.query.get('dryRun') === 'All' : listAt(options, 'dryRun').length > 0;
  const isHeld = listAt(object, 'metadata', 'finalizers').length > 0;
  if (!isDryRun && isHeld) {
    const deletionTimestamp = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const leaving = { ...object, metadata: { ...object.metadata, deletionTimestamp } };
    return ok(isLeaving(object) ? object : store.put(place, leaving));
  }
  if (!isDryRun) store.remove(place);
  if (isHeld || kind.kind === 'Namespace' || kind.kind === 'Pod') return ok(object);
  const details = { name, ...(kind.group && { group: kind.group }), kind: kind.plural, uid: object.metadata.uid };
  return ok({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details });
}

/** Removes what a query selects. */
export function removeAll(store: ObjectStore, { kind, namespace }: Target, request: ApiRequest): void {
  const selected = store.list(kind, namespace).filter(selects(request.query));
  for (const { metadata } of selected) store.remove({ kind, namespace: metadata.namespace, name: metadata.name });
}

function jsonPatched(before: KubeObject, body: string): unknown {
  try {
    return immutableJSONPatch(before, parsed(body) as JSONPatchDocument);
  } catch {
    throw new Refusal(422, 'Invalid', 'the server rejected our request due to an error in our request');
  }
}

function assertVersion({ kind, name }: Place, before: KubeObject, wanted: string | undefined): void {
  const isGiven = wanted !== undefined && wanted !== '' && wanted !== '0';
  if (isGiven && wanted !== before.metadata.resourceVersion) throw conflict(kind, name, MODIFIED);
}

function assertUid({ kind, name }: Place, before: KubeObject, wanted: string | undefined, by: 'put' | 'patch'): void {
  const found = before.metadata.uid;
  if (!wanted || wanted === found) return;
  const why = `Precondition failed: UID in precondition: ${wanted}, UID in object meta: ${String(found)}`;
  if (by === 'put') throw conflict(kind, name, why);
  throw invalid(kind, name, 'metadata.uid', `Invalid value: "${wanted}": field is immutable`);
}

function assertNamespace(store: ObjectStore, name: string): void {
  const kind = SERVED.find((one) => one.kind === 'Namespace');
  if (kind && !store.get({ kind, name })) throw notFound(kind, name);
}
