import { hash } from 'node:crypto';
import { bundleFromJSON } from '@sigstore/bundle';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { ConnectorError } from '../../domain/errors.ts';
import { digestOfCurve } from '../../domain/signature-digest.ts';
import type { KeySignature } from './bundle.ts';
import { readBundle } from './bundle.ts';
import { keyRefusal } from './key-refusal.ts';
import type { TrustedKey } from './keys.ts';

/** Whose signature it is. */
export interface VerifiedSignature {
  readonly keyName: string;
  /** Base64 of the SHA-256 over the key's SPKI in DER. */
  readonly fingerprint: string;
}

export interface VerifyBundleInput {
  /** The raw bytes that were signed. */
  readonly payload: Uint8Array;
  /** A Sigstore bundle v0.3 as parsed JSON; anything at all is refused in good order. */
  readonly bundle: unknown;
  readonly keys: readonly TrustedKey[];
  readonly now: Date;
}

/**
 * Verifies a signature over raw bytes by one of the given keys, as `cosign verify-blob --key` does, and in addition
 * enforces revocation and validity, which Sigstore asks only about timestamps that a bundle brings along.
 *
 * The digest is the one that belongs to the key's curve (Sigstore's algorithm registry), whatever the bundle says.
 * Ed25519 is not accepted: cosign leaves the digest out of such bundles, and @sigstore/verify 4 cannot check them.
 * RSA is not: nothing needs it. The bundle's key hint chooses among the keys and proves nothing. A bundle without one
 * is tried with every key that is valid; then a signature by an unknown key cannot be told from a wrong one.
 *
 * @throws {ConnectorError} those of `readBundle`; KEY_UNKNOWN, KEY_REVOKED, KEY_NOT_VALID_NOW, SIGNATURE_INVALID
 */
export function verifyBundle({ payload, bundle, keys, now }: VerifyBundleInput): VerifiedSignature {
  const claim = readBundle(bundle);
  const named = claim.hint === undefined ? keys : keys.filter((key) => key.fingerprint === claim.hint);
  if (named.length === 0) throw new ConnectorError('KEY_UNKNOWN');
  const usable = named.filter((key) => refusalOf(key, keys, now) === undefined);
  const signer = usable.find((key) => isSignedBy(key, payload, bundle, claim));
  if (signer) return { keyName: signer.name, fingerprint: signer.fingerprint };
  throw explainRefusal(named, usable, keys, now);
}

function refusalOf(key: TrustedKey, keys: readonly TrustedKey[], now: Date): ConnectorError | undefined {
  const refusal = keyRefusal(key, keys, now);
  if (!refusal) return undefined;
  return new ConnectorError(refusal === 'revoked' ? 'KEY_REVOKED' : 'KEY_NOT_VALID_NOW', `It is the key ${key.name}.`);
}

function explainRefusal(
  named: readonly TrustedKey[],
  usable: readonly TrustedKey[],
  keys: readonly TrustedKey[],
  now: Date,
): ConnectorError {
  const [key] = named;
  const refusal = key && usable.length === 0 ? refusalOf(key, keys, now) : undefined;
  return refusal ?? new ConnectorError('SIGNATURE_INVALID');
}

function isSignedBy({ publicKey }: TrustedKey, payload: Uint8Array, bundle: unknown, claim: KeySignature): boolean {
  const digest = digestOfCurve(publicKey.asymmetricKeyDetails?.namedCurve);
  // @sigstore/verify hashes with what the bundle names: it must be what the key demands.
  if (!digest || claim.digestAlgorithm !== digest.sigstore) return false;
  if (hash(digest.openssl, payload, 'base64') !== claim.digest) return false; // as cosign does
  const noAuthorities = { mediaType: '', tlogs: [], certificateAuthorities: [], ctlogs: [], timestampAuthorities: [] };
  const trust = toTrustMaterial(noAuthorities, () => ({ publicKey, validFor: () => true }));
  const verifier = new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
  try {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    verifier.verify(toSignedEntity(bundleFromJSON(bundle), bytes));
    return true;
  } catch {
    return false; // What the bundle looks like was settled before: all that is left to fail is the signature.
  }
}
