import { isDeepStrictEqual } from 'node:util';
import { immutableJSONPatch } from 'immutable-json-patch';
import type { JSONPatchDocument } from 'immutable-json-patch';
import { parse as parseYaml } from 'yaml';
import { merged } from '../../../activities/kubernetes/actions/values.ts';
import type { KubeObject } from '../../../activities/kubernetes/kube-object.ts';
import { at, isRecord, listAt } from '../../../activities/kubernetes/kube-object.ts';
import type { ServedKind } from './kinds.ts';
import { apiVersionOf, discoveryDocument, SERVED } from './kinds.ts';
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
import { selects } from './selectors.ts';
import type { ObjectStore, Place } from './store.ts';
import { created } from './store.ts';

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly contentType: string;
  readonly accept: string;
  readonly userAgent: string;
  readonly body: string;
}

export interface ApiAnswer {
  readonly status: number;
  /** A document, or a text as it is. */
  readonly body: unknown;
}

/** A collection, or one object of it where it has a name. */
export interface Target {
  readonly kind: ServedKind;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

/** The version that the simulated API server says it is: never taken for a real one. */
export const SIMULATED_VERSION = 'v1.34.3-simulated';

/** What a path is about; undefined where nothing is served. */
export function targetOf(path: string): Target | undefined {
  const [root, ...segments] = path.split('/').slice(1).map(decodeURIComponent);
  const [group, version, ...rest] = root === 'api' ? ['', ...segments] : segments;
  if ((root !== 'api' && root !== 'apis') || version === undefined) return undefined;
  const inNamespace = rest[0] === 'namespaces' && rest.length > 2;
  const [plural, name, subresource] = inNamespace ? rest.slice(2) : rest;
  const kind = SERVED.find((one) => one.group === group && one.version === version && one.plural === plural);
  if (!kind || (inNamespace && !kind.namespaced)) return undefined;
  return { kind, namespace: inNamespace ? rest[1] : undefined, name, subresource };
}

/** Answers one request as the API server does, but for what docs/simulation.md says it leaves out. */
export function answer(store: ObjectStore, request: ApiRequest): ApiAnswer {
  try {
    return { status: 200, body: documentAt(request.path) ?? answerAt(store, request) };
  } catch (error) {
    if (error instanceof Created) return { status: 201, body: error.object };
    if (error instanceof Refusal) return { status: error.status, body: error.body };
    throw error;
  }
}

/** Not an error: the other success. */
class Created {
  readonly object: KubeObject;

  constructor(object: KubeObject) {
    this.object = object;
  }
}

function documentAt(path: string): unknown {
  switch (path) {
    case '/version':
      return { major: '1', minor: '34', gitVersion: SIMULATED_VERSION, platform: 'simulated' };
    case '/livez':
    case '/readyz':
    case '/healthz':
      return 'ok';
    case '/api':
      return discoveryDocument('api');
    case '/apis':
      return discoveryDocument('apis');
    default:
      return undefined;
  }
}

function answerAt(store: ObjectStore, request: ApiRequest): unknown {
  const target = targetOf(request.path);
  if (!target) throw new NothingServed();
  const { kind, namespace, name, subresource } = target;
  if (subresource !== undefined) throw notFound(kind, name ?? '');
  if (name === undefined) {
    if (request.method === 'GET') return list(store, target, request);
    if (request.method === 'POST') throw new Created(post(store, target, request));
    if (request.method === 'DELETE') return removeAll(store, target, request);
    throw notAllowed();
  }
  const place = { kind, namespace, name };
  switch (request.method) {
    case 'GET':
      return store.get(place) ?? refuse(notFound(kind, name));
    case 'PUT':
      return put(store, place, request);
    case 'PATCH':
      return patch(store, place, request);
    case 'DELETE':
      return remove(store, place, request);
    default:
      throw notAllowed();
  }
}

/** A path of no kind: the API server's HTTP layer answers, in plain text. */
class NothingServed extends Refusal {
  override readonly body = '404 page not found\n';

  constructor() {
    super(404, 'NotFound', '');
  }
}

function notAllowed(): Refusal {
  return new Refusal(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
}

function refuse(refusal: Refusal): never {
  throw refusal;
}

/** The whole collection, or page by page where a limit is given. */
function list(store: ObjectStore, { kind, namespace }: Target, { query, accept }: ApiRequest): unknown {
  const all = store.list(kind, namespace).filter(selects(query));
  const from = Number(query.get('continue') ?? 0);
  const limit = Number(query.get('limit') ?? 0) || Infinity;
  const items = all.slice(from, from + limit);
  const left = all.length - from - items.length;
  const metadata = {
    resourceVersion: store.revision,
    ...(left > 0 && { continue: String(from + items.length), remainingItemCount: left }),
  };
  if (accept.includes('as=PartialObjectMetadataList')) {
    const only = items.map((object) => ({ metadata: object.metadata }));
    return { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items: only };
  }
  const bare = items.map(({ apiVersion: _version, kind: _kind, ...rest }) => rest);
  return { kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind), metadata, items: bare };
}

function post(store: ObjectStore, { kind, namespace }: Target, request: ApiRequest): KubeObject {
  const object = objectIn(request, kind);
  const place = { kind, namespace: placeNamespace(kind, namespace, object), name: nameIn(object, kind) };
  if (store.get(place)) throw alreadyExists(kind, place.name);
  if (object.metadata.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  const { status: _, ...written } = object;
  return keep(store, place, undefined, created(place, written as KubeObject, new Date()), request, 'Update');
}

function put(store: ObjectStore, place: Place, request: ApiRequest): KubeObject {
  const { kind, name } = place;
  const object = objectIn(request, kind);
  const before = store.get(place) ?? refuse(notFound(kind, name));
  assertUid(place, before, object.metadata.uid, 'put');
  assertVersion(place, before, object.metadata.resourceVersion);
  return keep(store, place, before, withServerFields(before, object), request, 'Update');
}

function patch(store: ObjectStore, place: Place, request: ApiRequest): KubeObject {
  const { kind, name } = place;
  const before = store.get(place);
  const type = request.contentType.split(';')[0]?.trim();
  if (type === 'application/apply-patch+yaml') return apply(store, place, before, request);
  if (type !== 'application/merge-patch+json' && type !== 'application/json-patch+json') {
    const why = `the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml`;
    throw new Refusal(415, 'UnsupportedMediaType', why);
  }
  if (!before) throw notFound(kind, name);
  const isMerge = type === 'application/merge-patch+json';
  const wanted = isMerge ? merged(before, parsed(request.body)) : jsonPatched(before, request.body);
  const after = wanted as KubeObject; // a patch of an object; who it is, is checked next
  if (after.metadata.name !== name) throw badRequest('the name of the object does not match the name on the URL');
  assertVersion(place, before, after.metadata.resourceVersion);
  assertUid(place, before, after.metadata.uid, 'patch');
  return keep(store, place, before, withServerFields(before, after), request, 'Update');
}

function apply(store: ObjectStore, place: Place, before: KubeObject | undefined, request: ApiRequest): KubeObject {
  const { kind, name } = place;
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
  const after = before ? applied(before, wanted, writing) : created(place, applied(undefined, wanted, writing), now);
  if (before) return keep(store, place, before, withServerFields(before, after), request, 'Apply');
  throw new Created(keep(store, place, undefined, after, request, 'Apply'));
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

function remove(store: ObjectStore, place: Place, request: ApiRequest): unknown {
  const { kind, name } = place;
  const options = request.body === '' ? {} : parsed(request.body);
  const object = store.get(place) ?? refuse(notFound(kind, name));
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
    return isLeaving(object)
      ? object
      : store.put(place, { ...object, metadata: { ...object.metadata, deletionTimestamp } });
  }
  if (!isDryRun) store.remove(place);
  if (isHeld || kind.kind === 'Namespace' || kind.kind === 'Pod') return object;
  const details = { name, ...(kind.group && { group: kind.group }), kind: kind.plural, uid: object.metadata.uid };
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details };
}

function removeAll(store: ObjectStore, target: Target, request: ApiRequest): unknown {
  const answered = list(store, target, request);
  for (const { metadata } of store.list(target.kind, target.namespace).filter(selects(request.query)))
    store.remove({ kind: target.kind, namespace: metadata.namespace, name: metadata.name });
  return answered;
}

function objectIn({ body }: ApiRequest, kind: ServedKind): KubeObject {
  const object = parsed(body);
  if (!isRecord(object)) throw badRequest('the body is no object');
  const { apiVersion, kind: named, metadata } = object;
  if (apiVersion !== apiVersionOf(kind) || named !== kind.kind) {
    throw badRequest(
      `the API version or kind in the data (${String(apiVersion)}, ${String(named)}) does not match the expected one (${apiVersionOf(kind)}, ${kind.kind})`,
    );
  }
  return { ...object, apiVersion, kind: named, metadata: isRecord(metadata) ? metadata : {} } as KubeObject; // its name is checked where it counts
}

const NAME = /^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$/;

function nameIn(object: KubeObject, kind: ServedKind): string {
  const { name } = object.metadata;
  if (!name) throw new Refusal(422, 'Invalid', 'resource name may not be empty');
  if (name.length <= 253 && NAME.test(name)) return name;
  throw invalid(kind, name, 'metadata.name', `Invalid value: ${JSON.stringify(name)}: must be a DNS subdomain`);
}

function placeNamespace(
  { namespaced }: ServedKind,
  namespace: string | undefined,
  object: KubeObject,
): string | undefined {
  if (!namespaced) return undefined;
  if (object.metadata.namespace !== undefined && object.metadata.namespace !== namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  return namespace;
}

function parsed(body: string): unknown {
  try {
    return parseYaml(body, { maxAliasCount: 0 });
  } catch {
    throw badRequest('the body of the request cannot be parsed');
  }
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

/** The few immutable fields that packages meet most. */
const IMMUTABLE: Readonly<Record<string, readonly string[]>> = {
  Deployment: ['selector'],
  StatefulSet: ['selector'],
  DaemonSet: ['selector'],
  Job: ['selector', 'template'],
};

function assertImmutable({ kind, name }: Place, before: KubeObject, after: KubeObject): void {
  for (const field of IMMUTABLE[kind.kind] ?? []) {
    if (isDeepStrictEqual(at(before, 'spec', field), at(after, 'spec', field))) continue;
    throw invalid(kind, name, `spec.${field}`, 'Invalid value: field is immutable');
  }
}

const OF_THE_SERVER = ['uid', 'resourceVersion', 'creationTimestamp', 'generation', 'deletionTimestamp'] as const;

function withoutServerFields(object: KubeObject): KubeObject {
  const own = Object.entries(object.metadata).filter(([key]) => !OF_THE_SERVER.some((one) => one === key));
  const { status: _, ...rest } = object;
  return { ...rest, metadata: Object.fromEntries(own) } as unknown as KubeObject; // its name stays
}

/** What clients cannot set is as it was; status has a path of its own, which nobody but the controllers uses here. */
function withServerFields(before: KubeObject, after: KubeObject): KubeObject {
  const { metadata, status: _, ...rest } = after;
  const kept = OF_THE_SERVER.flatMap((key) =>
    before.metadata[key] === undefined ? [] : [[key, before.metadata[key]]],
  );
  const managedFields = metadata['managedFields'] ?? before.metadata['managedFields'];
  const whole = { ...metadata, ...Object.fromEntries(kept), ...(managedFields !== undefined && { managedFields }) };
  return {
    ...rest,
    metadata: whole,
    ...(before['status'] !== undefined && { status: before['status'] }),
  } as KubeObject;
}

/** As the server keeps it: the texts of a Secret encoded, no empty data, and the label that each namespace gets. */
function asStored(object: KubeObject): KubeObject {
  if (object.kind === 'Secret') {
    const { stringData, data, ...rest } = object;
    const texts = Object.entries(isRecord(stringData) ? stringData : {});
    const encoded = texts.map(([key, text]) => [key, Buffer.from(String(text)).toString('base64')]);
    const all = { ...(isRecord(data) ? data : {}), ...Object.fromEntries(encoded) };
    return withData({ ...rest, type: rest['type'] ?? 'Opaque' }, all);
  }
  if (object.kind === 'ConfigMap') {
    const { data, ...rest } = object;
    return withData(rest, isRecord(data) ? data : {});
  }
  if (object.kind !== 'Namespace') return object;
  const labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name };
  return { ...object, metadata: { ...object.metadata, labels }, status: { phase: 'Active' } };
}

function withData(object: object, data: Readonly<Record<string, unknown>>): KubeObject {
  return (Object.keys(data).length > 0 ? { ...object, data } : object) as KubeObject; // nothing but its data was taken
}

function isLeaving({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** The name that a client gives, or what comes before the slash of its user agent. */
function managerOf({ query, userAgent }: ApiRequest): string {
  return query.get('fieldManager') || userAgent.split('/')[0] || 'unknown';
}

export function unauthorized(): ApiAnswer {
  const { status, body } = new Refusal(401, 'Unauthorized', 'Unauthorized');
  return { status, body };
}

export function expired(): ApiAnswer {
  const { status, body } = new Refusal(410, 'Expired', 'too old resource version');
  return { status, body };
}
