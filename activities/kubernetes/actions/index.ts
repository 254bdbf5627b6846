import type { PathChange, Verified } from '../../../domain/plan.ts';
import type { Step, StepAction } from '../../../domain/wpk.ts';
import { targetsOf } from '../../../domain/wpk.ts';
import type { Intent } from '../intents.ts';
import type { KubeObject } from '../kube-object.ts';
import { STAMP_PATH } from '../stamp.ts';
import type { Action, PredictContext, Wish } from './action.ts';
import { apply } from './apply.ts';
import { cordon, uncordon } from './cordon.ts';
import { remove } from './delete.ts';
import { drain } from './drain.ts';
import { patch } from './patch.ts';
import { restart } from './restart.ts';
import { rollback } from './rollback.ts';
import { run } from './run.ts';
import { scale } from './scale.ts';
import { wait } from './wait.ts';

const ACTIONS: { readonly [A in StepAction]: Action<Extract<Step, { action: A }>> } = {
  apply,
  patch,
  scale,
  restart,
  delete: remove,
  run,
  wait,
  rollback,
  cordon,
  uncordon,
  drain,
};

/** What the action of a step does. */
export function actionOf(step: Pick<Step, 'action'>): Action {
  return ACTIONS[step.action] as unknown as Action; // the table has for each action the one that takes its steps
}

export function wishesOf(step: Step, wpkId: string): readonly Wish[] {
  return actionOf(step).wishes?.(step, wpkId) ?? targetsOf(step);
}

/** What a step makes of an object that an earlier step of the same package changes first. */
export interface Prediction {
  /** Undefined where it is deleted. */
  readonly after: KubeObject | undefined;
  readonly verified: Verified;
}

/**
 * Works out locally what no dry run can tell: a step on top of another step's result.
 * @throws {Error} whose message says why the step can't work on it
 */
export function predict(context: PredictContext): Prediction {
  const { step, changedBy } = context;
  const action = actionOf(step);
  const verified: Verified = action.isCertain
    ? { by: 'earlier-step', step: changedBy }
    : { by: 'nobody', reason: `the step ${changedBy} changes it first` };
  return { after: action.predict(context), verified };
}

export function effectsOf({ step }: Intent): readonly PathChange[] | undefined {
  return actionOf(step).effects;
}

/** Whether a change of nothing but the step's own stamp on the object changes nothing. */
export function stampsObject({ step }: Intent): boolean {
  const { stampAt, effect } = actionOf(step);
  return stampAt === STAMP_PATH && effect === 'change';
}
