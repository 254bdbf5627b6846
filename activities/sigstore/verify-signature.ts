import { ConnectorError } from '../../domain/errors.ts';
import { readBundle } from './bundle.ts';
import type { Keyless } from './certificate.ts';
import { verifyCertificate } from './certificate.ts';
import { keyRefusal } from './key-refusal.ts';
import type { TrustedKey } from './keys.ts';
import { verifyMessage } from './verifier.ts';

/** Whose signature it is. */
export interface VerifiedSignature {
  /** The key's name, or the identity in the certificate. */
  readonly keyName: string;
  /** Base64 of the SHA-256 over the key's SPKI in DER. */
  readonly fingerprint: string;
  /** Whom the certificate is for, and who vouched for that; absent for a key. */
  readonly identity?: string;
  readonly issuer?: string;
}

export interface VerifyBundleInput {
  /** The raw bytes that were signed. */
  readonly payload: Uint8Array;
  /** A Sigstore bundle v0.3 as parsed JSON; anything at all is refused in good order. */
  readonly bundle: unknown;
  readonly keys: readonly TrustedKey[];
  readonly now: Date;
  /** Fingerprints of the keys that count, whatever else is among `keys`; all of those where it is left out. */
  readonly pinnedKeys?: readonly string[];
  /** Without it a bundle that holds a certificate, a log entry or a timestamp is refused. */
  readonly keyless?: Keyless;
}

/**
 * Verifies a signature over raw bytes, as `cosign verify-blob` does with `--key` or `--trusted-root`.
 *
 * By a key: one of the given ones, and in addition revocation and validity are enforced, which Sigstore asks only about
 * timestamps that a bundle brings along. Ed25519 is not accepted: cosign leaves the digest out of such bundles, and
 * @sigstore/verify 4 cannot check them. RSA is not: nothing needs it. The bundle's key hint chooses among the keys and
 * proves nothing. A bundle without one is tried with every key; then a signature by an unknown key cannot be told from
 * a wrong one.
 *
 * By a certificate (keyless): see `verifyCertificate`. `pinnedKeys` says nothing of these: who signs is pinned by
 * `keyless.identities`.
 *
 * Log entries and timestamps in the bundle are verified in either case, and one that does not hold refuses the whole.
 *
 * @throws {ConnectorError} those of `readBundle`; KEY_UNKNOWN, KEY_REVOKED, KEY_NOT_VALID_NOW, KEY_NOT_PINNED,
 *   LOG_ENTRY_INVALID, SIGNATURE_INVALID; those of `verifyCertificate`
 */
export function verifyBundle(input: VerifyBundleInput): VerifiedSignature {
  const { payload, bundle, keys, keyless } = input;
  const claim = readBundle(bundle, keyless !== undefined);
  const { by } = claim;
  if (by.kind === 'certificate') {
    if (!keyless) throw new ConnectorError('BUNDLE_TYPE_UNSUPPORTED');
    return verifyCertificate({ payload, bundle, claim, der: by.der, keyless });
  }
  const named = by.hint === undefined ? keys : keys.filter((key) => key.fingerprint === by.hint);
  if (named.length === 0) throw new ConnectorError('KEY_UNKNOWN');
  const signer = named.find(({ publicKey }) =>
    verifyMessage({ payload, bundle, claim, publicKey, trustedRoot: keyless?.trustedRoot }),
  );
  if (!signer) throw new ConnectorError('SIGNATURE_INVALID');
  const { name: keyName, fingerprint } = trustedEntry(signer, input);
  return { keyName, fingerprint };
}

/** The entry by which the key that signed counts. A key may be listed twice; then one entry that is valid is enough. */
function trustedEntry(signer: TrustedKey, { keys, now, pinnedKeys }: VerifyBundleInput): TrustedKey {
  const entries = keys.filter(({ fingerprint }) => fingerprint === signer.fingerprint);
  const valid = entries.find((entry) => keyRefusal(entry, keys, now) === undefined);
  const about = `It is the key ${signer.name}.`;
  if (!valid) {
    throw new ConnectorError(keyRefusal(signer, keys, now) === 'revoked' ? 'KEY_REVOKED' : 'KEY_NOT_VALID_NOW', about);
  }
  if (pinnedKeys && !pinnedKeys.includes(signer.fingerprint)) throw new ConnectorError('KEY_NOT_PINNED', about);
  return valid;
}
