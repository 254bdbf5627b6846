import { diffPaths } from '../../domain/diff.ts';
import { canonicalJson, type Digest, type Sha256 } from '../../domain/digest.ts';
import { toPointer } from '../../domain/json-pointer.ts';
import { objectDigest, type Change, type PathChange, type PlannedObject, type Verified } from '../../domain/plan.ts';
import { type Intent, isForced } from './intents.ts';
import type { KubeObject } from './kube-object.ts';
import { normalize } from './normalize.ts';
import { STAMP_PATH } from './stamp.ts';

/** Turns states of an object into what a plan and a report say about them. */
export interface Fingerprints {
  /** What an intent makes of an object, with the digest that an approval binds. */
  planned(intent: Intent, states: States, verified: Verified): PlannedObject;
  /** SHA-256 of the object without what never counts (the table in `normalize.ts`), Secrets masked. */
  stateHash(object: KubeObject): Digest;
}

export interface States {
  /** Of the live object. */
  readonly uid: string | undefined;
  readonly before: KubeObject | undefined;
  readonly after: KubeObject | undefined;
}

const STAMP_POINTER = toPointer(STAMP_PATH);

/** @param mask keyed and the same for as long as plans are compared: it enters the digests. */
export function createFingerprints(sha256: Sha256, mask: (value: string) => string): Fingerprints {
  function changesOf(intent: Intent, { before, after }: States): PathChange[] {
    const saidBy = [before, intent.manifest];
    const deletion = after === undefined;
    const changes = diffPaths(
      before && normalize(before, { mask, saidBy, deletion, manifest: intent.manifest }),
      after && normalize(after, { mask, saidBy, manifest: intent.manifest }),
    );
    // A patch that changes nothing but its own stamp, or a scale to what is there, changes nothing.
    const { action } = intent.step;
    const stamps = action === 'patch' || action === 'scale';
    return stamps && changes.every(({ path }) => path === STAMP_POINTER) ? [] : changes;
  }

  return {
    planned(intent, states, verified) {
      const { step, object } = intent;
      const { uid, before, after } = states;
      const changes = changesOf(intent, states);
      const content = {
        step: step.id,
        action: step.action,
        change: changeOf(before, after, changes),
        object,
        ...(uid === undefined ? {} : { uid }),
        force: isForced(step),
        changes,
      };
      return { ...content, verified, digest: objectDigest(sha256, content) };
    },
    stateHash: (object) => sha256(canonicalJson(normalize(object, { mask, saidBy: [object] }))),
  };
}

function changeOf(
  before: KubeObject | undefined,
  after: KubeObject | undefined,
  changes: readonly PathChange[],
): Change {
  if (changes.length === 0) return 'unchanged';
  if (!before) return 'create';
  return after ? 'update' : 'delete';
}
