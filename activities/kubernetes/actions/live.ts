import type { Step } from '../../../domain/wpk.ts';
import type { KubeObject } from '../kube-object.ts';
import { Obstacle } from './action.ts';

/** The object that a step needs; the planner asks only with one. */
export function liveOf({ action }: Step, live: KubeObject | undefined): KubeObject {
  if (!live) throw new TypeError(`${action} needs a live object`);
  return live;
}

/** What an earlier step leaves of the object. */
export function leftBy(changedBy: string, current: KubeObject | undefined): KubeObject {
  if (!current) throw new Obstacle(`the step ${changedBy} deletes it first`);
  return current;
}
