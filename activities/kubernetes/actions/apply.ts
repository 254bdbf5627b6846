import type { KubeObject } from '../kube-object.ts';
import type { Manifest, Step } from '../../../domain/wpk.ts';
import type { Intent } from '../intents.ts';
import type { Action, Wish } from './action.ts';
import { applyCall } from './calls.ts';
import { merged } from './values.ts';

type Apply = Extract<Step, { action: 'apply' }>;

/** Server-side apply: idempotent, so it needs no stamp. */
export const apply: Action<Apply> = {
  effect: 'bring',
  isCertain: false,
  wishes: ({ manifests }) => manifests.map(wishFor),
  request: ({ intent, live, force }) => applyCall(intent.path, manifestOf(intent), live, force),
  predict: ({ intent, current }) => merged(current ?? {}, manifestOf(intent)) as KubeObject,
};

export function wishFor(manifest: Manifest): Wish {
  const { apiVersion, kind, metadata } = manifest;
  return { apiVersion, kind, name: metadata.name, namespace: metadata.namespace, manifest };
}

/** Whatever brings an object has a manifest. */
export function manifestOf({ manifest }: Intent): Manifest {
  if (!manifest) throw new TypeError('there is no manifest to apply');
  return manifest;
}
