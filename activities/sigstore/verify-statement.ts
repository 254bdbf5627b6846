import { verify } from 'node:crypto';
import { z } from 'zod';
import { IN_TOTO_PAYLOAD, preAuthEncoding } from '../../domain/dsse.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { digestOfCurve } from '../../domain/signature-digest.ts';
import type { ApproverKey } from './approver-keys.ts';
import { BUNDLE_MEDIA_TYPES } from './bundle.ts';
import { keyRefusal } from './key-refusal.ts';
import type { TrustedKey } from './keys.ts';

export interface VerifyStatementInput {
  /** A Sigstore bundle v0.3 around a DSSE envelope, or the envelope alone; anything at all is refused in good order. */
  readonly statement: unknown;
  readonly keys: readonly ApproverKey[];
  readonly now: Date;
}

export interface VerifiedStatement {
  /** The signed bytes, for `parseApprovalStatement`. */
  readonly payload: Uint8Array;
  /** Whose signature it is. That the vote is in this person's name is for the caller to check. */
  readonly key: ApproverKey;
}

/** As many bytes as `parseApprovalStatement` reads, in base64. */
const MAX_PAYLOAD_BASE64 = 87_384;
const MAX_SIGNATURE_BASE64 = 1024;

const envelopeSchema = z.strictObject({
  payload: z.string().max(MAX_PAYLOAD_BASE64).transform(decode),
  payloadType: z.literal(IN_TOTO_PAYLOAD),
  // More signatures would make it a question whose vote it is.
  signatures: z.tuple([
    z.strictObject({
      sig: z.string().max(MAX_SIGNATURE_BASE64).transform(decode),
      /** A hint of its maker's own kind, which DSSE keeps out of what is signed. */
      keyid: z.string().max(256).optional(),
    }),
  ]),
});

const bundleSchema = z.strictObject({
  mediaType: z.enum(BUNDLE_MEDIA_TYPES),
  verificationMaterial: z.strictObject({
    publicKey: z.strictObject({ hint: z.string().max(64).optional() }),
    tlogEntries: z.array(z.never('a vote is not looked up in a transparency log')).optional(),
    timestampVerificationData: z
      .strictObject({ rfc3161Timestamps: z.array(z.never('the timestamp of a vote is not verified')).optional() })
      .nullish(),
  }),
  dsseEnvelope: envelopeSchema,
});

/**
 * Verifies a signed statement, as `cosign attest-blob` makes it, by one of the given keys; revocation and validity too.
 *
 * Not by @sigstore/verify: it takes SHA-256 for every key over DSSE, whereas cosign signs with SHA-384 by a key on
 * P-384. The digest is the one that belongs to the key, whatever the statement says; a key hint chooses among the keys
 * and proves nothing. A statement without one is tried with every key.
 *
 * @throws {ConnectorError} APPROVAL_MALFORMED, APPROVAL_SIGNATURE_INVALID; APPROVAL_KEY_UNTRUSTED, whose detail says
 *   whether the key is unknown, revoked or not valid now
 */
export function verifyStatement({ statement, keys, now }: VerifyStatementInput): VerifiedStatement {
  const { payload, signature, hint } = readStatement(statement);
  const named = hint === undefined ? keys : keys.filter((key) => key.fingerprint === hint);
  if (named.length === 0) throw untrusted('No approver has it.');
  const signed = preAuthEncoding(IN_TOTO_PAYLOAD, payload);
  const key = named.find((candidate) => isSignedBy(candidate, signed, signature));
  if (!key) throw new ConnectorError('APPROVAL_SIGNATURE_INVALID');
  const refusal = keyRefusal(key, keys, now);
  if (refusal === 'revoked') throw untrusted(`The key ${key.name} was revoked.`);
  if (refusal === 'not-valid-now') throw untrusted(`The key ${key.name} is not valid at this time.`);
  return { payload, key };
}

interface SignedPayload {
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  /** Fingerprint of the key that the bundle claims. */
  readonly hint?: string;
}

function readStatement(statement: unknown): SignedPayload {
  const isBundle = typeof statement === 'object' && statement !== null && Object.hasOwn(statement, 'mediaType');
  if (!isBundle) return contentOf(check(envelopeSchema, statement));
  const { dsseEnvelope, verificationMaterial } = check(bundleSchema, statement);
  const { hint } = verificationMaterial.publicKey;
  return { ...contentOf(dsseEnvelope), ...(hint ? { hint } : {}) };
}

function contentOf({ payload, signatures: [signature] }: z.output<typeof envelopeSchema>): SignedPayload {
  return { payload, signature: signature.sig };
}

function check<Output>(schema: z.ZodType<Output>, value: unknown): Output {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') || 'the statement';
  throw new ConnectorError(
    'APPROVAL_MALFORMED',
    `Signed statement, ${where}: ${issue?.message ?? 'not as it must be'}.`,
  );
}

/** DSSE leaves it to the maker which of both alphabets of base64 it uses (RFC 4648 sections 4 and 5). */
function decode(text: string, context: z.RefinementCtx): Uint8Array {
  const standard = text.replaceAll('-', '+').replaceAll('_', '/');
  const bytes = Buffer.from(standard, 'base64');
  if (bytes.length > 0 && bytes.toString('base64').replace(/=+$/, '') === standard.replace(/=+$/, '')) return bytes;
  context.addIssue({ code: 'custom', message: 'must be base64' });
  return z.NEVER;
}

function isSignedBy({ publicKey }: TrustedKey, signed: Uint8Array, signature: Uint8Array): boolean {
  const digest = digestOfCurve(publicKey.asymmetricKeyDetails?.namedCurve);
  if (!digest) return false;
  try {
    return verify(digest.openssl, signed, publicKey, signature);
  } catch {
    return false; // Bytes that are no signature at all.
  }
}

function untrusted(detail: string): ConnectorError {
  return new ConnectorError('APPROVAL_KEY_UNTRUSTED', detail);
}
