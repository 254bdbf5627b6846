import canonicalize from 'canonicalize';
import { ConnectorError } from './errors.ts';

/** A SHA-256 in lower-case hex with its prefix: `sha256:…` (64 digits). */
export type Digest = `sha256:${string}`;

/** Hashes bytes or the UTF-8 form of a text. Passed in, because the workflow sandbox has no `crypto`. */
export type Sha256 = (data: string | Uint8Array) => Digest;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(value: unknown): value is Digest {
  return typeof value === 'string' && DIGEST.test(value);
}

/**
 * The canonical JSON text of a value (RFC 8785), which is what all digests of the connector are taken over.
 * @throws {ConnectorError} INTERNAL for a value that JSON cannot hold (undefined, NaN, a cycle).
 */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new ConnectorError('INTERNAL', 'a value without a JSON form was to be hashed');
  return text;
}
