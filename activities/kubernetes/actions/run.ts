import { createHash } from 'node:crypto';
import { STAMP_ANNOTATION } from '../../../domain/names.ts';
import { describeObject } from '../../../domain/plan.ts';
import type { Manifest, Step } from '../../../domain/wpk.ts';
import { at, type KubeObject } from '../kube-object.ts';
import { tailsOf } from '../logs.ts';
import { STAMP_PATH } from '../stamp.ts';
import { waitFor } from '../wait.ts';
import { type Action, Obstacle } from './action.ts';
import { manifestOf, wishFor } from './apply.ts';
import { applyCall } from './calls.ts';

type Run = Extract<Step, { action: 'run' }>;

/** A Job's name becomes a label of its pods. */
const MAX_NAME = 63;
const HASH_CHARS = 8;

/**
 * One Job, whatever crashes: its name is made of the package's id and the step, it must not exist before, and it stays
 * there when it is done, so that a repeated attempt finds it.
 */
export const run: Action<Run> = {
  effect: 'bring',
  stampAt: STAMP_PATH,
  isCertain: false,
  wishes: ({ id, manifest }, wpkId) => [wishFor(withName(manifest, jobName(manifest, `${wpkId}/${id}`)))],
  refusal({ manifest }) {
    if (at(manifest, 'spec', 'ttlSecondsAfterFinished') !== undefined) {
      return 'a Job that is run may not remove itself (ttlSecondsAfterFinished): once it is gone, nobody knows that it ran';
    }
    return at(manifest, 'spec', 'suspend') === true ? 'a suspended Job (suspend) never ends' : undefined;
  },
  request({ intent, live, stamp, force }) {
    if (live) throw new Obstacle('is there already, and not from this package');
    return applyCall(intent.path, stampedManifest(manifestOf(intent), stamp), live, force);
  },
  predict: ({ intent, current, changedBy, stamp }) => {
    if (current) throw new Obstacle(`the step ${changedBy} makes it already`);
    return stampedManifest(manifestOf(intent), stamp) as KubeObject;
  },
  async finish({ step, intent, api, seen, signal, onProgress, keep }) {
    const target = { object: intent.object, path: intent.path, ...(seen && { seen }) };
    const timeoutMs = step.timeoutSeconds * 1_000;
    try {
      await waitFor(api, [target], { for: 'ready', timeoutMs, signal, onProgress });
    } finally {
      if (!signal?.aborted) {
        onProgress(`${describeObject(intent.object)}: reading the end of its log`);
        keep(await tailsOf(api, intent.object, signal));
      }
    }
    return {};
  },
};

function jobName({ metadata }: Manifest, key: string): string {
  const hash = createHash('sha256').update(key).digest('hex').slice(0, HASH_CHARS);
  return `${metadata.name.slice(0, MAX_NAME - HASH_CHARS - 1)}-${hash}`;
}

function withName(manifest: Manifest, name: string): Manifest {
  return { ...manifest, metadata: { ...manifest.metadata, name } };
}

function stampedManifest(manifest: Manifest, stamp: string): Manifest {
  const { annotations } = manifest.metadata as { annotations?: Readonly<Record<string, string>> };
  return {
    ...manifest,
    metadata: { ...manifest.metadata, annotations: { ...annotations, [STAMP_ANNOTATION]: stamp } },
  };
}
