import type { WorkflowClient } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/client';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import type { Decision, VoteRecord } from '../../domain/approvals.ts';
import { decisionIn } from '../../domain/vote-message.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { RunRef } from '../package/claims.ts';

/** A vote as Temporal's own history of a run holds it: not read yet, and perhaps unreadable. */
export interface WitnessedVote {
  readonly decision: Decision;
  readonly via: VoteRecord['via'];
  readonly argument: unknown;
  /** When Temporal took it in, RFC 3339 in UTC. */
  readonly receivedAt: string;
}

/**
 * What Temporal itself knows of a run: set by the service, not by whoever schedules an activity.
 * Throws TEMPORAL_UNAVAILABLE, and CALLER_UNTRUSTED for a run that Temporal does not know.
 */
export interface Witness {
  taskQueueOf(run: RunRef): Promise<string>;
  /** Every vote that was sent to the run, in order. */
  votes(run: RunRef): Promise<readonly WitnessedVote[]>;
  /** What became of a run; never throws CALLER_UNTRUSTED. */
  fateOf(run: RunRef): Promise<RunFate>;
}

/**
 * `ended`: it came to an end of its own · `cut-off`: terminated (a reset does that too) or timed out, which the
 * workflow itself never notices · `forgotten`: Temporal does not know it, any more or at all.
 */
export type RunFate = 'running' | 'ended' | 'cut-off' | 'forgotten';

/** @see https://docs.temporal.io/workflow-execution/event for the events that hold signals and updates. */
export function createWitness(client: WorkflowClient): Witness {
  const decode = (payloads: Parameters<typeof decodeArrayFromPayloads>[1]) =>
    decodeArrayFromPayloads(client.options.loadedDataConverter, payloads);

  return {
    async taskQueueOf({ workflowId, runId }) {
      return (await asked(client.getHandle(workflowId, runId).describe())).taskQueue;
    },
    async fateOf({ workflowId, runId }) {
      try {
        const { status } = await client.getHandle(workflowId, runId).describe();
        if (status.name === 'TERMINATED' || status.name === 'TIMED_OUT') return 'cut-off';
        return ENDED.has(status.name) ? 'ended' : 'running';
      } catch (cause) {
        if (cause instanceof WorkflowNotFoundError) return 'forgotten';
        throw new ConnectorError('TEMPORAL_UNAVAILABLE', '', { cause });
      }
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
        const receivedAt = timeOf(event.eventTime);
        const decision = name === 'decide' ? decisionIn(argument) : name;
        votes.push({ decision, via: signal ? 'signal' : 'update', argument, receivedAt });
      }
      return votes;
    },
  };
}

const ENDED: ReadonlySet<string> = new Set(['COMPLETED', 'FAILED', 'CANCELLED', 'CONTINUED_AS_NEW']);

/** To the millisecond: the skew of a signed time is judged by it. */
function timeOf(time: { seconds?: unknown; nanos?: number | null } | null | undefined): string {
  return new Date(Number(time?.seconds ?? 0) * 1000 + Math.floor((time?.nanos ?? 0) / 1e6)).toISOString();
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    if (cause instanceof WorkflowNotFoundError) {
      throw new ConnectorError('CALLER_UNTRUSTED', 'Temporal knows no such run.', { cause });
    }
    throw new ConnectorError('TEMPORAL_UNAVAILABLE', '', { cause });
  }
}
