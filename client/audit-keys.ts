import { createPublicKey, hash, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import type { SignedHead } from '../domain/audit-head.ts';
import { signedText } from '../domain/audit-head.ts';
import type { Digest } from '../domain/digest.ts';
import { ConnectorError } from '../domain/errors.ts';

/** Public keys that signed heads are checked with, by the id that heads name them with. */
export type HeadKeys = ReadonlyMap<Digest, KeyObject>;

const PEM_BLOCK = /-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----/g;

/**
 * @param text any number of Ed25519 public keys in PEM, as `byoc audit head --public-key` prints them
 * @throws {ConnectorError} KEY_UNSUPPORTED for anything else, also for a private key
 */
export function parseHeadKeys(text: string, name: string): HeadKeys {
  const keys = new Map<Digest, KeyObject>();
  for (const [pem] of text.matchAll(PEM_BLOCK)) {
    const key = readKey(pem);
    if (key?.asymmetricKeyType !== 'ed25519') throw unsupported(name);
    keys.set(`sha256:${hash('sha256', key.export({ format: 'der', type: 'spki' }), 'hex')}`, key);
  }
  if (keys.size === 0) throw unsupported(name);
  return keys;
}

function readKey(pem: string): KeyObject | undefined {
  try {
    return createPublicKey(pem);
  } catch {
    return undefined;
  }
}

function unsupported(name: string): ConnectorError {
  return new ConnectorError('KEY_UNSUPPORTED', `${name} must hold Ed25519 public keys in PEM, and nothing else.`);
}

/** `unknown-key`: none of the keys is the one that the head names. */
export function checkHead(signed: SignedHead, keys: HeadKeys): 'good' | 'unknown-key' | 'forged' {
  const key = keys.get(signed.keyId);
  if (!key) return 'unknown-key';
  const text = Buffer.from(signedText(signed.head));
  return verify(null, text, key, Buffer.from(signed.signature, 'base64')) ? 'good' : 'forged';
}
