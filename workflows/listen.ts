import type { ApplicationFailure } from '@temporalio/workflow';
import { setHandler } from '@temporalio/workflow';
import type { Decision, VoteRecord } from '../domain/approvals.ts';
import { decisionIn } from '../domain/approvals.ts';
import { ERRORS } from '../domain/errors.ts';
import { finalFailure } from './failure.ts';
import * as messages from './messages.ts';
import type { PackageRun } from './package-run.ts';
import { VoteRecorder } from './vote-recorder.ts';

/**
 * Connects the run to its messages. Every vote is recorded in the audit log, whatever came of it; that is why the
 * update refuses in its handler and not in a validator, which leaves no trace.
 */
export function listen(run: PackageRun): void {
  const recorder = new VoteRecorder();
  const take = async (decision: Decision, via: VoteRecord['via'], argument: unknown): Promise<VoteRecord> => {
    const vote = run.vote(decision, via, argument);
    return run.settle(vote, await recorder.record(vote));
  };
  setHandler(messages.status, () => run.status(), { description: 'phase, votes, what is missing, what was done' });
  setHandler(messages.plan, () => run.plan(), {
    description: 'what would change, with risk and digest; Secrets masked',
  });
  setHandler(messages.approve, async (argument) => void (await take('approve', 'signal', argument)), {
    description: '{ approver, planDigest, comment? }: a vote for exactly this plan',
  });
  setHandler(messages.reject, async (argument) => void (await take('reject', 'signal', argument)), {
    description: '{ approver, reason }: a vote against; one is enough',
  });
  const decide = async (argument: unknown) => {
    const vote = await take(decisionIn(argument), 'update', argument);
    if (vote.refused) throw refusal(vote.refused);
    return run.status();
  };
  setHandler(messages.decide, decide, { description: '{ decision, approver, planDigest | reason }: a vote, answered' });
}

function refusal({ code, why }: NonNullable<VoteRecord['refused']>): ApplicationFailure {
  return finalFailure(code, [ERRORS[code].sentence, why].filter(Boolean).join(' '));
}
