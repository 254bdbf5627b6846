import { STAMP_ANNOTATION } from '../../domain/names.ts';
import type { Wpk } from '../../domain/wpk.ts';
import type { Intent } from './intents.ts';
import { at, type KubeObject } from './kube-object.ts';

/** Where a restart is stamped; changing it is what replaces the pods. All other stamps are on the object itself. */
export const RESTART_STAMP_PATH = ['spec', 'template', 'metadata', 'annotations', STAMP_ANNOTATION] as const;
export const STAMP_PATH = ['metadata', 'annotations', STAMP_ANNOTATION] as const;

/** What a step leaves on an object: never a time, so that a repeated attempt makes the same write. */
export function stampOf(wpk: Wpk, intent: Intent): string {
  return `${wpk.metadata.id}/${intent.step.id}`;
}

/**
 * Whether the object's stamps say that this step was carried out on it. Steps run in order, so the stamp of a later
 * step of the same package tells it too: what that step was built on must not be done a second time.
 * @param stampAt where the step itself leaves its stamp, if it does
 */
export function isDone(wpk: Wpk, { stepIndex }: Intent, live: KubeObject, stampAt?: readonly string[]): boolean {
  const newest = Math.max(...[STAMP_PATH, RESTART_STAMP_PATH].map((path) => stampedStep(wpk, at(live, ...path))));
  return newest > stepIndex || (stampAt !== undefined && stampedStep(wpk, at(live, ...stampAt)) === stepIndex);
}

/** The index of the step that a stamp names, -1 for a stamp of another package or none. */
function stampedStep(wpk: Wpk, stamp: unknown): number {
  const prefix = `${wpk.metadata.id}/`;
  if (typeof stamp !== 'string' || !stamp.startsWith(prefix)) return -1;
  return wpk.steps.findIndex(({ id }) => id === stamp.slice(prefix.length));
}
