import { diffPaths } from '../../domain/diff.ts';
import { canonicalJson, type Digest, type Sha256 } from '../../domain/digest.ts';
import { toPointer } from '../../domain/json-pointer.ts';
import { objectDigest, type Change, type PathChange, type PlannedObject, type Verified } from '../../domain/plan.ts';
import { effectsOf, stampsObject } from './actions/index.ts';
import { type Intent, isForced } from './intents.ts';
import type { KubeObject } from './kube-object.ts';
import { normalize } from './normalize.ts';
import { STAMP_PATH } from './stamp.ts';

/** Turns states of an object into what a plan and a report say about them. */
export interface Fingerprints {
  /** What an intent makes of an object, with the digest that an approval binds. */
  planned(intent: Intent, states: States, verified: Verified): PlannedObject;
  /** The creation of an object that nobody could check: it becomes what its manifest says. */
  unchecked(intent: Intent): PlannedObject;
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
    if (before === after) return [];
    const effects = effectsOf(intent);
    if (effects) return [...effects];
    const saidBy = [before, intent.manifest];
    const deletion = after === undefined;
    const changes = diffPaths(
      before && normalize(before, { mask, saidBy, deletion, manifest: intent.manifest }),
      after && normalize(after, { mask, saidBy, manifest: intent.manifest }),
    );
    // A patch that changes nothing but its own stamp, or a scale to what is there, changes nothing.
    return stampsObject(intent) && changes.every(({ path }) => path === STAMP_POINTER) ? [] : changes;
  }

  function planned(intent: Intent, states: States, verified: Verified): PlannedObject {
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
  }

  return {
    planned,
    unchecked(intent) {
      const after = intent.manifest as KubeObject | undefined; // whatever brings an object has one
      return planned(intent, { uid: undefined, before: undefined, after }, { by: 'nobody', reason: '' });
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
