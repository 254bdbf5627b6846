import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import { isBase64 } from './base64.ts';

/** The forms of Sigstore bundle that are accepted: a signature over the payload, by a key or by a certificate. */

/** Version 0.3, under the name that cosign writes and the one that it wrote before. */
export const BUNDLE_MEDIA_TYPES = [
  'application/vnd.dev.sigstore.bundle.v0.3+json',
  'application/vnd.dev.sigstore.bundle+json;version=0.3',
] as const;
const ANY_BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle(\.v\d+\.\d+\+json|\+json;version=\d+\.\d+)$/;

const FINGERPRINT = /^[A-Za-z0-9+/]{43}=$/;

// Every text is bounded before it is decoded. A signature by ECDSA is far shorter than a KiB; certificates, timestamps
// and the bodies of log entries have a few KiB.
const base64 = (max = 1024) => z.string().max(max).refine(isBase64, 'must be base64');
const MAX_DER = 16_384;
const MAX_BODY = 65_536;
/** More than any signer writes. */
const MAX_PROOFS = 4;
/** A whole number as the JSON form of protobuf has it. */
const whole = z.union([z.string().regex(/^\d{1,19}$/), z.int().min(0)]);

const logEntrySchema = z.strictObject({
  logIndex: whole.optional(),
  logId: z.strictObject({ keyId: base64() }),
  kindVersion: z.strictObject({ kind: z.string().max(64), version: z.string().max(64) }),
  integratedTime: whole.optional(),
  inclusionPromise: z.strictObject({ signedEntryTimestamp: base64() }).nullish(),
  inclusionProof: z.strictObject({
    logIndex: whole.optional(),
    rootHash: base64(),
    treeSize: whole,
    hashes: z.array(base64()).max(64).optional(),
    checkpoint: z.strictObject({ envelope: z.string().max(8192) }),
  }),
  canonicalizedBody: base64(MAX_BODY),
});

const contentSchema = z.strictObject({
  mediaType: z.string(),
  verificationMaterial: z
    .strictObject({
      publicKey: z.strictObject({ hint: z.unknown().optional() }).optional(),
      certificate: z.strictObject({ rawBytes: base64(MAX_DER) }).optional(),
      tlogEntries: z.array(logEntrySchema).max(MAX_PROOFS).optional(),
      timestampVerificationData: z
        .strictObject({
          rfc3161Timestamps: z
            .array(z.strictObject({ signedTimestamp: base64(MAX_DER) }))
            .max(MAX_PROOFS)
            .optional(),
        })
        .nullish(),
    })
    .refine(({ publicKey, certificate }) => (publicKey === undefined) !== (certificate === undefined), {
      message: 'must hold either a publicKey or a certificate',
    }),
  messageSignature: z.strictObject({
    messageDigest: z.strictObject({ algorithm: z.string().max(64), digest: base64() }),
    signature: base64(),
  }),
});

/** What a bundle says; untrusted, all of it. */
export interface SignatureClaim {
  /** Name of the digest as Sigstore's `HashAlgorithm` has it. */
  readonly digestAlgorithm: string;
  /** Base64, in its canonical form. */
  readonly digest: string;
  readonly by:
    | {
        readonly kind: 'key';
        /** Fingerprint of the key that the bundle claims; a hint and nothing more. */
        readonly hint?: string;
      }
    | { readonly kind: 'certificate'; readonly der: Uint8Array };
}

/**
 * Reads what a bundle says, before anything believes it (protobuf-specs `sigstore_bundle.proto`, version 0.3).
 * @param rooted whether there is a trusted root, against which certificates, log entries and timestamps are verified
 * @throws {ConnectorError} BUNDLE_EMPTY, BUNDLE_MALFORMED, BUNDLE_VERSION_UNSUPPORTED, BUNDLE_TYPE_UNSUPPORTED (a DSSE
 *   envelope, a chain of certificates; without a trusted root also whatever is verified against it), KEY_HINT_INVALID
 */
export function readBundle(bundle: unknown, rooted: boolean): SignatureClaim {
  if (bundle === undefined || bundle === null || bundle === '') throw new ConnectorError('BUNDLE_EMPTY');
  if (typeof bundle !== 'object' || Array.isArray(bundle)) throw malformed('It is not an object.');
  if (Object.keys(bundle).length === 0) throw new ConnectorError('BUNDLE_EMPTY');
  checkMediaType(field(bundle, 'mediaType'));
  checkType(bundle, rooted);
  const parsed = contentSchema.safeParse(bundle);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw malformed(`${issue?.path.join('.') || 'The bundle'}: ${issue?.message ?? 'not as it must be'}.`);
  }
  const { messageSignature, verificationMaterial } = parsed.data;
  const { algorithm, digest } = messageSignature.messageDigest;
  const { certificate, publicKey } = verificationMaterial;
  return {
    digestAlgorithm: algorithm,
    digest,
    by: certificate
      ? { kind: 'certificate', der: Buffer.from(certificate.rawBytes, 'base64') }
      : { kind: 'key', ...readHint(publicKey?.hint) },
  };
}

function checkMediaType(mediaType: unknown): void {
  if (BUNDLE_MEDIA_TYPES.some((accepted) => accepted === mediaType)) return;
  if (typeof mediaType === 'string' && ANY_BUNDLE.test(mediaType)) {
    throw new ConnectorError('BUNDLE_VERSION_UNSUPPORTED', 'Version 0.3 is accepted.');
  }
  throw malformed('Its mediaType is not that of a Sigstore bundle.');
}

function checkType(bundle: object, rooted: boolean): void {
  if (isSet(field(bundle, 'dsseEnvelope'))) throw unsupported('It holds a DSSE envelope.');
  const material = field(bundle, 'verificationMaterial');
  if (isSet(field(material, 'x509CertificateChain'))) {
    throw unsupported('It holds a chain of certificates, which version 0.3 does not have.');
  }
  if (rooted) return;
  if (isSet(field(material, 'certificate'))) {
    throw unsupported('It is signed by a certificate; a signature by a key is accepted.');
  }
  // Evidence that cannot be checked here must not look as if it had been: without a trusted root for the log and the
  // timestamp authority, it is refused and not skipped.
  if (isFilled(field(material, 'tlogEntries'))) {
    throw unsupported('It holds an entry of a transparency log, which takes a trusted root to verify.');
  }
  if (isFilled(field(field(material, 'timestampVerificationData'), 'rfc3161Timestamps'))) {
    throw unsupported('It holds a timestamp, which takes a trusted root to verify.');
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
