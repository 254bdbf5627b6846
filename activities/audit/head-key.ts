import { createPrivateKey, createPublicKey, hash, sign } from 'node:crypto';

import type { HeadKey } from '../../domain/audit-head.ts';

/** Everything of a PKCS #8 Ed25519 key in DER but the 32 bytes that it is made from (RFC 8410, section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * The key that signs heads, from its seed.
 * @param seed 32 random bytes, the private key of RFC 8032
 */
export function createHeadKey(seed: Uint8Array): HeadKey {
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey);
  return {
    keyId: `sha256:${hash('sha256', publicKey.export({ format: 'der', type: 'spki' }), 'hex')}`,
    publicKeyPem: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    sign: (text) => sign(null, Buffer.from(text), privateKey).toString('base64'),
  };
}
