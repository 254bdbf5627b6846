/** The digest that signatures of a key are made over, by the names it goes by. */
export interface SignatureDigest {
  /** As Sigstore's `HashAlgorithm` has it. */
  readonly sigstore: 'SHA2_256' | 'SHA2_384';
  readonly openssl: 'sha256' | 'sha384';
  /** As the transit engine of Vault has it. */
  readonly vault: 'sha2-256' | 'sha2-384';
}

const DIGESTS: ReadonlyMap<string, SignatureDigest> = new Map<string, SignatureDigest>([
  ['prime256v1', { sigstore: 'SHA2_256', openssl: 'sha256', vault: 'sha2-256' }],
  ['secp384r1', { sigstore: 'SHA2_384', openssl: 'sha384', vault: 'sha2-384' }],
]);

/**
 * The digest that belongs to a key (Sigstore's registry of algorithms): the key alone decides, never what a signature
 * says of itself.
 * @param curve the key's curve by OpenSSL's name; undefined for a key without one
 * @returns undefined for a key that is not accepted: what signs here is ECDSA on P-256 or P-384
 */
export function digestOfCurve(curve: string | undefined): SignatureDigest | undefined {
  return curve === undefined ? undefined : DIGESTS.get(curve);
}

/** The same by the name that a signature gives it, which proves nothing. */
export function digestNamed(sigstore: string): SignatureDigest | undefined {
  return [...DIGESTS.values()].find((one) => one.sigstore === sigstore);
}
