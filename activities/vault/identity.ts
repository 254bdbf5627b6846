import type { Random } from '../../domain/lease.ts';
import { renewalDelayMs, renewalRetryDelayMs } from '../../domain/lease.ts';

/** Who this cluster and role are, as services outside the cluster can check with Vault's published keys. */
export interface Identity {
  /**
   * A signed JWT that is good for at least some seconds to come. Asked for before every use and never kept: it is cached
   * here, and renewed before it expires.
   * @throws {ConnectorError} VAULT_UNAVAILABLE where there is none and Vault gives none
   */
  token(): Promise<string>;
}

/** A JWT as Vault issues it. */
export interface IssuedToken {
  readonly token: string;
  readonly ttlMs: number;
}

export interface IdentityOptions {
  issue(): Promise<IssuedToken>;
  /** Milliseconds on a clock that nobody sets: expiry is told as a duration, so that the time of day does not matter. */
  readonly now: () => number;
  readonly random: Random;
}

/** Nobody is handed a token that might expire on its way. */
const MARGIN_MS = 10_000;

/**
 * Keeps one JWT for all who ask. From half of its life on the next one is fetched behind their backs, so that nobody waits
 * for Vault, and a Vault that is away for less than the other half is not noticed.
 */
export function createIdentity({ issue, now, random }: IdentityOptions): Identity {
  let held: { readonly token: string; renewAt: number; readonly goodUntil: number } | undefined;
  let issuing: Promise<string> | undefined;

  async function fetchToken(): Promise<string> {
    const askedAt = now();
    const { token, ttlMs } = await issue();
    const goodUntil = askedAt + ttlMs - Math.min(MARGIN_MS, ttlMs / 4);
    held = { token, renewAt: askedAt + renewalDelayMs(ttlMs, random), goodUntil };
    return token;
  }
  const fetchOnce = () => (issuing ??= fetchToken().finally(() => (issuing = undefined)));
  /** Whoever issues reports what fails; meanwhile the one at hand is good, and it is tried again a little later. */
  function fetchAhead({ goodUntil }: { readonly goodUntil: number }): void {
    fetchOnce().catch(() => {
      if (held) held.renewAt = now() + renewalRetryDelayMs(goodUntil - now(), random);
    });
  }

  return {
    async token() {
      if (!held || now() >= held.goodUntil) return fetchOnce();
      if (now() >= held.renewAt) fetchAhead(held);
      return held.token;
    },
  };
}
