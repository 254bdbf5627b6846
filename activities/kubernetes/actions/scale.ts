import type { Step } from '../../../domain/wpk.ts';
import { STAMP_PATH } from '../stamp.ts';
import type { Action } from './action.ts';
import { mergeCall, stamped } from './calls.ts';
import { leftBy, liveOf } from './live.ts';
import { withValue } from './values.ts';

type Scale = Extract<Step, { action: 'scale' }>;

/** Stamped, because somebody (an autoscaler) may scale back before a repeated attempt looks. */
export const scale: Action<Scale> = {
  effect: 'change',
  stampAt: STAMP_PATH,
  isCertain: true,
  refusal: (_, { kind }, { scalable }) => (scalable ? undefined : `a ${kind} cannot be scaled`),
  request: ({ step, intent, live, stamp }) =>
    mergeCall(intent.path, { metadata: stamped(liveOf(step, live), stamp), spec: { replicas: step.replicas } }),
  predict: ({ step, current, changedBy, stamp }) =>
    withValue(withValue(leftBy(changedBy, current), ['spec', 'replicas'], step.replicas), STAMP_PATH, stamp),
};
