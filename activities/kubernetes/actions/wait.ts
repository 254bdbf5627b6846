import type { Step } from '../../../domain/wpk.ts';
import { waitFor } from '../wait.ts';
import type { Action } from './action.ts';

type Wait = Extract<Step, { action: 'wait' }>;

/** Writes nothing: what it waits for is part of the signed package, and whether it comes nobody can plan. */
export const wait: Action<Wait> = {
  effect: 'watch',
  isCertain: true,
  request() {
    throw new TypeError('a wait writes nothing');
  },
  predict: ({ current }) => current,
  async finish({ step, intent, api, seen, signal, onProgress }) {
    const target = { object: intent.object, path: intent.path, ...(seen && { seen }) };
    const timeoutMs = step.timeoutSeconds * 1_000;
    await waitFor(api, [target], { for: step.for, timeoutMs, signal, onProgress, mayCome: true });
    return {};
  },
};
