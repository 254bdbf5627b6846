import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { ConnectorError } from '../../domain/errors.ts';
import { digestOfCurve } from '../../domain/signature-digest.ts';
import type { SignatureDigest } from '../../domain/signature-digest.ts';
import type { Signer } from '../signer.ts';

const signAsync = promisify<string, Uint8Array, KeyObject, Buffer>(sign);

/**
 * Reads a private key in PEM, PKCS #8 or SEC 1, not encrypted.
 * @throws {ConnectorError} KEY_UNSUPPORTED, which holds nothing of the text
 */
export function readPrivateKey(pem: string): KeyObject {
  if (/-----BEGIN ENCRYPTED /.test(pem)) {
    throw new ConnectorError(
      'KEY_UNSUPPORTED',
      'The private key is encrypted; keys that cosign encrypted are accepted.',
    );
  }
  try {
    return createPrivateKey(pem);
  } catch {
    // Without a cause: what OpenSSL says of a private key belongs in no log.
    throw new ConnectorError('KEY_UNSUPPORTED', 'The private key cannot be read as PEM.');
  }
}

/** What a public key is known by, and the digest that it signs over. */
export interface KeyTraits {
  readonly publicKeyPem: string;
  readonly fingerprint: string;
  readonly digest: SignatureDigest;
}

/** @throws {ConnectorError} KEY_UNSUPPORTED for any other than ECDSA on P-256 or P-384 */
export function traitsOf(publicKey: KeyObject): KeyTraits {
  const digest = digestOfCurve(publicKey.asymmetricKeyDetails?.namedCurve);
  if (!digest) throw new ConnectorError('KEY_UNSUPPORTED', 'ECDSA on P-256 or P-384 is accepted.');
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return {
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    fingerprint: createHash('sha256').update(spki).digest('base64'),
    digest,
  };
}

/** Signs with a private key in this process. @throws {ConnectorError} KEY_UNSUPPORTED */
export function localSigner(privateKey: KeyObject): Signer {
  const { digest, publicKeyPem, fingerprint } = traitsOf(createPublicKey(privateKey));
  return { publicKeyPem, fingerprint, sign: (bytes) => signAsync(digest.openssl, bytes, privateKey) };
}
