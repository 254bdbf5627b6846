import { immutableJSONPatch } from 'immutable-json-patch';
import { assertNever } from '../../domain/errors.ts';
import type { Verified } from '../../domain/plan.ts';
import type { Intent } from './intents.ts';
import { at, isRecord, type KubeObject } from './kube-object.ts';
import { RESTART_STAMP_PATH, STAMP_PATH } from './stamp.ts';

/** What a step makes of an object that an earlier step of the same package changes first. */
export interface Prediction {
  /** Undefined where it is deleted. */
  readonly after: KubeObject | undefined;
  readonly verified: Verified;
}

/**
 * Works out locally what no dry run can tell: a step on top of another step's result.
 * @param current what the earlier step leaves; undefined after a deletion
 * @throws {Error} whose message says why the step can't work on it
 */
export function predict(intent: Intent, current: KubeObject | undefined, changedBy: string, stamp: string): Prediction {
  const { step } = intent;
  const follows: Verified = { by: 'earlier-step', step: changedBy };
  const unverified: Verified = { by: 'nobody', reason: `the step ${changedBy} changes it first` };
  if (step.action === 'apply')
    return { after: merged(current ?? {}, intent.manifest) as KubeObject, verified: unverified };
  if (step.action === 'delete') return { after: undefined, verified: follows };
  if (!current) throw new Error(`the step ${changedBy} deletes it first`);
  switch (step.action) {
    case 'restart':
      return { after: withValue(current, RESTART_STAMP_PATH, stamp), verified: follows };
    case 'scale': {
      const scaled = withValue(current, ['spec', 'replicas'], step.replicas);
      return { after: withValue(scaled, STAMP_PATH, stamp), verified: follows };
    }
    case 'patch': {
      const { patch } = step;
      const patched =
        patch.type === 'merge' ? merged(current, patch.body) : immutableJSONPatch(current, patch.operations);
      // As the API server has it; besides, what is masked in the plan goes by the kind.
      if (identityOf(patched) !== identityOf(current)) throw new Error('a patch cannot make another object of it');
      return { after: withValue(patched as KubeObject, STAMP_PATH, stamp), verified: unverified };
    }
    default:
      return assertNever(step);
  }
}

function identityOf(object: unknown): string {
  const paths = [['apiVersion'], ['kind'], ['metadata', 'name'], ['metadata', 'namespace']];
  return JSON.stringify(paths.map((path) => at(object, ...path)));
}

/** A JSON merge patch (RFC 7396), without changing what is given. */
function merged(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  const result = new Map(Object.entries(isRecord(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, merged(result.get(key), value));
  }
  return Object.fromEntries(result);
}

/** A copy with one value set; shares what is not on the path. */
function withValue(object: KubeObject, path: readonly string[], value: unknown): KubeObject {
  const patch = path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value);
  return merged(object, patch) as KubeObject; // the patch touches neither apiVersion nor kind
}
