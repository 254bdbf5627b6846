import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { describeObject, objectDigest, type PlanProblem } from '../../domain/plan.ts';
import type { Wpk } from '../../domain/wpk.ts';
import { forEachLimited } from './concurrency.ts';
import { createDiscovery } from './discovery.ts';
import { createFingerprints, type Fingerprints } from './fingerprint.ts';
import { type Intent, resolveIntents } from './intents.ts';
import type { KubeReader } from './kube-api.ts';
import { type KubeObject, versionOf } from './kube-object.ts';
import { readLive } from './live-objects.ts';
import { type Planned, type PlannedWrite, planObject, planOnEarlier, planOnLive } from './plan-object.ts';

/** Requests under way at a time; more gained nothing on a local API server. */
const IN_FLIGHT = 16;
const NONE: ReadonlySet<string> = new Set();
/** Packages whose answers are remembered. */
const MAX_REMEMBERED = 8;
/**
 * How long the answer to a dry run is used again, ms. What the object is does not say all: a webhook, an admission
 * policy or a quota may have changed, and would put into the write what nobody approved. So it spares only a package that
 * is executed as soon as it is planned a second dry run.
 */
const ANSWERS_GOOD_MS = 3_000;

/** What a package would do to the cluster as it is now. */
export interface DryRun {
  readonly clusterUid: string;
  /** In the order of the package. */
  readonly writes: readonly PlannedWrite[];
  /** What the API server refuses; with any, `writes` is incomplete. */
  readonly problems: readonly PlanProblem[];
}

export interface Planner {
  /**
   * Plans a package against the cluster as it is now. The same package and the same state of its objects give the same
   * digests. Asked again within seconds, it reads all objects but repeats the dry run only of those that changed.
   * @param done ids of steps that were carried out already: they are left out
   * @throws {ConnectorError} KUBERNETES_UNAVAILABLE, KUBERNETES_FORBIDDEN for a missing right to read
   */
  dryRun(wpk: Wpk, wpkDigest: Digest, signal?: AbortSignal, done?: ReadonlySet<string>): Promise<DryRun>;
  /**
   * Plans one write anew, on the object as it is now.
   * @throws {ConnectorError} WRITE_REFUSED where the API server refuses it now
   */
  replan(wpk: Wpk, intent: Intent, live: KubeObject | undefined, signal?: AbortSignal): Promise<PlannedWrite>;
  /**
   * The digests under which the same write may have been approved before earlier steps of the package were carried out:
   * without uid where the package created the object, as it was predicted on top of those steps, and as its manifest
   * says where nobody could check it.
   */
  digestsBefore(wpk: Wpk, write: PlannedWrite): readonly Digest[];
  readonly stateHash: Fingerprints['stateHash'];
}

export interface PlannerOptions {
  readonly api: KubeReader;
  readonly sha256: Sha256;
  /** Keyed HMAC for values of Secrets. It enters the digests: the same key for as long as an approval may be open. */
  readonly mask: (value: string) => string;
  /** Milliseconds of a clock that does not go back. */
  readonly now?: () => number;
}

/** What an object's plan depends on besides the package. */
interface Remembered {
  readonly state: string;
  readonly askedAt: number;
  readonly results: readonly Planned[];
}

export function createPlanner({ api, sha256, mask, now = () => performance.now() }: PlannerOptions): Planner {
  const discovery = createDiscovery(api);
  const fingerprints = createFingerprints(sha256, mask);
  const remembered = new Map<Digest, Map<string, Remembered>>();

  /** The answers of the last plan of this package; the package that was not planned for longest is forgotten. */
  function answersFor(wpkDigest: Digest): Map<string, Remembered> {
    const answers = remembered.get(wpkDigest) ?? new Map<string, Remembered>();
    remembered.delete(wpkDigest);
    remembered.set(wpkDigest, answers);
    for (const oldest of remembered.keys()) {
      if (remembered.size <= MAX_REMEMBERED) break;
      remembered.delete(oldest);
    }
    return answers;
  }

  return {
    async dryRun(wpk, wpkDigest, signal, done = NONE) {
      const [clusterUid, resolved] = await Promise.all([api.clusterUid(signal), resolveIntents(wpk, discovery)]);
      const intents = resolved.intents.filter(({ step }) => !done.has(step.id));
      const problems = resolved.problems.filter(({ step }) => !done.has(step));
      const live = await readLive(api, intents, IN_FLIGHT, signal);
      const answers = answersFor(wpkDigest);
      const byObject = [...Map.groupBy(intents, ({ path }) => path)];
      const results = new Map<Intent, Planned>();
      await forEachLimited(byObject, IN_FLIGHT, async ([path, own]) => {
        const object = live.get(path);
        const missingParent = missingParentOf(own, live);
        const steps = own.map(({ stepIndex }) => stepIndex);
        const state = JSON.stringify([object ? versionOf(object) : null, missingParent, steps]);
        let planned = answers.get(path);
        const askedAt = now();
        if (planned?.state !== state || askedAt - planned.askedAt >= ANSWERS_GOOD_MS) {
          planned = {
            state,
            askedAt,
            results: await planObject({ api, fingerprints, wpk, signal }, own, object, missingParent),
          };
          // Problems are asked about again: quota, policies and definitions may have changed.
          if (planned.results.every((result) => 'write' in result)) answers.set(path, planned);
          else answers.delete(path);
        }
        planned.results.forEach((result, index) => results.set(own[index] as Intent, result)); // one for each, at most
      });
      const ordered = intents.flatMap((intent) => results.get(intent) ?? []);
      return {
        clusterUid,
        writes: ordered.flatMap((result) => ('write' in result ? [result.write] : [])),
        problems: [...problems, ...ordered.flatMap((result) => ('problem' in result ? [result.problem] : []))],
      };
    },

    async replan(wpk, intent, live, signal) {
      const result = await planOnLive({ api, fingerprints, wpk, signal }, intent, live);
      if ('write' in result) return result.write;
      throw new ConnectorError('WRITE_REFUSED', `${describeObject(intent.object)}: ${result.problem.message}.`);
    },

    digestsBefore(wpk, { planned, intent, before, write }) {
      const asPlanned = [planned];
      if (write && before) {
        const predicted = planOnEarlier({ api, fingerprints, wpk }, intent, before, planned.step, planned.uid);
        if ('write' in predicted) asPlanned.push(predicted.write.planned);
      }
      // What could not be checked before its namespace or kind was there was approved as the manifest has it.
      if (write && !before && intent.manifest) asPlanned.push(fingerprints.unchecked(intent));
      return asPlanned.flatMap((one) => [one.digest, objectDigest(sha256, { ...one, uid: undefined })]);
    },

    stateHash: fingerprints.stateHash,
  };
}

/** Why the API server can't check the creation of an object yet, where the package itself is the reason. */
function missingParentOf([first]: readonly Intent[], live: ReadonlyMap<string, KubeObject>): string | undefined {
  if (first?.kindCreated) return `the package itself creates the kind ${first.object.kind}`;
  if (first?.namespaceCreated && !live.has(first.namespaceCreated)) {
    return `the package itself creates the namespace ${first.object.namespace}`;
  }
  return undefined;
}
