/** When what is granted for a time (a token, a JWT) is asked for again. Times are milliseconds; no clock is read here. */

/** However long something is granted for, it is renewed at the latest after this. */
export const RENEWED_WITHIN_MS = 24 * 60 * 60 * 1000;

/** A number from 0 up to 1, as `Math.random` gives. */
export type Random = () => number;

/**
 * How long to wait before renewing: from half to two thirds of the time granted, and never more than a day. Half of it is
 * left for trying again; the jitter keeps pods that started together from asking together.
 */
export function renewalDelayMs(ttlMs: number, random: Random): number {
  return Math.min(ttlMs, (RENEWED_WITHIN_MS * 3) / 2) * (1 / 2 + random() / 6);
}

/**
 * How long to wait after a renewal that failed: a few attempts fit into what is left, none is further away than half a
 * minute, none nearer than a fifth of a second.
 */
export function renewalRetryDelayMs(remainingMs: number, random: Random): number {
  return Math.min(30_000, Math.max(200, remainingMs / 4)) * (1 - random() / 4);
}

/**
 * How long to leave Vault alone after it refused who we are: nobody else's login is to suffer, because Vault locks a role
 * for everybody after a few refusals in a row.
 * @param refusals in a row, from 1
 */
export function refusalDelayMs(refusals: number, random: Random): number {
  return Math.min(120_000, 10_000 * 3 ** (refusals - 1)) * (1 - random() / 4);
}

/**
 * Whether a renewal gave so little that the token nears the maximum that it can live, so that another must be had.
 * Vault cuts what it grants at that end, and says nothing else of it.
 */
export function nearsMaximum(lease: { readonly firstTtlMs: number; readonly ttlMs: number }): boolean {
  return lease.ttlMs < lease.firstTtlMs * 0.9;
}
