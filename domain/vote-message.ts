import { z } from 'zod';
import type { Decision, Receipt, VoteMessage } from './approvals.ts';

const approver = z.string().trim().min(1).max(256);
const digest = z.string().max(256);

const voteFields = z.looseObject({
  approver: approver.optional(),
  planDigest: digest.optional(),
  comment: z.string().max(4096).optional(),
  reason: z.string().max(4096).optional(),
  statement: z.unknown().optional(),
});
const bareFields = voteFields.extend({ approver });

/** The longest signed statement, as JSON; many are recorded in one call, which has to stay below Temporal's 2 MB. */
const MAX_STATEMENT_CHARS = 32_768;

/** Reads the argument of a signal or update; never throws, whatever was sent. */
export function readVote(decision: Decision, via: Receipt['via'], argument: unknown): VoteMessage {
  const given = isSignedFile(argument) ? { statement: argument } : argument;
  const isSigned = statementIn(given) !== undefined;
  const form = isSigned ? voteFields : decision === 'approve' ? bareFields.extend({ planDigest: digest }) : bareFields;
  // An update says its decision itself; one that says something else must not pass for either.
  const parsed = (via === 'update' ? form.extend({ decision: z.literal(decision) }) : form).safeParse(given);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const why = issue ? `${issue.path.join('.') || 'The argument'}: ${issue.message}.` : '';
    return { decision, malformed: { code: 'APPROVAL_MALFORMED', why } };
  }
  const { approver, planDigest, comment, reason, statement } = parsed.data as z.infer<typeof voteFields>;
  if (isSigned && !isShort(statement)) {
    return {
      decision,
      malformed: { code: 'APPROVAL_MALFORMED', why: 'The signed statement is too long or too deep.' },
    };
  }
  // A lone surrogate has no canonical form: it could be neither hashed nor recorded.
  const said = (decision === 'approve' ? comment : reason)?.trim().toWellFormed();
  return {
    decision,
    ...(approver === undefined ? {} : { approver: approver.toWellFormed() }),
    ...(planDigest === undefined ? {} : { planDigest: planDigest.toWellFormed() }),
    ...(said ? { comment: said } : {}),
    ...(isSigned ? { statement } : {}),
  };
}

const MAX_SIGNAL_NAME_CHARS = 64;

/** A signal by a name that there is not is no vote, but most likely was meant as one: a slip of the keys must not pass for a yes. */
export function voteByUnknownName(name: string): VoteMessage {
  const shown = name.slice(0, MAX_SIGNAL_NAME_CHARS).toWellFormed();
  const why = `There is no signal ${JSON.stringify(shown)}; votes are the signals approve and reject.`;
  const decision = /^\W*re/i.test(shown) ? 'reject' : 'approve';
  return { decision, malformed: { code: 'APPROVAL_MALFORMED', why } };
}

/** What is nested too deeply to be written can't be measured either, and must not throw. */
function isShort(statement: unknown): boolean {
  try {
    return JSON.stringify(statement).length <= MAX_STATEMENT_CHARS;
  } catch {
    return false;
  }
}

/** Which form the argument of `decide` must have; one that says neither is malformed as either. */
export function decisionIn(argument: unknown): Decision {
  const said =
    typeof argument === 'object' && argument !== null && 'decision' in argument ? argument.decision : undefined;
  return said === 'reject' ? 'reject' : 'approve';
}

/** A signal may carry just the file that `cosign attest-blob --bundle` or another DSSE tool wrote. */
function isSignedFile(argument: unknown): boolean {
  return typeof argument === 'object' && argument !== null && ('dsseEnvelope' in argument || 'payloadType' in argument);
}

function statementIn(argument: unknown): unknown {
  if (typeof argument !== 'object' || argument === null || !('statement' in argument)) return undefined;
  return argument.statement ?? undefined;
}
