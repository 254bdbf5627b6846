import type { WorkflowHandle } from '@temporalio/client';

/** What one run leaves in Temporal, as Temporal says itself. */
export interface RunCost {
  readonly events: number;
  readonly transitions: number;
  readonly bytes: number;
}

export async function runCostOf(run: WorkflowHandle): Promise<RunCost> {
  const { historyLength, historySize, raw } = await run.describe();
  const transitions = Number(raw.workflowExecutionInfo?.stateTransitionCount ?? 0);
  return { events: historyLength, transitions, bytes: historySize ?? 0 };
}
