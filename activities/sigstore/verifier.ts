import { hash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { bundleFromJSON } from '@sigstore/bundle';
import { toSignedEntity, VerificationError, Verifier } from '@sigstore/verify';
import type { Signer } from '@sigstore/verify';
import { ConnectorError } from '../../domain/errors.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import { digestOfCurve } from '../../domain/signature-digest.ts';
import type { SignatureClaim } from './bundle.ts';
import type { TrustedRoot } from './trusted-root.ts';

/** The one file that lets @sigstore/verify look at a bundle. Only for bundles that `readBundle` has read. */

export interface MessageInput {
  readonly payload: Uint8Array;
  readonly bundle: unknown;
  readonly claim: SignatureClaim;
  readonly publicKey: KeyObject;
  /** What log entries and timestamps are verified against; undefined where the bundle has none. */
  readonly trustedRoot: TrustedRoot | undefined;
}

const NO_AUTHORITIES: TrustedRoot = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: () => {
    throw new VerificationError({ code: 'PUBLIC_KEY_ERROR', message: 'no key' });
  },
};

/**
 * Whether a key made the signature. Log entries and timestamps are verified too, though none is asked for.
 * @throws {ConnectorError} LOG_ENTRY_INVALID, BUNDLE_MALFORMED
 */
export function verifyMessage({ payload, bundle, claim, publicKey, trustedRoot }: MessageInput): boolean {
  if (!isDigestOf(payload, claim, publicKey)) return false;
  // The key's own times are enforced at the time of asking, by whoever asks.
  const material = { ...(trustedRoot ?? NO_AUTHORITIES), publicKey: () => ({ publicKey, validFor: () => true }) };
  try {
    runVerifier({
      payload,
      bundle,
      material,
      thresholds: { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 },
    });
    return true;
  } catch (error) {
    if (error instanceof ConnectorError && error.code === 'SIGNATURE_INVALID') return false;
    throw error;
  }
}

/**
 * Whether the bundle names the digest of the payload that belongs to the key, by its curve and not by what the bundle
 * says: @sigstore/verify hashes with whatever the bundle names.
 */
export function isDigestOf(payload: Uint8Array, claim: SignatureClaim, publicKey: KeyObject): boolean {
  const digest = digestOfCurve(publicKey.asymmetricKeyDetails?.namedCurve);
  if (!digest || claim.digestAlgorithm !== digest.sigstore) return false;
  return hash(digest.openssl, payload, 'base64') === claim.digest; // as cosign does
}

interface Run {
  readonly payload: Uint8Array;
  readonly bundle: unknown;
  readonly material: TrustedRoot;
  readonly thresholds: {
    readonly tlogThreshold: number;
    readonly ctlogThreshold: number;
    readonly timestampThreshold: number;
  };
}

/** @throws {ConnectorError} LOG_ENTRY_INVALID, CERTIFICATE_UNTRUSTED, SIGNATURE_INVALID, BUNDLE_MALFORMED */
export function runVerifier({ payload, bundle, material, thresholds }: Run): Signer {
  try {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    return new Verifier(material, thresholds).verify(toSignedEntity(bundleFromJSON(bundle), bytes));
  } catch (cause) {
    throw translated(cause);
  }
}

type Refusal = readonly [code: ErrorCode, detail: string];

/** By the code of a `VerificationError`. Its message is not passed on: it may quote a hostile bundle at any length. */
const REFUSALS: ReadonlyMap<string, Refusal> = new Map<string, Refusal>([
  ['TLOG_ERROR', ['LOG_ENTRY_INVALID', 'It holds no entry of a log, or the same one twice.']],
  ['TLOG_INCLUSION_PROOF_ERROR', ['LOG_ENTRY_INVALID', 'No trusted log has the entry.']],
  ['TLOG_INCLUSION_PROMISE_ERROR', ['LOG_ENTRY_INVALID', 'No trusted log has promised the entry.']],
  ['TLOG_MISSING_INCLUSION_ERROR', ['LOG_ENTRY_INVALID', 'Nothing proves that a log has the entry.']],
  ['TLOG_BODY_ERROR', ['LOG_ENTRY_INVALID', 'The entry of the log is of another signature.']],
  ['TIMESTAMP_ERROR', ['LOG_ENTRY_INVALID', 'Nothing that is trusted proves when it was signed.']],
  ['CERTIFICATE_ERROR', ['CERTIFICATE_UNTRUSTED', '']],
  ['SIGNATURE_ERROR', ['SIGNATURE_INVALID', '']],
]);

function translated(cause: unknown): ConnectorError {
  // Else whatever parsers of ASN.1 and JSON throw at bytes that are not what they should be.
  const unreadable: Refusal = ['BUNDLE_MALFORMED', 'A part of it cannot be read.'];
  const [code, detail] = (cause instanceof VerificationError && REFUSALS.get(cause.code)) || unreadable;
  return new ConnectorError(code, detail, { cause });
}
