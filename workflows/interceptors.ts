import type { WorkflowInterceptorsFactory } from '@temporalio/workflow';

/** What Temporal's SDK keeps for itself. */
const RESERVED = '__temporal_';

/**
 * With a default handler for signals (listen.ts) the SDK fails the task of a run that is sent one by a reserved name
 * that nobody handles: again and again, so that it would hear no stop either. Anybody may send one; here it gets a name
 * that is unknown like any other.
 */
export const interceptors: WorkflowInterceptorsFactory = () => ({
  internals: [
    {
      activate(input, next) {
        for (const { signalWorkflow: signal } of input.activation.jobs ?? []) {
          if (signal?.signalName?.startsWith(RESERVED)) signal.signalName = `reserved: ${signal.signalName}`;
        }
        next(input);
      },
    },
  ],
});
