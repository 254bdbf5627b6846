import { at, isRecord, type KubeObject } from './kube-object.ts';

/**
 * The one table of what never enters a difference, a digest or a hash: what the API server generates, what controllers
 * write, and values of Secrets. Paths are lists of keys; `*` stands for any item of a list or any key.
 */

/** Never part of what a package changes; what a package could use of it is refused in one (`reserved.ts`). */
const NEVER: readonly Rule[] = [
  { path: ['status'], why: 'belongs to controllers' },
  { path: ['metadata', 'managedFields'], why: 'who owns which field; conflicts are reported on their own' },
  { path: ['metadata', 'generation'], why: 'counted by the server' },
  { path: ['metadata', 'resourceVersion'], why: 'counted by the server' },
  { path: ['metadata', 'uid'], why: 'given by the server; the plan has it beside the differences' },
  { path: ['metadata', 'creationTimestamp'], why: 'given by the server' },
  { path: ['metadata', 'selfLink'], why: 'given by servers before 1.24' },
  { path: ['metadata', 'deletionTimestamp'], why: 'set by the server when it deletes' },
  { path: ['metadata', 'deletionGracePeriodSeconds'], why: 'set by the server when it deletes' },
  { path: ['metadata', 'annotations', 'deployment.kubernetes.io/revision'], why: 'counted by the controller' },
  { path: ['metadata', 'annotations', 'deprecated.daemonset.template.generation'], why: 'counted by the server' },
  {
    path: ['metadata', 'annotations', 'kubectl.kubernetes.io/last-applied-configuration'],
    why: 'a copy of the object',
  },
  ...['controller-uid', 'batch.kubernetes.io/controller-uid'].flatMap((label) => [
    { kind: 'Job', path: ['metadata', 'labels', label], why: 'the uid, once more' },
    { kind: 'Job', path: ['spec', 'selector', 'matchLabels', label], why: 'the uid, once more' },
    { kind: 'Job', path: ['spec', 'template', 'metadata', 'labels', label], why: 'the uid, once more' },
  ]),
];

/** Left out where it is null, as the server writes it; with a time in it, it is another template. */
const ALWAYS_NULL: readonly (readonly string[])[] = [
  ['spec', 'template', 'metadata', 'creationTimestamp'],
  ['spec', 'jobTemplate', 'metadata', 'creationTimestamp'],
  ['spec', 'jobTemplate', 'spec', 'template', 'metadata', 'creationTimestamp'],
];

/** Chosen by the server, another value in each dry run, unless the object that is written (or was there) says it. */
const CHOSEN_BY_SERVER: readonly Rule[] = [
  { kind: 'Service', path: ['spec', 'clusterIP'], why: 'a free address' },
  { kind: 'Service', path: ['spec', 'clusterIPs'], why: 'a free address' },
  { kind: 'Service', path: ['spec', 'healthCheckNodePort'], why: 'a free port' },
  { kind: 'Service', path: ['spec', 'ports', '*', 'nodePort'], why: 'a free port' },
];

/** Left out of a deletion: it may move while people decide, and does not change what is deleted, which the uid names. */
const MOVING: readonly Rule[] = [
  { path: ['spec', 'replicas'], why: 'autoscalers set it' },
  { path: ['metadata', 'annotations'], why: 'controllers and tools keep their notes there' },
];

/** A projected volume that admission adds to each pod, with a random name. */
const TOKEN_VOLUME = /^kube-api-access-/;

interface Rule {
  readonly path: readonly string[];
  /** All kinds where it is left out. */
  readonly kind?: string;
  readonly why: string;
}

export interface NormalizeOptions {
  /** Replaces a value of a Secret; equal values must get equal results. */
  readonly mask: (value: string) => string;
  /** Objects whose values at the server's choice are kept: the manifest and the live object. */
  readonly saidBy?: readonly unknown[];
  readonly deletion?: boolean;
  /** What the package applies: a volume that it names is its own, whatever the name. */
  readonly manifest?: unknown;
}

/** An object without what the table leaves out and with masked Secrets. The given object is not changed. */
export function normalize(object: KubeObject, options: NormalizeOptions): KubeObject {
  const { mask, saidBy = [], deletion = false, manifest } = options;
  const applies = ({ kind }: Rule) => kind === undefined || kind === object.kind;
  let result: unknown = object;
  for (const rule of NEVER) if (applies(rule)) result = without(result, rule.path);
  for (const path of ALWAYS_NULL) if (at(result, ...path) === null) result = without(result, path);
  for (const rule of CHOSEN_BY_SERVER) {
    if (applies(rule) && !saidBy.some((source) => says(source, rule.path))) result = without(result, rule.path);
  }
  if (deletion) for (const rule of MOVING) result = without(result, rule.path);
  if (object.kind === 'Pod') result = withoutTokenVolume(result, manifest);
  if (object.kind === 'Secret') result = masked(result, mask);
  return result as KubeObject; // the rules never touch apiVersion, kind or name
}

/** A copy without the value at the path, sharing all that is not on it; a map that it leaves empty goes too. */
function without(value: unknown, [key, ...rest]: readonly string[]): unknown {
  if (key === undefined) return undefined;
  if (key === '*') return Array.isArray(value) ? value.map((item) => without(item, rest)) : value;
  if (!isRecord(value) || !Object.hasOwn(value, key)) return value;
  const { [key]: old, ...others } = value;
  const inner = without(old, rest);
  if (inner === old) return value;
  const isEmpty = inner === undefined || (isRecord(inner) && Object.keys(inner).length === 0);
  return isEmpty ? others : { ...others, [key]: inner };
}

function says(value: unknown, [key, ...rest]: readonly string[]): boolean {
  if (key === undefined) return value !== undefined;
  if (key === '*') return Array.isArray(value) && value.some((item) => says(item, rest));
  return isRecord(value) && Object.hasOwn(value, key) && says(value[key], rest);
}

function withoutTokenVolume(pod: unknown, manifest: unknown): unknown {
  const volumesOf = (object: unknown): readonly unknown[] => {
    const volumes = at(object, 'spec', 'volumes');
    return Array.isArray(volumes) ? volumes : [];
  };
  const ownNames = new Set(volumesOf(manifest).map((volume) => at(volume, 'name')));
  const tokens = volumesOf(pod).flatMap((volume) => {
    const name = at(volume, 'name');
    return TOKEN_VOLUME.test(String(name)) && isRecord(at(volume, 'projected')) && !ownNames.has(name) ? [name] : [];
  });
  const isToken = (item: unknown) => tokens.includes(at(item, 'name'));
  const listWithout = (holder: unknown, key: string): unknown => {
    const list = isRecord(holder) ? holder[key] : undefined;
    if (!isRecord(holder) || !Array.isArray(list) || !list.some(isToken)) return holder;
    return { ...holder, [key]: list.filter((item) => !isToken(item)) };
  };
  const spec = isRecord(pod) ? listWithout(pod['spec'], 'volumes') : undefined;
  if (!isRecord(pod) || !isRecord(spec)) return pod;
  const containers = (key: string) => {
    const list = spec[key];
    return Array.isArray(list) ? { [key]: list.map((item) => listWithout(item, 'volumeMounts')) } : {};
  };
  return { ...pod, spec: { ...spec, ...containers('containers'), ...containers('initContainers') } };
}

function masked(secret: unknown, mask: (value: string) => string): unknown {
  if (!isRecord(secret)) return secret;
  const maskedMap = (key: string) => {
    const map = secret[key];
    if (!isRecord(map)) return {};
    return { [key]: Object.fromEntries(Object.entries(map).map(([name, value]) => [name, mask(String(value))])) };
  };
  return { ...secret, ...maskedMap('data'), ...maskedMap('stringData') };
}
