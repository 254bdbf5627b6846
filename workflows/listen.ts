import { ApplicationFailure, CancellationScope, setHandler } from '@temporalio/workflow';
import type { Decision, VoteRecord } from '../domain/approvals.ts';
import { recordEvents } from './activities.ts';
import * as messages from './messages.ts';
import type { PackageRun } from './package-run.ts';

/**
 * Connects the run to its messages. Every vote is recorded in the audit log, whatever came of it; that is why the
 * update refuses in its handler and not in a validator, which leaves no trace.
 */
export function listen(run: PackageRun): void {
  setHandler(messages.status, () => run.status());
  setHandler(messages.plan, () => run.plan());
  setHandler(messages.approve, async (argument) => void (await take(run, 'approve', 'signal', argument)));
  setHandler(messages.reject, async (argument) => void (await take(run, 'reject', 'signal', argument)));
  setHandler(messages.decide, async (argument) => {
    const vote = await take(run, decisionIn(argument), 'update', argument);
    if (vote.refused) throw ApplicationFailure.nonRetryable(vote.refused.why, vote.refused.code);
    return run.status();
  });
}

async function take(run: PackageRun, decision: Decision, via: VoteRecord['via'], argument: unknown): Promise<VoteRecord> {
  const vote = run.vote(decision, via, argument);
  await CancellationScope.nonCancellable(() => recordEvents({ events: [{ type: 'vote', vote }] }));
  return vote;
}

/** Which form the argument must have; one that says neither is malformed as either. */
function decisionIn(argument: unknown): Decision {
  const said = typeof argument === 'object' && argument !== null && 'decision' in argument ? argument.decision : undefined;
  return said === 'reject' ? 'reject' : 'approve';
}
