import type { Step } from '../../../domain/wpk.ts';
import { versionOf } from '../kube-object.ts';
import { RESTART_STAMP_PATH } from '../stamp.ts';
import type { Action } from './action.ts';
import { mergeCall } from './calls.ts';
import { leftBy, liveOf } from './live.ts';
import { nested, withValue } from './values.ts';
import { refuseUnlessRollable } from './rollable.ts';

type Restart = Extract<Step, { action: 'restart' }>;

/** Stamps the template of the pods: that is what replaces them, one after the other, and only once. */
export const restart: Action<Restart> = {
  effect: 'change',
  stampAt: RESTART_STAMP_PATH,
  isCertain: true,
  refusal: (_, object) => refuseUnlessRollable(object, 'restarted'),
  request: ({ step, intent, live, stamp }) =>
    mergeCall(intent.path, { metadata: versionOf(liveOf(step, live)), ...nested(RESTART_STAMP_PATH, stamp) }),
  predict: ({ current, changedBy, stamp }) => withValue(leftBy(changedBy, current), RESTART_STAMP_PATH, stamp),
};
