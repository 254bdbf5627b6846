import { createHash, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { ConnectorError } from '../../domain/errors.ts';
import type { SignatureClaim } from './bundle.ts';
import type { TrustedRoot } from './trusted-root.ts';
import { isDigestOf, runVerifier } from './verifier.ts';
import type { VerifiedSignature } from './verify-signature.ts';

/** Who may sign without a key of their own, and the authorities that are believed about who they are. */
export interface Keyless {
  readonly trustedRoot: TrustedRoot;
  readonly identities: readonly TrustedIdentity[];
}

/** Both are compared exactly: no pattern, no beginning of a text, no other case. */
export interface TrustedIdentity {
  /** What the certificate says of its subject: an e-mail address or a URI. */
  readonly identity: string;
  /** The OIDC issuer that vouched for it, such as https://token.actions.githubusercontent.com. */
  readonly issuer: string;
}

export interface VerifyCertificateInput {
  readonly payload: Uint8Array;
  readonly bundle: unknown;
  readonly claim: SignatureClaim;
  readonly der: Uint8Array;
  readonly keyless: Keyless;
}

/** Extended key usage "code signing" (RFC 5280 section 4.2.1.12), which Fulcio puts into its certificates. */
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';

/**
 * Verifies a signature by a certificate that lived for minutes: that an authority of the trusted root issued it, that it
 * was valid when the log or a timestamp authority saw the signature, and for whom it was issued.
 *
 * The trusted root says what there must be: an entry of a log where it names logs, a promise of a certificate log where it
 * names those, and always a time, by the log's signature or by a timestamp authority.
 *
 * @throws {ConnectorError} CERTIFICATE_UNTRUSTED, IDENTITY_UNTRUSTED, LOG_ENTRY_INVALID, SIGNATURE_INVALID,
 *   BUNDLE_MALFORMED
 */
export function verifyCertificate({ payload, bundle, claim, der, keyless }: VerifyCertificateInput): VerifiedSignature {
  const { certificate, publicKey } = readCertificate(der);
  if (!isDigestOf(payload, claim, publicKey)) throw new ConnectorError('SIGNATURE_INVALID');
  const { trustedRoot: material, identities } = keyless;
  const thresholds = {
    tlogThreshold: Math.min(1, material.tlogs.length),
    ctlogThreshold: Math.min(1, material.ctlogs.length),
    timestampThreshold: 1,
  };
  const signer = runVerifier({ payload, bundle, material, thresholds });
  if (certificate.ca || !certificate.keyUsage?.includes(CODE_SIGNING)) {
    throw new ConnectorError('CERTIFICATE_UNTRUSTED', 'It is not one for signing.');
  }
  const issuer = signer.identity?.extensions?.issuer;
  const identity = subjectOf(certificate);
  const isTrusted = identities.some((trusted) => trusted.identity === identity && trusted.issuer === issuer);
  if (identity === undefined || !isTrusted) {
    throw new ConnectorError('IDENTITY_UNTRUSTED', `It is ${quote(identity)}, by ${quote(issuer)}.`);
  }
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return {
    keyName: identity,
    identity,
    fingerprint: createHash('sha256').update(spki).digest('base64'),
    ...(issuer !== undefined && { issuer }),
  };
}

function readCertificate(der: Uint8Array): { certificate: X509Certificate; publicKey: KeyObject } {
  try {
    const certificate = new X509Certificate(der);
    return { certificate, publicKey: certificate.publicKey };
  } catch (cause) {
    throw new ConnectorError('BUNDLE_MALFORMED', 'Its certificate cannot be read.', { cause });
  }
}

/**
 * The one e-mail address or URI that a certificate is for. By OpenSSL and not by @sigstore/verify, which takes the first of
 * several, drops the eighth bit of each byte, and would compare by a regular expression.
 * @returns undefined where there are none or several
 */
function subjectOf({ subjectAltName }: X509Certificate): string | undefined {
  // Node writes `email:a, URI:b`, and quotes as JSON whatever has a comma, a quote or anything unprintable in it.
  const [, plain, quoted] = /^(?:email|URI):(?:([^",]+)|("(?:[^"\\]|\\.)*"))$/.exec(subjectAltName ?? '') ?? [];
  return plain ?? (quoted === undefined ? undefined : String(JSON.parse(quoted)));
}

function quote(text: string | undefined): string {
  return text === undefined ? 'nobody' : JSON.stringify(text.slice(0, 256));
}
