import nodeVault from 'node-vault';
import { request } from 'undici';
import type { TlsSource } from '../tls/context.ts';
import { tlsTroubleIn } from '../tls/trouble.ts';
import type { VerifyingAgents } from '../tls/undici-agents.ts';
import { verifyingAgents } from '../tls/undici-agents.ts';

/** Where Vault (or OpenBao) is. */
export interface VaultAddress {
  /** Base address, such as https://vault.example.com:8200. */
  readonly address: string;
  /** Whom to trust, and who we are. */
  readonly tls?: TlsSource;
  /** Namespace of Vault Enterprise. */
  readonly namespace?: string;
  /** For the whole of a request; 5 s where it is left out. */
  readonly requestTimeoutMs?: number;
}

/** Single requests, each with the token that it is given. All throw {@link VaultRequestError}. */
export interface VaultRequests {
  get(path: string, token: string): Promise<unknown>;
  list(path: string, token: string): Promise<unknown>;
  /** @param token left out for a login; the answer is undefined where there is no content */
  post(path: string, body: Readonly<Record<string, unknown>>, token?: string): Promise<unknown>;
  close(): Promise<void>;
}

/** Why a request did not succeed. It holds nothing of what was sent or answered: either may be a secret. */
export class VaultRequestError extends Error {
  /** Of Vault's answer; undefined where there was none. */
  readonly status: number | undefined;
  /** For people, as the end of a sentence about Vault. */
  readonly said: string;

  constructor(status: number | undefined, said: string) {
    super(said);
    this.name = 'VaultRequestError';
    this.status = status;
    this.said = said;
  }

  /** Whether Vault says no to who asks, rather than being away or busy. */
  get isRefusal(): boolean {
    return this.status === 400 || this.status === 401 || this.status === 403;
  }
}

const REQUEST_TIMEOUT_MS = 5_000;

/** The one file that knows node-vault. */
export function createRequests(settings: VaultAddress): VaultRequests {
  const agents = verifyingAgents(settings.tls);
  const client = nodeVault({
    endpoint: settings.address,
    // Its debug output has login bodies in it, the secret_id included.
    debug: () => undefined,
    'request-promise': { defaults: () => transport(agents, settings.requestTimeoutMs ?? REQUEST_TIMEOUT_MS) },
  });
  // Without these node-vault would follow VAULT_TOKEN, VAULT_NAMESPACE and VAULT_PREFIX of the environment.
  const { namespace = '' } = settings;
  Object.assign(client, { token: '', namespace, pathPrefix: '' });

  async function send(method: 'GET' | 'POST', path: string, token?: string, json?: unknown): Promise<unknown> {
    try {
      const headers = token === undefined ? {} : { 'X-Vault-Token': token };
      const answer: unknown = await client.request({ path: `/${path}`, method, headers, ...(json ? { json } : {}) });
      return answer;
    } catch (error) {
      throw withoutSecrets(error);
    }
  }
  return {
    get: (path, token) => send('GET', path, token),
    // Not the method LIST, because proxies tend to refuse it.
    list: (path, token) => send('GET', `${path}?list=1`, token),
    post: (path, body, token) => send('POST', path, token, body),
    close: () => agents.close(),
  };
}

interface TransportOptions {
  readonly method: 'GET' | 'POST';
  readonly uri: string;
  readonly headers?: Record<string, string>;
  readonly json?: unknown;
}

/**
 * What node-vault sends its requests through. Its own would follow redirects, also to other hosts and with the token,
 * and has no time-out; undici follows none (a redirect is then an answer that is no success).
 */
function transport(agents: VerifyingAgents, timeoutMs: number) {
  return async ({ method, uri, headers, json }: TransportOptions) => {
    const answer = await request(uri, {
      dispatcher: await agents.current(),
      method,
      headers: { ...headers, 'content-type': 'application/json' },
      body: json === undefined ? null : JSON.stringify(json),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await answer.body.text();
    return { statusCode: answer.statusCode, body: parseBody(text), request: { path: new URL(uri).pathname } };
  };
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // A proxy's page; the status says the rest.
  }
}

function withoutSecrets(error: unknown): VaultRequestError {
  const status = member(member(error, 'response'), 'statusCode');
  if (typeof status === 'number') return new VaultRequestError(status, saidBy(status));
  const code = member(error, 'code');
  const trouble = tlsTroubleIn(error);
  if (trouble !== undefined) return new VaultRequestError(undefined, trouble);
  const kind = typeof code === 'string' ? code : error instanceof Error ? error.name : 'no error';
  return new VaultRequestError(undefined, `no answer (${kind})`);
}

function saidBy(status: number): string {
  if (status === 403) return 'it denied access';
  return status === 503 ? 'it is sealed or not active (503)' : `it answered ${status}`;
}

/** A member of an answer of unknown form. */
export function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
