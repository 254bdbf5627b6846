import { immutableJSONPatch } from 'immutable-json-patch';
import type { Step } from '../../../domain/wpk.ts';
import { at, isRecord, type KubeObject } from '../kube-object.ts';
import { STAMP_PATH } from '../stamp.ts';
import { type Action, Obstacle } from './action.ts';
import { jsonPatchCall, mergeCall, stamped } from './calls.ts';
import { leftBy, liveOf } from './live.ts';
import { merged, withValue } from './values.ts';

type Patch = Extract<Step, { action: 'patch' }>;
type JsonPatch = Extract<Patch['patch'], { type: 'json' }>;

/** Stamped in the same write: some patches (an append) would do it again when they are sent again. */
export const patch: Action<Patch> = {
  effect: 'change',
  stampAt: STAMP_PATH,
  isCertain: false,
  dependsOnMore: true,
  refusal({ patch: wanted }) {
    if (wanted.type !== 'merge' || !clearsAnnotations(wanted.body['metadata'])) return undefined;
    return 'a merge patch cannot clear all annotations, because the one that marks the step as done is among them';
  },
  request({ step, intent, live: found, stamp }) {
    const live = liveOf(step, found);
    if (step.patch.type === 'merge') {
      return mergeCall(intent.path, merged(step.patch.body, { metadata: stamped(live, stamp) }));
    }
    const hasAnnotations = leavesAnnotations(step.patch, live);
    return jsonPatchCall(intent.path, step.patch.operations, { live, stamp, hasAnnotations });
  },
  predict({ step, current, changedBy, stamp }) {
    const before = leftBy(changedBy, current);
    const after =
      step.patch.type === 'merge' ? merged(before, step.patch.body) : immutableJSONPatch(before, step.patch.operations);
    // As the API server has it; besides, what is masked in the plan goes by the kind.
    if (identityOf(after) !== identityOf(before)) throw new Obstacle('a patch cannot make another object of it');
    return withValue(after as KubeObject, STAMP_PATH, stamp);
  },
};

function clearsAnnotations(metadata: unknown): boolean {
  return metadata === null || at(metadata, 'annotations') === null;
}

function leavesAnnotations({ operations }: JsonPatch, live: KubeObject): boolean {
  try {
    return isRecord(at(immutableJSONPatch(live, operations), 'metadata', 'annotations'));
  } catch {
    return isRecord(live.metadata.annotations); // the server refuses this patch, with the better sentence
  }
}

function identityOf(object: unknown): string {
  const paths = [['apiVersion'], ['kind'], ['metadata', 'name'], ['metadata', 'namespace']];
  return JSON.stringify(paths.map((path) => at(object, ...path)));
}
