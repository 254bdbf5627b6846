import { createHmac, createSecretKey } from 'node:crypto';
import type { KeyedHash } from '../../domain/redact/redactor.ts';

/** Four bits a letter. */
const LETTERS = 'abcdefghijklmnop';
/** 64 bits: with a million different values the chance that any two share a hash is 1 in 37 million. */
const BYTES = 8;

/** HMAC-SHA-256 (RFC 2104), cut to 64 bits, as 16 letters. @param key at least 32 random bytes */
export function createKeyedHash(key: Uint8Array): KeyedHash {
  const secret = createSecretKey(key); // made once: it costs more than a hash
  return (value) => {
    const digest = createHmac('sha256', secret).update(value).digest();
    let text = '';
    for (const byte of digest.subarray(0, BYTES)) text += LETTERS.charAt(byte >> 4) + LETTERS.charAt(byte & 15);
    return text;
  };
}
