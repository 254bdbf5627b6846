import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import { isBase64 } from './base64.ts';

/** The one form of Sigstore bundle that is accepted: a signature over the payload by a key, without certificates. */

/** Version 0.3, under the name that cosign writes and the one that it wrote before. */
export const BUNDLE_MEDIA_TYPES = [
  'application/vnd.dev.sigstore.bundle.v0.3+json',
  'application/vnd.dev.sigstore.bundle+json;version=0.3',
] as const;
const ANY_BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(\.v\d+\.\d+\+json|\+json;version=\d+\.\d+)$/;

const FINGERPRINT = /^[A-Za-z0-9+/]{43}=$/;
/** Longer than any ECDSA signature; keeps a hostile text from being decoded. */
const MAX_BASE64 = 1024;
const base64 = z.string().max(MAX_BASE64).refine(isBase64, 'must be base64');

const contentSchema = z.strictObject({
  mediaType: z.string(),
  verificationMaterial: z.strictObject({
    publicKey: z.strictObject({ hint: z.unknown().optional() }),
    tlogEntries: z.array(z.never()).optional(),
    timestampVerificationData: z.strictObject({ rfc3161Timestamps: z.array(z.never()).optional() }).nullish(),
  }),
  messageSignature: z.strictObject({
    messageDigest: z.strictObject({ algorithm: z.string().max(64), digest: base64 }),
    signature: base64,
  }),
});

export interface KeySignature {
  /** Name of the digest as Sigstore's `HashAlgorithm` has it. Untrusted, as all of the bundle. */
  readonly digestAlgorithm: string;
  /** Base64, in its canonical form. */
  readonly digest: string;
  /** Fingerprint of the key that the bundle claims; a hint and nothing more. */
  readonly hint?: string;
}

/**
 * Reads what a bundle says, before anything believes it (protobuf-specs `sigstore_bundle.proto`, version 0.3).
 * @throws {ConnectorError} BUNDLE_EMPTY, BUNDLE_MALFORMED, BUNDLE_VERSION_UNSUPPORTED, BUNDLE_TYPE_UNSUPPORTED (a DSSE
 *   envelope, a certificate, entries of a transparency log, timestamps), KEY_HINT_INVALID
 */
export function readBundle(bundle: unknown): KeySignature {
  if (bundle === undefined || bundle === null || bundle === '') throw new ConnectorError('BUNDLE_EMPTY');
  if (typeof bundle !== 'object' || Array.isArray(bundle)) throw malformed('It is not an object.');
  if (Object.keys(bundle).length === 0) throw new ConnectorError('BUNDLE_EMPTY');
  checkMediaType(field(bundle, 'mediaType'));
  checkType(bundle);
  const parsed = contentSchema.safeParse(bundle);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw malformed(`${issue?.path.join('.') || 'The bundle'}: ${issue?.message ?? 'not as it must be'}.`);
  }
  const { messageSignature, verificationMaterial } = parsed.data;
  const { algorithm, digest } = messageSignature.messageDigest;
  return {
    digestAlgorithm: algorithm,
    digest,
    ...readHint(verificationMaterial.publicKey.hint),
  };
}

function checkMediaType(mediaType: unknown): void {
  if (BUNDLE_MEDIA_TYPES.some((accepted) => accepted === mediaType)) return;
  if (typeof mediaType === 'string' && ANY_BUNDLE.test(mediaType)) {
    throw new ConnectorError('BUNDLE_VERSION_UNSUPPORTED', 'Version 0.3 is accepted.');
  }
  throw malformed('Its mediaType is not that of a Sigstore bundle.');
}

function checkType(bundle: object): void {
  if (isSet(field(bundle, 'dsseEnvelope'))) throw unsupported('It holds a DSSE envelope.');
  const material = field(bundle, 'verificationMaterial');
  if (isSet(field(material, 'certificate')) || isSet(field(material, 'x509CertificateChain'))) {
    throw unsupported('It is signed by a certificate; a signature by a key is accepted.');
  }
  // Evidence that cannot be checked here must not look as if it had been: without a trusted root for the log and the
  // timestamp authority, it is refused and not skipped.
  if (isFilled(field(material, 'tlogEntries'))) {
    throw unsupported('It holds an entry of a transparency log, which cannot be verified here.');
  }
  if (isFilled(field(field(material, 'timestampVerificationData'), 'rfc3161Timestamps'))) {
    throw unsupported('It holds a timestamp, which cannot be verified here.');
  }
}

function readHint(hint: unknown): { hint?: string } {
  if (hint === undefined || hint === '') return {};
  if (typeof hint === 'string' && FINGERPRINT.test(hint) && isBase64(hint)) return { hint };
  throw new ConnectorError('KEY_HINT_INVALID', 'It must be base64 of 32 bytes, or absent.');
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function isFilled(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0;
}

function malformed(detail: string): ConnectorError {
  return new ConnectorError('BUNDLE_MALFORMED', detail);
}

function unsupported(detail: string): ConnectorError {
  return new ConnectorError('BUNDLE_TYPE_UNSUPPORTED', detail);
}
