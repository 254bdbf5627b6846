import type { WorkflowClient } from '@temporalio/client';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import type { Decision } from '../../domain/approvals.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { isMalformed } from '../../domain/malformed.ts';
import type { RunRef } from '../package/claims.ts';

/** A vote as Temporal's own history of a run holds it. */
export interface WitnessedVote {
  readonly decision: Decision;
  readonly approver: unknown;
  readonly planDigest: unknown;
}

/** What Temporal itself knows of a run: set by the service, not by whoever schedules an activity. Throws TEMPORAL_UNAVAILABLE. */
export interface Witness {
  describe(run: RunRef): Promise<{ readonly type: string; readonly taskQueue: string }>;
  /** Every vote that was sent to the run, in order. */
  votes(run: RunRef): Promise<readonly WitnessedVote[]>;
}

/** @see https://docs.temporal.io/workflow-execution/event for the events that hold signals and updates. */
export function createWitness(client: WorkflowClient): Witness {
  const decode = (payloads: Parameters<typeof decodeArrayFromPayloads>[1]) =>
    decodeArrayFromPayloads(client.options.loadedDataConverter, payloads);

  return {
    async describe({ workflowId, runId }) {
      const { type, taskQueue } = await asked(client.getHandle(workflowId, runId).describe());
      return { type, taskQueue };
    },
    async votes({ workflowId, runId }) {
      const history = await asked(client.getHandle(workflowId, runId).fetchHistory());
      const votes: WitnessedVote[] = [];
      for (const event of history.events ?? []) {
        const signal = event.workflowExecutionSignaledEventAttributes;
        const update = event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.input;
        const name = signal?.signalName ?? update?.name;
        if (name !== 'approve' && name !== 'reject' && name !== 'decide') continue;
        const [argument] = await decode(signal?.input?.payloads ?? update?.args?.payloads);
        if (typeof argument !== 'object' || argument === null || isMalformed(argument)) continue;
        const { decision, approver, planDigest } = argument as Record<string, unknown>;
        const said = name === 'decide' ? decision : name;
        if (said === 'approve' || said === 'reject') votes.push({ decision: said, approver, planDigest });
      }
      return votes;
    },
  };
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    throw new ConnectorError('TEMPORAL_UNAVAILABLE', '', { cause });
  }
}
