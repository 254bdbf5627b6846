import { nearsMaximum, refusalDelayMs, renewalDelayMs, renewalRetryDelayMs } from '../../domain/lease.ts';
import type { Random } from '../../domain/lease.ts';
import { VaultRequestError } from './requests.ts';
import type { SecretId } from './secret-id.ts';

/** A token as Vault grants or renews it. */
export interface Grant {
  readonly token: string;
  readonly ttlMs: number;
  readonly renewable: boolean;
  readonly entityId?: string;
}

/** Why there was a login: there was no token, or the one there was ran out, was refused, or nears its maximum TTL. */
export type LoginReason = 'start' | 'expired' | 'refused' | 'maximum';

/** What others may want to know of a session; nothing in it is a secret. */
export type SessionEvent =
  | { readonly kind: 'logged-in'; readonly why: LoginReason; readonly ttlMs: number; readonly entityId?: string }
  | { readonly kind: 'login-failed'; readonly isRefusal: boolean; readonly said: string }
  | { readonly kind: 'renewal-failed'; readonly said: string };

export interface SessionOptions {
  readonly secretId: SecretId;
  logIn(secretId: string): Promise<Grant>;
  renew(token: string): Promise<Grant>;
  /** Whether Vault knows the token, whatever it may do. */
  isAlive(token: string): Promise<boolean>;
  revoke(token: string): Promise<void>;
  /** A login counts once this has resolved. */
  onEvent(event: SessionEvent): Promise<void>;
  /** Milliseconds on a clock that nobody sets. */
  readonly now: () => number;
  readonly random: Random;
}

/** Keeps a token that is good: it is renewed long before it expires, and replaced before it can be renewed no more. */
export interface Session {
  /** Calls with a good token; where Vault no longer knows it, once again with another. Throws what `call` throws. */
  authorised<T>(call: (token: string) => Promise<T>): Promise<T>;
  /** Gives the token back. */
  close(): Promise<void>;
}

interface Lease extends Grant {
  readonly firstTtlMs: number;
  readonly expiresAt: number;
}

interface Refusal {
  readonly secretId: string;
  readonly count: number;
  readonly until: number;
  readonly error: VaultRequestError;
}

/** How long after a login that failed, with no token left and no refusal, it is tried again with nobody asking, ms. */
const AWAY_RETRY_MS = 10_000;

/** Logs in when it is first used. */
export function openSession(options: SessionOptions): Session {
  const { now, random } = options;
  let lease: Lease | undefined;
  let refusal: Refusal | undefined;
  /** What was told last of logins and of renewals: the same again is no news. */
  let toldFailure: string | undefined;
  let toldRenewal: string | undefined;
  let loggingIn: Promise<Lease> | undefined;
  let probing: { readonly lease: Lease; readonly isAlive: Promise<boolean> } | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  /** All who need a login at one time share it. */
  function logIn(why: LoginReason): Promise<Lease> {
    return (loggingIn ??= attempt(why).finally(() => (loggingIn = undefined)));
  }

  async function attempt(why: LoginReason): Promise<Lease> {
    const askedAt = now();
    let secretId: string | undefined;
    try {
      secretId = await options.secretId();
      if (refusal?.secretId === secretId && askedAt < refusal.until) throw refusal.error;
      const grant = await options.logIn(secretId);
      const { ttlMs, entityId } = grant;
      await options.onEvent({ kind: 'logged-in', why, ttlMs, ...(entityId !== undefined && { entityId }) });
      refusal = toldFailure = toldRenewal = undefined;
      return hold({ ...grant, firstTtlMs: ttlMs, expiresAt: askedAt + ttlMs });
    } catch (error) {
      if (error instanceof VaultRequestError && error !== refusal?.error) await failed(error, secretId);
      comeBack(loginRetryDelayMs());
      throw error;
    }
  }

  function loginRetryDelayMs(): number {
    if (refusal && now() < refusal.until) return refusal.until - now();
    const remainingMs = lease ? lease.expiresAt - now() : 0;
    return remainingMs > 0 ? renewalRetryDelayMs(remainingMs, random) : AWAY_RETRY_MS * (1 - random() / 4);
  }

  async function failed(error: VaultRequestError, secretId: string | undefined): Promise<void> {
    const { isRefusal, said } = error;
    if (isRefusal && secretId !== undefined) {
      const count = (refusal?.count ?? 0) + 1;
      refusal = { secretId, count, until: now() + refusalDelayMs(count, random), error };
    }
    // Each refusal is told; that Vault is away is told once.
    if (refusal?.error === error || said !== toldFailure) {
      toldFailure = said;
      await options.onEvent({ kind: 'login-failed', isRefusal, said }).catch(() => undefined);
    }
  }

  function hold(next: Lease): Lease {
    lease = next;
    comeBack(renewalDelayMs(next.ttlMs, random));
    return next;
  }

  function comeBack(delayMs: number): void {
    clearTimeout(timer);
    if (isClosed) return;
    timer = setTimeout(() => void keepFresh(), delayMs);
    timer.unref(); // A command that has done its work ends.
  }

  /** Run by the timer. What fails was told, and the timer is set again. */
  async function keepFresh(): Promise<void> {
    const held = lease;
    if (!held || now() >= held.expiresAt) return logInQuietly(held ? 'expired' : 'start');
    if (!held.renewable) return logInQuietly('maximum');
    const askedAt = now();
    try {
      const grant = await options.renew(held.token);
      if (lease !== held) return; // Somebody logged in meanwhile.
      toldRenewal = undefined;
      const renewed = hold({ ...held, ...grant, expiresAt: askedAt + grant.ttlMs });
      if (nearsMaximum(renewed)) await logInQuietly('maximum');
    } catch (error) {
      const said = error instanceof VaultRequestError ? error.said : 'it cannot be renewed';
      if (said !== toldRenewal) await options.onEvent({ kind: 'renewal-failed', said }).catch(() => undefined);
      toldRenewal = said;
      if (lease !== held) return;
      if (error instanceof VaultRequestError && error.isRefusal) return logInQuietly('refused');
      comeBack(renewalRetryDelayMs(held.expiresAt - now(), random));
    }
  }

  async function logInQuietly(why: LoginReason): Promise<void> {
    await logIn(why).catch(() => undefined);
  }

  async function current(): Promise<Lease> {
    if (!lease) return logIn('start');
    return now() < lease.expiresAt ? lease : logIn('expired');
  }

  /**
   * What to try again with after Vault denied access; undefined where it knows the token, so that the path is what it
   * denies. A thousand calls that are denied together ask once, and log in at most once.
   */
  async function replacementOf(used: Lease): Promise<Lease | undefined> {
    if (lease === used || lease?.token === used.token) {
      if (probing?.lease !== used) {
        const isAlive = options.isAlive(used.token).finally(() => (probing = undefined));
        probing = { lease: used, isAlive };
      }
      if (await probing.isAlive) return undefined;
    }
    return lease?.token === used.token ? logIn('refused') : current();
  }

  return {
    async authorised(call) {
      const used = await current();
      try {
        return await call(used.token);
      } catch (error) {
        if (!(error instanceof VaultRequestError && error.status === 403)) throw error;
        const other = await replacementOf(used);
        if (!other) throw error;
        return call(other.token);
      }
    },
    async close() {
      isClosed = true;
      clearTimeout(timer);
      await loggingIn?.catch(() => undefined);
      const held = lease;
      lease = undefined;
      if (held && now() < held.expiresAt) await options.revoke(held.token).catch(() => undefined);
    },
  };
}
