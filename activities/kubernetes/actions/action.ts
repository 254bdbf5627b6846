import type { LogTail } from '../../../domain/status.ts';
import type { ObjectRef, PathChange } from '../../../domain/plan.ts';
import type { Manifest, Step } from '../../../domain/wpk.ts';
import type { Resource } from '../discovery.ts';
import type { Intent } from '../intents.ts';
import type { KubeReader, WriteCall } from '../kube-api.ts';
import type { KubeObject } from '../kube-object.ts';

/** What a step can do: one file an action, all of this shape. */
export interface Action<S extends Step = Step> {
  /**
   * `bring`: makes the object where there is none · `change`: needs it to be there · `remove`: wants it away · `watch`:
   * writes nothing.
   */
  readonly effect: 'bring' | 'change' | 'remove' | 'watch';
  /** Where it leaves its stamp; without one, whether it is done is seen from the object itself. */
  readonly stampAt?: readonly string[];
  /** Whether its result follows from the object alone, so that it is certain even where no dry run can tell. */
  readonly isCertain: boolean;
  /** Whether what it writes depends on more than what counts in the object: it is then worked out anew each time. */
  readonly dependsOnMore?: boolean;
  /** What it is about; the objects that the step names where it is left out. */
  wishes?(step: S, wpkId: string): readonly Wish[];
  /** What is wrong with the wish before any server is asked. */
  refusal?(step: S, object: ObjectRef, resource: Resource): string | undefined;
  /**
   * The request that does it, bound to the state that the object is in: an update to uid *and* resourceVersion, a
   * creation to the object's absence.
   * @throws {Obstacle} where it cannot be done on this object
   */
  request(on: RequestContext<S>): WriteCall | Promise<WriteCall>;
  /**
   * What it makes of an object that an earlier step of the same package changes first; undefined where it removes it.
   * @throws {Obstacle}
   */
  predict(on: PredictContext<S>): KubeObject | undefined;
  /** What the plan shows, and an approval binds, where the difference of the object does not say what is done. */
  readonly effects?: readonly PathChange[];
  /** What is left to do once the object is written, or was found as it should be. */
  finish?(run: StepRun<S>): Promise<Finished>;
}

export interface Wish {
  readonly apiVersion?: string | undefined;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string | undefined;
  /** For what is brought. */
  readonly manifest?: Manifest;
}

export interface RequestContext<S extends Step = Step> {
  readonly step: S;
  readonly intent: Intent;
  /** Undefined where there is none, which only `bring` meets. */
  readonly live: KubeObject | undefined;
  /** Never a time, so that a repeated attempt makes the same write. */
  readonly stamp: string;
  /** Takes over fields of other managers; for server-side apply only. */
  readonly force: boolean;
  readonly api: KubeReader;
  readonly signal?: AbortSignal | undefined;
}

export interface PredictContext<S extends Step = Step> {
  readonly step: S;
  readonly intent: Intent;
  /** What the earlier step leaves. */
  readonly current: KubeObject | undefined;
  /** That step's id. */
  readonly changedBy: string;
  readonly stamp: string;
}

/** What an action needs to come to its end on one object. */
export interface StepRun<S extends Step = Step> {
  readonly step: S;
  readonly intent: Intent;
  readonly api: KubeReader;
  /** The object as it was last seen or written. */
  readonly seen: KubeObject | undefined;
  /** Whether this attempt found it still to be done. */
  readonly isPending: boolean;
  readonly stamp: string;
  readonly signal?: AbortSignal | undefined;
  /** Sends one more write, as carefully as any; rejects with what the API server answers. */
  send(call: WriteCall): Promise<KubeObject>;
  /** Puts the ends of logs into the step's report, however the step ends. */
  keep(logs: readonly LogTail[]): void;
  onProgress(waitingFor: string): void;
}

export interface Finished {
  /** The object as the action leaves it, where that is another state than was written. */
  readonly seen?: KubeObject;
}

/** Why a step cannot be done on an object as it is; for people. Becomes a problem of the plan. */
export class Obstacle extends Error {
  override readonly name = 'Obstacle';
}
