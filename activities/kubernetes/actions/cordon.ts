import type { ObjectRef } from '../../../domain/plan.ts';
import type { Step } from '../../../domain/wpk.ts';
import { STAMP_PATH } from '../stamp.ts';
import type { Action } from './action.ts';
import { mergeCall, stamped } from './calls.ts';
import { leftBy, liveOf } from './live.ts';
import { withValue } from './values.ts';

type Schedulability = Extract<Step, { action: 'cordon' | 'uncordon' }>;

export const UNSCHEDULABLE_PATH = ['spec', 'unschedulable'] as const;

/** No new pods come to the node. */
export const cordon = setting(true);

/** Pods may come to the node again. */
export const uncordon = setting(null);

export function refuseUnlessNode({ kind, apiVersion }: ObjectRef): string | undefined {
  return kind === 'Node' && apiVersion === 'v1' ? undefined : `a ${kind} is no node`;
}

/** Stamped, so that a repeated attempt does not drain a node anew that a later step gave free. */
function setting(unschedulable: true | null): Action<Schedulability> {
  return {
    effect: 'change',
    stampAt: STAMP_PATH,
    isCertain: true,
    refusal: (_, object) => refuseUnlessNode(object),
    request: ({ step, intent, live, stamp }) =>
      mergeCall(intent.path, { metadata: stamped(liveOf(step, live), stamp), spec: { unschedulable } }),
    predict: ({ current, changedBy, stamp }) =>
      withValue(withValue(leftBy(changedBy, current), UNSCHEDULABLE_PATH, unschedulable), STAMP_PATH, stamp),
  };
}
