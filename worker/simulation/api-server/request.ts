import { parse as parseYaml } from 'yaml';
import type { KubeObject } from '../../../activities/kubernetes/kube-object.ts';
import { isRecord } from '../../../activities/kubernetes/kube-object.ts';
import type { ServedKind } from './kinds.ts';
import { apiVersionOf, SERVED } from './kinds.ts';
import { badRequest, invalid, Refusal } from './refusal.ts';

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

export function objectIn({ body }: ApiRequest, kind: ServedKind): KubeObject {
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

export function nameIn(object: KubeObject, kind: ServedKind): string {
  const { name } = object.metadata;
  if (!name) throw new Refusal(422, 'Invalid', 'resource name may not be empty');
  if (name.length <= 253 && NAME.test(name)) return name;
  throw invalid(kind, name, 'metadata.name', `Invalid value: ${JSON.stringify(name)}: must be a DNS subdomain`);
}

export function placeNamespace(
  { namespaced }: ServedKind,
  namespace: string | undefined,
  object: KubeObject,
): string | undefined {
  if (!namespaced) return undefined;
  if (object.metadata.namespace !== undefined && object.metadata.namespace !== namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  return namespace;
}

export function parsed(body: string): unknown {
  try {
    return parseYaml(body, { maxAliasCount: 0 });
  } catch {
    throw badRequest('the body of the request cannot be parsed');
  }
}

/** The name that a client gives, or what comes before the slash of its user agent. */
export function managerOf({ query, userAgent }: ApiRequest): string {
  return query.get('fieldManager') || userAgent.split('/')[0] || 'unknown';
}
