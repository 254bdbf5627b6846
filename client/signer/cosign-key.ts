import { createPrivateKey, scrypt } from 'node:crypto';
import type { KeyObject, ScryptOptions } from 'node:crypto';
import { promisify } from 'node:util';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';

/**
 * Private keys as cosign writes them: JSON in a PEM block, with a key derived from the password by scrypt and PKCS #8 in
 * a secretbox of NaCl (https://github.com/secure-systems-lab/go-securesystemslib, `encrypted`).
 */

const PEM_BLOCK =
  /-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END ENCRYPTED \1 PRIVATE KEY-----/;
const KEY_BYTES = 32;

const base64 = (bytes: number) =>
  z
    .base64()
    .transform(fromBase64)
    .refine((value) => value.length === bytes);
const encryptedKeySchema = z.object({
  kdf: z.object({
    name: z.literal('scrypt'),
    // cosign writes N = 65536, r = 8, p = 1; sixteen times that is 1 GiB of memory.
    params: z.object({ N: z.int().min(2).max(1_048_576), r: z.int().min(1).max(8), p: z.int().min(1).max(4) }),
    salt: base64(32),
  }),
  cipher: z.object({ name: z.literal('nacl/secretbox'), nonce: base64(24) }),
  ciphertext: z.base64().max(16_384).transform(fromBase64),
});

const derive = promisify<string, Uint8Array, number, ScryptOptions, Buffer>(scrypt);

/** Whether a text is a private key that cosign encrypted. */
export function isCosignKey(pem: string): boolean {
  return PEM_BLOCK.test(pem);
}

/**
 * Opens a private key that cosign encrypted.
 * @param password may be empty, which is one too
 * @throws {ConnectorError} KEY_UNSUPPORTED; CONFIG_INVALID for a wrong password. Neither holds anything of the key.
 */
export async function decryptCosignKey(pem: string, password: string): Promise<KeyObject> {
  const { kdf, cipher, ciphertext } = parse(PEM_BLOCK.exec(pem)?.[2] ?? '');
  const { N, r, p } = kdf.params;
  const key = await derive(password, kdf.salt, KEY_BYTES, { N, r, p, maxmem: 128 * r * (N + p + 2) });
  return readPkcs8(open(key, cipher.nonce, ciphertext));
}

function parse(body: string): z.output<typeof encryptedKeySchema> {
  try {
    return encryptedKeySchema.parse(JSON.parse(Buffer.from(body, 'base64').toString('utf8')));
  } catch {
    throw new ConnectorError('KEY_UNSUPPORTED', 'The private key is encrypted, but not as cosign encrypts.');
  }
}

function open(key: Uint8Array, nonce: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  try {
    return xsalsa20poly1305(key, nonce).decrypt(ciphertext);
  } catch {
    throw new ConnectorError('CONFIG_INVALID', 'The password (COSIGN_PASSWORD) does not open the private key.');
  }
}

function readPkcs8(der: Uint8Array): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  } catch {
    throw new ConnectorError('KEY_UNSUPPORTED', 'What the password opens is no private key in PKCS #8.');
  }
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64');
}
