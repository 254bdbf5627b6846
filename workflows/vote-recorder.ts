import { CancellationScope } from '@temporalio/workflow';
import type { VoteRecord } from '../domain/approvals.ts';
import { recordEvents } from './activities.ts';

/** What one call records: few enough that the longest votes stay below Temporal's limit of a payload. */
const VOTES_A_CALL = 50;

/**
 * Puts votes into the audit log. Those that arrive together are recorded together: with a call for each, a flood would
 * take the workflow longer than a task may last, and a stop that waits behind it would never be heard.
 */
export class VoteRecorder {
  private waiting: VoteRecord[] = [];
  private recording: Promise<ReadonlySet<VoteRecord>> | undefined;

  /** Resolves to whether the vote is in the log; never throws, because that would end the whole run. */
  async record(vote: VoteRecord): Promise<boolean> {
    this.waiting.push(vote);
    this.recording ??= this.recordWaiting();
    return (await this.recording).has(vote);
  }

  private async recordWaiting(): Promise<ReadonlySet<VoteRecord>> {
    await Promise.resolve(); // what else this task of the workflow brings comes along
    const votes = this.waiting;
    this.waiting = [];
    this.recording = undefined;
    const parts = Array.from({ length: Math.ceil(votes.length / VOTES_A_CALL) }, (_, index) =>
      votes.slice(index * VOTES_A_CALL, (index + 1) * VOTES_A_CALL),
    );
    const recorded = await CancellationScope.nonCancellable(() => Promise.all(parts.map(recordTogether)));
    return new Set(recorded.flat());
  }
}

/** Resolves to those of the votes that are recorded: one that can't be must not take the others with it. */
async function recordTogether(votes: readonly VoteRecord[]): Promise<readonly VoteRecord[]> {
  try {
    await recordEvents({ events: votes.map((vote) => ({ type: 'vote', vote })) });
    return votes;
  } catch {
    if (votes.length === 1) return [];
    return (await Promise.all(votes.map((vote) => recordTogether([vote])))).flat();
  }
}
