import { ConnectorError } from '../../domain/errors.ts';
import type { Role } from '../../domain/names.ts';
import { identityRoleOf } from '../../domain/vault-setup.ts';
import { createIdentity } from './identity.ts';
import type { Identity, IssuedToken } from './identity.ts';
import { createRequests, member, VaultRequestError } from './requests.ts';
import type { VaultAddress, VaultRequests } from './requests.ts';
import { secretIdOf } from './secret-id.ts';
import { openSession } from './session.ts';
import type { Grant, Session, SessionEvent } from './session.ts';

/** How to reach Vault (or OpenBao) and who we are there. */
export interface VaultSettings extends VaultAddress {
  readonly auth: VaultAuth;
}

export type VaultAuth =
  | { readonly method: 'token'; readonly token: string }
  | {
      readonly method: 'approle';
      readonly roleId: string;
      readonly secretId: { readonly value: string } | { readonly file: string };
      /** Where what is given is a wrapping token: the path at which it must have been made. */
      readonly wrappedAt?: string;
    };

/** What happened between us and Vault; nothing in it is a secret. */
export type VaultEvent =
  | SessionEvent
  | { readonly kind: 'token-issued'; readonly role: Role; readonly ttlMs: number }
  | {
      readonly kind: 'token-refused';
      readonly role: Role;
      /** Whether Vault said no, rather than being away. */
      readonly isRefusal: boolean;
      readonly said: string;
    };

export interface VaultOptions {
  /** Is told what happens; a token counts once this has resolved. */
  readonly onEvent?: (event: VaultEvent) => Promise<void>;
}

/** What the connector does with Vault. All throw VAULT_UNAVAILABLE; no error carries a secret. */
export interface Vault {
  /** Logs in now instead of with the first use, so that what is wrong with it is known early. */
  logIn(): Promise<void>;
  /** Whether Vault answers and knows us; reads nothing of what it keeps. */
  check(): Promise<void>;
  /** The newest version of a secret's data (KV, version 2); undefined where there is none or it was deleted. */
  readSecret(mount: string, path: string): Promise<Readonly<Record<string, unknown>> | undefined>;
  /** The names of the secrets directly below a path; empty where there is nothing. */
  listSecrets(mount: string, path: string): Promise<string[]>;
  /** Who this cluster and role are towards services outside; `role` is the one whose login this is. */
  identity(role: Role): Identity;
  close(): Promise<void>;
}

/** A client of Vault that logs in when it first has to and then is always logged in. */
export function createVault(settings: VaultSettings, { onEvent = async () => undefined }: VaultOptions = {}): Vault {
  const requests = createRequests(settings);
  const session = sessionOf(settings.auth, requests, onEvent);

  /** @param what as the beginning of a sentence for people */
  async function ask(what: string, call: (token: string) => Promise<unknown>): Promise<unknown> {
    try {
      return await session.authorised(call);
    } catch (error) {
      throw unavailable(what, error);
    }
  }
  /** @returns undefined for 404 */
  const find = (path: string, call: (token: string) => Promise<unknown>) =>
    ask(`Reading ${path}`, (token) =>
      call(token).catch((error: unknown) => {
        if (error instanceof VaultRequestError && error.status === 404) return undefined;
        throw error;
      }),
    );

  async function issue(role: Role): Promise<IssuedToken> {
    const path = `identity/oidc/token/${identityRoleOf(role)}`;
    const answer = member(await ask(`Asking for a token of ${role}`, (token) => requests.get(path, token)), 'data');
    const [token, ttl] = [member(answer, 'token'), member(answer, 'ttl')];
    if (typeof token !== 'string' || typeof ttl !== 'number') {
      throw new ConnectorError('VAULT_UNAVAILABLE', 'What it answered is no token.');
    }
    const ttlMs = ttl * 1000;
    await onEvent({ kind: 'token-issued', role, ttlMs });
    return { token, ttlMs };
  }

  /** Issues and tells; the same failure again is no news. */
  function issuerOf(role: Role): () => Promise<IssuedToken> {
    let told: string | undefined;
    return async () => {
      try {
        const issued = await issue(role);
        told = undefined;
        return issued;
      } catch (error) {
        const said = error instanceof ConnectorError ? error.detail : 'something went wrong inside';
        const cause = error instanceof ConnectorError ? error.cause : undefined;
        const isRefusal = cause instanceof VaultRequestError && cause.isRefusal;
        if (said !== told) await onEvent({ kind: 'token-refused', role, isRefusal, said }).catch(() => undefined);
        told = said;
        throw error;
      }
    };
  }

  return {
    async logIn() {
      await ask('Logging in', () => Promise.resolve(undefined));
    },
    async check() {
      await ask('Asking who we are', (token) => requests.get('auth/token/lookup-self', token));
    },
    async readSecret(mount, path) {
      const answer = await find(path, (token) => requests.get(`${mount}/data/${encodePath(path)}`, token));
      const data = member(member(answer, 'data'), 'data');
      return typeof data === 'object' && data !== null ? { ...data } : undefined;
    },
    async listSecrets(mount, path) {
      const answer = await find(path, (token) => requests.list(`${mount}/metadata/${encodePath(path)}`, token));
      const names = member(member(answer, 'data'), 'keys');
      if (answer !== undefined && !Array.isArray(names)) throw unavailable(`Reading ${path}`, undefined);
      return (Array.isArray(names) ? names : []).filter((name) => typeof name === 'string' && !name.endsWith('/'));
    },
    identity: (role) => createIdentity({ issue: issuerOf(role), now, random: Math.random }),
    async close() {
      await session.close();
      await requests.close();
    },
  };
}

/** Durations are all that Vault's answers are used for, so the time of day may be wrong, or be set, without harm. */
const now = () => performance.now();

function sessionOf(auth: VaultAuth, requests: VaultRequests, onEvent: (event: VaultEvent) => Promise<void>): Session {
  if (auth.method === 'token') {
    return { authorised: (call) => call(auth.token), close: () => Promise.resolve() };
  }
  const { roleId: role_id, secretId: source, wrappedAt } = auth;
  return openSession({
    secretId: secretIdOf({ source, requests, ...(wrappedAt !== undefined && { wrappedAt }) }),
    logIn: async (secret_id) => {
      try {
        return grantIn(await requests.post('auth/approle/login', { role_id, secret_id }));
      } catch (error) {
        if (!(error instanceof VaultRequestError && error.isRefusal)) throw error;
        throw new VaultRequestError(error.status, 'it refused the role_id or the secret_id');
      }
    },
    renew: async (token) => grantIn(await requests.post('auth/token/renew-self', {}, token)),
    isAlive: (token) =>
      requests.get('auth/token/lookup-self', token).then(
        () => true,
        (error: unknown) => {
          if (error instanceof VaultRequestError && error.status === 403) return false;
          throw error;
        },
      ),
    revoke: async (token) => void (await requests.post('auth/token/revoke-self', {}, token)),
    onEvent,
    now,
    random: Math.random,
  });
}

function grantIn(answer: unknown): Grant {
  const auth = member(answer, 'auth');
  const token = member(auth, 'client_token');
  const seconds = member(auth, 'lease_duration');
  const entityId = member(auth, 'entity_id');
  if (typeof token !== 'string' || token === '' || typeof seconds !== 'number') {
    throw new VaultRequestError(undefined, 'what it answered is no token');
  }
  return {
    token,
    // A lease of 0 s is Vault's word for a token without an end.
    ttlMs: seconds === 0 ? Infinity : seconds * 1000,
    renewable: member(auth, 'renewable') === true,
    ...(typeof entityId === 'string' && entityId !== '' && { entityId }),
  };
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

function unavailable(what: string, error: unknown): ConnectorError {
  if (error instanceof ConnectorError) return error;
  const said = error instanceof VaultRequestError ? error.said : 'what it answered cannot be understood';
  return new ConnectorError('VAULT_UNAVAILABLE', `${what}: ${said}.`, { cause: error });
}
