import type { Step } from '../../../domain/wpk.ts';
import { versionOf } from '../kube-object.ts';
import type { Action } from './action.ts';
import { deleteCall } from './calls.ts';
import { liveOf } from './live.ts';

type Delete = Extract<Step, { action: 'delete' }>;

/** Bound to the uid: an object of the same name that came later is another one. */
export const remove: Action<Delete> = {
  effect: 'remove',
  isCertain: true,
  request: ({ step, intent, live }) =>
    deleteCall(intent.path, step.propagation ?? 'background', versionOf(liveOf(step, live))),
  predict: () => undefined,
};
