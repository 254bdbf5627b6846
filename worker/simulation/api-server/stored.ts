import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '../../../activities/kubernetes/kube-object.ts';
import { at, isRecord } from '../../../activities/kubernetes/kube-object.ts';
import { invalid } from './refusal.ts';
import type { Place } from './store.ts';

const OF_THE_SERVER = ['uid', 'resourceVersion', 'creationTimestamp', 'generation', 'deletionTimestamp'] as const;

/** A copy without some members. */
export function omit<T extends object, K extends keyof T>(record: T, ...keys: readonly K[]): Omit<T, K> {
  const kept = Object.entries(record).filter(([key]) => !keys.some((one) => one === key));
  return Object.fromEntries(kept) as Omit<T, K>; // what is left of it
}

export function withoutServerFields(object: KubeObject): KubeObject {
  const metadata = omit(object.metadata, ...OF_THE_SERVER);
  return { ...omit(object, 'status'), metadata } as KubeObject; // its kind and name stay
}

/** What clients cannot set is as it was; status has a path of its own, which nobody but the controllers uses here. */
export function withServerFields(before: KubeObject, after: KubeObject): KubeObject {
  const { metadata } = after;
  const kept = OF_THE_SERVER.flatMap((key) =>
    before.metadata[key] === undefined ? [] : [[key, before.metadata[key]]],
  );
  const managedFields = metadata['managedFields'] ?? before.metadata['managedFields'];
  const whole = { ...metadata, ...Object.fromEntries(kept), ...(managedFields !== undefined && { managedFields }) };
  return {
    ...omit(after, 'status'),
    metadata: whole,
    ...(before['status'] !== undefined && { status: before['status'] }),
  } as KubeObject;
}

/** As the server keeps it: the texts of a Secret encoded, no empty data, and the label that each namespace gets. */
export function asStored(object: KubeObject): KubeObject {
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

export function isLeaving({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** The few immutable fields that packages meet most. */
const IMMUTABLE: Readonly<Record<string, readonly string[]>> = {
  Deployment: ['selector'],
  StatefulSet: ['selector'],
  DaemonSet: ['selector'],
  Job: ['selector', 'template'],
};

export function assertImmutable({ kind, name }: Place, before: KubeObject, after: KubeObject): void {
  for (const field of IMMUTABLE[kind.kind] ?? []) {
    if (isDeepStrictEqual(at(before, 'spec', field), at(after, 'spec', field))) continue;
    throw invalid(kind, name, `spec.${field}`, 'Invalid value: field is immutable');
  }
}
