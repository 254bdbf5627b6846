import type { TrustedKey } from './keys.ts';

/**
 * Why a key does not count now, if it does not. One key may be listed twice; then it is revoked if either entry is.
 * @param keys all that are listed
 */
export function keyRefusal(
  { notBefore, notAfter, fingerprint }: TrustedKey,
  keys: readonly TrustedKey[],
  now: Date,
): 'revoked' | 'not-valid-now' | undefined {
  if (keys.some((other) => other.fingerprint === fingerprint && other.revokedAt !== undefined)) return 'revoked';
  // Written so that an invalid date, which compares false with everything, refuses too.
  const started = notBefore === undefined || now >= notBefore;
  const unfinished = notAfter === undefined || now <= notAfter;
  return started && unfinished ? undefined : 'not-valid-now';
}
