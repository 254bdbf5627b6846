import type { ApplicationFailure } from '@temporalio/workflow';
import { patched, setDefaultSignalHandler, setHandler } from '@temporalio/workflow';
import type { Decision, Receipt, StatementProof, VoteRecord } from '../domain/approvals.ts';
import { decisionIn } from '../domain/vote-message.ts';
import { ERRORS } from '../domain/errors.ts';
import { recordEvents, verifyStatements } from './activities.ts';
import { finalFailure } from './failure.ts';
import * as messages from './messages.ts';
import type { PackageRun } from './package-run.ts';
import type { ReceivedVote } from './ballot.ts';
import { Together } from './together.ts';

const UNCHECKED: StatementProof = { refused: { code: 'APPROVAL_SIGNATURE_INVALID', why: 'It could not be checked.' } };

/**
 * Connects the run to its messages. Every vote is recorded in the audit log, whatever came of it; that is why the
 * update refuses in its handler and not in a validator, which leaves no trace.
 */
export function listen(run: PackageRun): void {
  const proofs = new Together<unknown, StatementProof>(
    async (statements) => (await verifyStatements({ statements })).proofs,
    UNCHECKED,
  );
  const records = new Together<{ readonly vote: VoteRecord; readonly statement?: unknown }, boolean>(async (votes) => {
    await recordEvents({ events: votes.map((one) => ({ type: 'vote', ...one })) });
    return votes.map(() => true);
  }, false);

  const settle = async (received: ReceivedVote): Promise<VoteRecord> => {
    const { statement } = received.message;
    const isSigned = statement !== undefined;
    const vote = run.judge(received, isSigned ? await proofs.add(statement) : undefined);
    return run.settle(received, vote, await records.add({ vote, ...(isSigned && { statement }) }));
  };
  const take = (decision: Decision, via: Receipt['via'], argument: unknown) =>
    settle(run.receive(decision, via, argument));
  setHandler(messages.status, () => run.status(), { description: 'phase, votes, what is missing, what was done' });
  setHandler(messages.plan, () => run.plan(), {
    description: 'what would change, with risk and digest; Secrets masked',
  });
  setHandler(messages.replacedPlan, () => run.replacedPlan(), {
    description: 'the plan before, whose approvals are void because the cluster or the policy changed',
  });
  setHandler(messages.approve, async (argument) => void (await take('approve', 'signal', argument)), {
    description: '{ approver, planDigest, comment?, statement? }: a vote for exactly this plan',
  });
  setHandler(messages.reject, async (argument) => void (await take('reject', 'signal', argument)), {
    description: '{ approver, reason, statement? }: a vote against; one is enough',
  });
  const decide = async (argument: unknown) => {
    const vote = await take(decisionIn(argument), 'update', argument);
    if (vote.refused) throw refusal(vote.refused);
    return run.status();
  };
  setHandler(messages.decide, decide, { description: '{ decision, approver, planDigest | reason }: a vote, answered' });
  setHandler(messages.policyChanged, (argument) => run.policyChanged(argument), {
    description: 'sent by the worker when its policy has changed: a package that waits is planned again',
  });
  // Last, because it takes what came before it and has no handler yet. Runs of earlier versions passed over unknown names,
  // and must do so when they are replayed.
  setDefaultSignalHandler(async (name) => {
    const received = patched('record-unknown-signals') ? run.receiveUnknown(name) : undefined;
    if (received) await settle(received);
  });
}

function refusal({ code, why }: NonNullable<VoteRecord['refused']>): ApplicationFailure {
  return finalFailure(code, [ERRORS[code].sentence, why].filter(Boolean).join(' '));
}
