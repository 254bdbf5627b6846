import { parseImage, referenceIn } from '../image-reference.ts';
import { at, entriesAt, inWords, isRecord, listAt, textAt } from '../json-values.ts';
import type { ChangedPod, Pod } from './pods.ts';
import { hasContainers } from './pods.ts';
import type { RiskRule } from './rule.ts';

/** What the pods of an object may reach, and what they run: as whom, with which Secrets, which images. */
export const POD_ACCESS_RULES: readonly RiskRule[] = [
  {
    id: 'service-account',
    level: 'medium',
    sentence: 'A pod runs as another service account than before, or gets the token of its account anew.',
    find: ({ pods }) => told('runs as the service account', pods.flatMap(newAccounts)),
  },
  {
    id: 'secret-access',
    level: 'medium',
    sentence:
      'A pod reaches a Secret (by a volume, a variable, a CSI driver or to pull images) or a token for another service that it did not reach before.',
    find: ({ pods }) => told('reaches', pods.flatMap(newSecrets)),
  },
  {
    id: 'image-by-tag',
    level: 'low',
    sentence: 'A pod runs an image by its tag, which can be moved, and not by its digest.',
    find: ({ pods }) => {
      const images = pods.filter(({ isNew }) => isNew).flatMap(taggedImages);
      return images.length > 0 ? `takes ${inWords(images)} by tag, which can be moved, not by digest` : undefined;
    },
  },
];

function told(start: string, found: readonly string[]): string | undefined {
  return found.length > 0 ? `${start} ${inWords(found)}` : undefined;
}

function newAccounts(pod: ChangedPod): string[] {
  const [was, will] = [pod.before && accountOf(pod.before), accountOf(pod)];
  if (will !== (was ?? 'default')) return [will];
  return pod.before && !hasToken(pod.before) && hasToken(pod) ? [`${will}, with its token`] : [];
}

/** `serviceAccount` is the old name, which the API server keeps equal. */
function accountOf({ spec }: Pod): string {
  return textAt(spec, 'serviceAccountName') || textAt(spec, 'serviceAccount') || 'default';
}

function hasToken({ spec }: Pod): boolean {
  return at(spec, 'automountServiceAccountToken') !== false;
}

function newSecrets(pod: ChangedPod): string[] {
  const was = new Set(pod.before && secretsOf(pod.before));
  return secretsOf(pod).filter((one) => !was.has(one));
}

/** Maps whose keys are the user's own words. */
const FREE_KEYS = new Set(['nodeSelector', 'matchLabels', 'labels', 'annotations', 'limits', 'requests', 'overhead']);

/**
 * Every Secret that a pod names, by the keys that lead to one in any kind of source: `secretRef`, `secretKeyRef`,
 * `secretName`, `secret`, `nodePublishSecretRef`, a CSI driver's `secretProviderClass`. New kinds of volumes name theirs
 * so as well. And tokens for others than the API server, which open what trusts the cluster.
 */
function secretsOf({ spec }: Pod): string[] {
  const found = listAt(spec, 'imagePullSecrets').flatMap((secret) => namedSecret('Secret', secret, 'to pull images'));
  const values: unknown[] = [spec];
  for (let value = values.pop(); value !== undefined; value = values.pop()) {
    if (Array.isArray(value)) for (const item of value) if (item !== null) values.push(item);
    for (const [key, inner] of entriesAt(value)) {
      if (key === 'imagePullSecrets' || FREE_KEYS.has(key)) continue;
      // A pod inside a pod is judged as one of its own.
      if (!hasContainers(inner)) values.push(inner);
      found.push(...namedBy(key, inner));
    }
  }
  return [...new Set(found)].sort();
}

function namedBy(key: string, value: unknown): string[] {
  if (key === 'serviceAccountToken') return tokenOf(value);
  if (/secretProviderClass$/i.test(key)) return namedSecret('SecretProviderClass', value);
  return /secret/i.test(key) ? namedSecret('Secret', value) : [];
}

function namedSecret(kind: string, value: unknown, purpose?: string): string[] {
  const name = isRecord(value) ? (textAt(value, 'secretName') ?? textAt(value, 'name')) : value;
  return typeof name === 'string' && name !== '' ? [`the ${kind} ${name}${purpose ? ` ${purpose}` : ''}`] : [];
}

/** The token for the API server itself is mounted into every pod, and has no audience. */
function tokenOf(projection: unknown): string[] {
  const audience = textAt(projection, 'audience');
  return audience ? [`a token for ${audience}`] : [];
}

function taggedImages(pod: Pod): string[] {
  const holders = [...pod.containers.map(({ container }) => container), ...listAt(pod.spec, 'volumes')];
  return holders.flatMap((holder) => {
    const image = referenceIn(at(holder, 'image'));
    return image && parseImage(image)?.digest === undefined ? [image] : [];
  });
}
