import { hash } from 'node:crypto';
import { ConnectorError } from '../../domain/errors.ts';
import { digestNamed } from '../../domain/signature-digest.ts';
import type { SignatureClaim } from './bundle.ts';
import { readBundle } from './bundle.ts';

/**
 * Whether a bundle is for other bytes, by the digest that it names itself: then no key and no trusted root can make it
 * verify. False where it cannot be told without them, or the bundle is refused for something else.
 */
export function namesOtherBytes(payload: Uint8Array, bundle: unknown): boolean {
  const claim = claimOf(bundle);
  const digest = claim && digestNamed(claim.digestAlgorithm);
  return digest !== undefined && hash(digest.openssl, payload, 'base64') !== claim?.digest;
}

function claimOf(bundle: unknown): SignatureClaim | undefined {
  try {
    return readBundle(bundle, true);
  } catch (error) {
    if (error instanceof ConnectorError) return undefined;
    throw error;
  }
}
