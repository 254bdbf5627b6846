import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { ConnectorError } from '../domain/errors.ts';

/** A Sigstore bundle v0.3 of a signature by key, as `cosign sign-blob --key --bundle` writes it. */
export interface KeySignedBundle {
  readonly mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json';
  readonly verificationMaterial: { readonly publicKey: { readonly hint: string } };
  readonly messageSignature: {
    readonly messageDigest: { readonly algorithm: 'SHA2_256' | 'SHA2_384'; readonly digest: string };
    readonly signature: string;
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

const DIGESTS = new Map<string, { name: 'SHA2_256' | 'SHA2_384'; openssl: string }>([
  ['prime256v1', { name: 'SHA2_256', openssl: 'sha256' }],
  ['secp384r1', { name: 'SHA2_384', openssl: 'sha384' }],
]);

/**
 * Signs the raw bytes of a package (or of anything else) for `byoc verify`, `cosign verify-blob` and the connector.
 * @param payload exactly the bytes that will be sent
 * @param privateKeyPem ECDSA on P-256 or P-384, PKCS #8 or SEC 1, not encrypted
 * @throws {ConnectorError} KEY_UNSUPPORTED for any other key, also one that cosign encrypted
 */
export function signWpk(payload: Uint8Array, privateKeyPem: string): KeySignedBundle {
  const privateKey = readPrivateKey(privateKeyPem);
  const digest = DIGESTS.get(privateKey.asymmetricKeyDetails?.namedCurve ?? '');
  if (!digest) throw new ConnectorError('KEY_UNSUPPORTED', 'ECDSA on P-256 or P-384 is accepted.');
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: { publicKey: { hint: createHash('sha256').update(spki).digest('base64') } },
    messageSignature: {
      messageDigest: {
        algorithm: digest.name,
        digest: createHash(digest.openssl).update(payload).digest('base64'),
      },
      signature: sign(digest.openssl, payload, privateKey).toString('base64'),
    },
  };
}

function readPrivateKey(pem: string): KeyObject {
  if (/-----BEGIN ENCRYPTED (SIGSTORE|COSIGN|PRIVATE)/.test(pem)) {
    throw new ConnectorError('KEY_UNSUPPORTED', 'The private key is encrypted; sign with `cosign sign-blob` instead.');
  }
  try {
    return createPrivateKey(pem);
  } catch {
    // Without a cause: what OpenSSL says of a private key belongs in no log.
    throw new ConnectorError('KEY_UNSUPPORTED', 'The private key cannot be read as PEM.');
  }
}
