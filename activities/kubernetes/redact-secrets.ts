import { ConnectorError } from '../../domain/errors.ts';
import type { KubeReader } from './kube-api.ts';
import { at, isRecord, type KubeObject, listAt } from './kube-object.ts';

export type Redact = (text: string) => string;

const MASKED = '[masked]';
/** Shorter ones are words of everyday texts. */
const MIN_LENGTH = 4;
const MIN_LINE_LENGTH = 8;
/** More Secrets than that in one namespace are not all read. */
const MAX_SECRETS = 1_000;

/**
 * Makes what replaces, in texts of a pod, every value of a Secret of its namespace: of all of them where they can be
 * listed, because a pod may read more than it names; of those that it names otherwise.
 * @returns undefined where a Secret that the pod names cannot be read
 */
export async function redactorFor(api: KubeReader, pod: KubeObject, signal?: AbortSignal): Promise<Redact | undefined> {
  const secrets = (await listed(api, pod, signal)) ?? (await read(api, pod, signal));
  if (!secrets) return undefined;
  const values = new Set(secrets.flatMap(valuesOf));
  const longestFirst = [...values].sort((a, b) => b.length - a.length);
  return (text) => longestFirst.reduce((rest, value) => rest.replaceAll(value, MASKED), text);
}

async function listed(api: KubeReader, { metadata }: KubeObject, signal?: AbortSignal) {
  try {
    return await api.list(`/api/v1/namespaces/${metadata.namespace ?? ''}/secrets`, { atMost: MAX_SECRETS }, signal);
  } catch (error) {
    if (isForbidden(error)) return undefined;
    throw error;
  }
}

async function read(api: KubeReader, pod: KubeObject, signal?: AbortSignal): Promise<KubeObject[] | undefined> {
  const secrets: KubeObject[] = [];
  for (const name of namesIn(pod['spec'])) {
    try {
      const secret = await api.get(`/api/v1/namespaces/${pod.metadata.namespace ?? ''}/secrets/${name}`, signal);
      if (secret) secrets.push(secret);
    } catch (error) {
      if (isForbidden(error)) return undefined;
      throw error;
    }
  }
  return secrets;
}

function isForbidden(error: unknown): boolean {
  return error instanceof ConnectorError && error.code === 'KUBERNETES_FORBIDDEN';
}

/** The names of the Secrets that a pod's spec refers to. */
function namesIn(spec: unknown): ReadonlySet<string> {
  const containers = ['containers', 'initContainers', 'ephemeralContainers'].flatMap((key) => listAt(spec, key));
  const references = [
    ...containers.flatMap((one) => listAt(one, 'env')).map((one) => at(one, 'valueFrom', 'secretKeyRef', 'name')),
    ...containers.flatMap((one) => listAt(one, 'envFrom')).map((one) => at(one, 'secretRef', 'name')),
    ...listAt(spec, 'imagePullSecrets').map((one) => at(one, 'name')),
    ...listAt(spec, 'volumes').flatMap((one) => [
      at(one, 'secret', 'secretName'),
      ...listAt(one, 'projected', 'sources').map((source) => at(source, 'secret', 'name')),
    ]),
  ];
  return new Set(references.filter((name) => typeof name === 'string'));
}

/** A value as it is, line by line, and as it is kept. */
function valuesOf(secret: KubeObject): string[] {
  const data = at(secret, 'data');
  return Object.values(isRecord(data) ? data : {}).flatMap((encoded) => {
    const value = Buffer.from(String(encoded), 'base64').toString('utf8').trim();
    if (value.length < MIN_LENGTH) return [];
    const lines = value.split(/\r?\n/).filter((line) => line.length >= MIN_LINE_LENGTH);
    return [value, String(encoded), ...lines];
  });
}
