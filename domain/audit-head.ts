import { z } from 'zod';

import type { AuditHead } from './audit.ts';
import { isChainId } from './audit.ts';
import type { Digest } from './digest.ts';
import { canonicalJson } from './digest.ts';

/**
 * Signed heads. A chain of hashes shows what was changed inside it, but neither a tail that was cut off nor a log that
 * was written anew from its first entry. A head (chain, number, hash) that its writer signed and that somebody else
 * keeps shows both, to anyone who has the public key. What signed heads are for elsewhere: RFC 6962, section 3.5.
 */

/** A head as it is signed. */
export interface TimedHead extends AuditHead {
  readonly v: 1;
  /** When it was signed; in the bucket, when its entry was written. */
  readonly time: string;
}

export interface SignedHead {
  readonly head: TimedHead;
  /** SHA-256 over the public key in DER (SPKI). */
  readonly keyId: Digest;
  /** Ed25519 (RFC 8032) over `signedText(head)`, base64. */
  readonly signature: string;
}

export interface HeadKey {
  readonly keyId: Digest;
  readonly publicKeyPem: string;
  /** @returns Ed25519 over the UTF-8 form of a text, base64 */
  sign(text: string): string;
}

/** No signature over anything else can pass for one over a head. */
const CONTEXT = 'neuralops.io/audit-head/v1\n';

/** What is signed: the context, then the RFC 8785 form of the head. */
export function signedText({ v, chain, seq, hash, time }: TimedHead): string {
  return CONTEXT + canonicalJson({ v, chain, seq, hash, time });
}

/** @param time RFC 3339 in UTC with milliseconds */
export function signHead({ chain, seq, hash }: AuditHead, time: string, key: HeadKey): SignedHead {
  const head: TimedHead = { v: 1, chain, seq, hash, time };
  return { head, keyId: key.keyId, signature: key.sign(signedText(head)) };
}

const digest = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]);
const seq = z.int().min(0);
const place = z.strictObject({ seq, hash: digest });
const chain = z.string().refine(isChainId);

export const signedHeadSchema = z.strictObject({
  head: z.strictObject({ v: z.literal(1), chain, seq, hash: digest, time: z.iso.datetime({ precision: 3 }) }),
  keyId: digest,
  signature: z.base64().max(128),
});

/** @returns undefined for a text that is no signed head, whatever it is */
export function parseSignedHead(text: string): SignedHead | undefined {
  try {
    return signedHeadSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** What a chain recorded in one UTC day: from the entry after the manifest before on, to the last one of the day. */
export const dayManifestSchema = z.strictObject({
  v: z.literal(1),
  chain,
  day: z.iso.date(),
  entries: seq,
  first: place,
  last: place,
  /** Of `last`: what is said here of the chain is as good as its signature. */
  head: signedHeadSchema,
  /** PEM, so that who has nothing but the bucket finds it; whether to trust it is another matter. */
  publicKey: z.string().max(1024),
});

export type DayManifest = z.infer<typeof dayManifestSchema>;

const HEAD_NAME = /(?:^|\/)\d{16}\.head\.json$/;
const MANIFEST_NAME = /(?:^|\/)(\d{4}-\d\d-\d\d)\.manifest\.json$/;

/** Name of the object that holds the signed head at an entry, beside the range that ends with it. */
export function headName(at: number): string {
  return `${String(at).padStart(16, '0')}.head.json`;
}

export function isHeadName(name: string): boolean {
  return HEAD_NAME.test(name);
}

export function manifestName(day: string): string {
  return `${day}.manifest.json`;
}

/** The day that a manifest's name tells, whatever folder it is in. */
export function parseManifestName(name: string): string | undefined {
  return MANIFEST_NAME.exec(name)?.[1];
}
