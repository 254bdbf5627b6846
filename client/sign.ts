import { createPublicKey, generateKeyPairSync, hash, sign } from 'node:crypto';
import { IN_TOTO_PAYLOAD, preAuthEncoding } from '../domain/dsse.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Signer } from './signer.ts';
import { isCosignKey } from './signer/cosign-key.ts';
import { readPrivateKey, traitsOf } from './signer/local-key.ts';

const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

interface ByKey {
  readonly mediaType: typeof BUNDLE;
  readonly verificationMaterial: { readonly publicKey: { readonly hint: string } };
}

/** A Sigstore bundle v0.3 of a signature by key, as `cosign sign-blob --key --bundle` writes it. */
export interface KeySignedBundle extends ByKey {
  readonly messageSignature: {
    readonly messageDigest: { readonly algorithm: 'SHA2_256' | 'SHA2_384'; readonly digest: string };
    readonly signature: string;
  };
}

/** A Sigstore bundle v0.3 of a signed statement, as `cosign attest-blob --key --statement --bundle` writes it. */
export interface SignedStatement extends ByKey {
  readonly dsseEnvelope: {
    readonly payload: string;
    readonly payloadType: typeof IN_TOTO_PAYLOAD;
    readonly signatures: readonly [{ readonly sig: string }];
  };
}

export interface KeyPair {
  /** PKCS #8, not encrypted: for development. */
  readonly privateKeyPem: string;
  /** SPKI, what `COSIGN_KEY` and Vault take. */
  readonly publicKeyPem: string;
}

/** Makes a new key pair for signing packages (ECDSA on P-256, as cosign makes them). */
export function generateKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/**
 * Signs the raw bytes of a package (or of anything else) for `byoc verify`, `cosign verify-blob` and the connector.
 * @param payload exactly the bytes that will be sent
 * @param privateKeyPem ECDSA on P-256 or P-384, PKCS #8 or SEC 1, not encrypted
 * @throws {ConnectorError} KEY_UNSUPPORTED for any other key, also one that cosign encrypted
 */
export function signWpk(payload: Uint8Array, privateKeyPem: string): KeySignedBundle {
  if (isCosignKey(privateKeyPem)) {
    throw new ConnectorError('KEY_UNSUPPORTED', 'The private key is encrypted; sign with `cosign sign-blob` instead.');
  }
  const privateKey = readPrivateKey(privateKeyPem);
  const { digest, fingerprint } = traitsOf(createPublicKey(privateKey));
  return {
    mediaType: BUNDLE,
    verificationMaterial: { publicKey: { hint: fingerprint } },
    messageSignature: {
      messageDigest: { algorithm: digest.sigstore, digest: hash(digest.openssl, payload, 'base64') },
      signature: sign(digest.openssl, payload, privateKey).toString('base64'),
    },
  };
}

/**
 * Signs the bytes of a statement, such as `approvalStatementBytes` gives, for the connector and for
 * `cosign verify-blob-attestation`.
 * @throws {ConnectorError} what the signer throws
 */
export async function signStatement(statement: Uint8Array, signer: Signer): Promise<SignedStatement> {
  const signature = await signer.sign(preAuthEncoding(IN_TOTO_PAYLOAD, statement));
  return {
    mediaType: BUNDLE,
    verificationMaterial: { publicKey: { hint: signer.fingerprint } },
    dsseEnvelope: {
      payload: Buffer.from(statement).toString('base64'),
      payloadType: IN_TOTO_PAYLOAD,
      signatures: [{ sig: Buffer.from(signature).toString('base64') }],
    },
  };
}
