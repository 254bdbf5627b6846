import { z } from 'zod';
import { canonicalJson, isDigest } from './digest.ts';
import type { Digest } from './digest.ts';
import { ConnectorError } from './errors.ts';
import { parseStrictJson } from './json.ts';

/**
 * A vote as it is signed: an in-toto Statement v1 (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md)
 * about a plan. `byoc approve` makes it, and `cosign attest-blob --statement` signs the same bytes.
 */

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
/** Says what the statement means, outside for tools of in-toto and inside for whoever keeps the fields alone. */
export const APPROVAL_TYPE = 'https://neuralops.io/approval/v1';

const digest = z.custom<Digest>(isDigest, 'must be sha256: and 64 hex digits in lower case');
const name = (max: number) => z.string().min(1).max(max);

const approvalSchema = z.strictObject({
  type: z.literal(APPROVAL_TYPE),
  wpkDigest: digest,
  planDigest: digest,
  policyDigest: digest,
  /** UID of the namespace `kube-system`. */
  clusterUid: name(128),
  workflowId: name(512),
  runId: name(128),
  /** `rollback` is no vote: it asks for undoing what was executed of the plan. */
  decision: z.enum(['approve', 'reject', 'rollback']),
  /** Who says so; counts only where the key that signs is this person's. */
  approver: name(256),
  /** Comment of an approval, reason of a rejection. */
  comment: z.string().max(4096).optional(),
  /** When the vote was signed, RFC 3339 in UTC: of each person the newest counts. */
  time: z.iso.datetime().max(40),
});

const statementSchema = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.tuple([z.strictObject({ name: name(512), digest: z.strictObject({ sha256: z.string().max(64) }) })]),
  predicateType: z.literal(APPROVAL_TYPE),
  predicate: approvalSchema,
});

/** What a signed vote says. */
export type Approval = z.infer<typeof approvalSchema>;

/** The whole of what is signed. */
export type ApprovalStatement = z.infer<typeof statementSchema>;

/** A comment of the longest kind, escaped, and all the rest. */
const LIMITS = { maxBytes: 65_536, maxDepth: 6, maxValues: 64, maxMembers: 16 };

/**
 * Makes the statement of a vote.
 * @throws {ConnectorError} APPROVAL_MALFORMED where a field does not have the form that it must have
 */
export function approvalStatement(fields: Omit<Approval, 'type'>): ApprovalStatement {
  return check({
    _type: STATEMENT_TYPE,
    subject: [{ name: fields.workflowId, digest: { sha256: hexOf(fields.planDigest) } }],
    predicateType: APPROVAL_TYPE,
    predicate: { type: APPROVAL_TYPE, ...fields },
  });
}

/** The bytes of a statement that are signed (RFC 8785). */
export function approvalStatementBytes(statement: ApprovalStatement): Uint8Array {
  return new TextEncoder().encode(canonicalJson(statement));
}

/**
 * Reads the vote out of signed bytes. They need not be in canonical form: what was signed is what they say.
 * @throws {ConnectorError} APPROVAL_MALFORMED, also where the subject is another than the plan that is voted on
 */
export function parseApprovalStatement(bytes: Uint8Array): Approval {
  return check(parse(bytes)).predicate;
}

function parse(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes, LIMITS).value;
  } catch (cause) {
    if (!(cause instanceof ConnectorError)) throw cause;
    const { detail, place } = cause;
    throw new ConnectorError('APPROVAL_MALFORMED', `The statement is not strict JSON: ${detail}`, {
      cause,
      ...(place && { place }),
    });
  }
}

function check(value: unknown): ApprovalStatement {
  const parsed = statementSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw malformed(`${issue?.path.join('.') || 'it'}: ${issue?.message ?? 'is not as it must be'}.`);
  }
  const { subject, predicate } = parsed.data;
  // Tools of in-toto show the subject, and we go by the predicate: nobody may be shown another thing than what counts.
  if (subject[0].name !== predicate.workflowId || subject[0].digest.sha256 !== hexOf(predicate.planDigest)) {
    throw malformed('its subject is not the workflow and the plan that it votes on.');
  }
  return parsed.data;
}

function hexOf(planDigest: Digest): string {
  return planDigest.replace('sha256:', '');
}

function malformed(detail: string): ConnectorError {
  return new ConnectorError('APPROVAL_MALFORMED', `The statement is wrong: ${detail}`);
}
