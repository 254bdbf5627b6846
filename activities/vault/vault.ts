import nodeVault from 'node-vault';
import { Agent, request } from 'undici';
import { ConnectorError } from '../../domain/errors.ts';

/** How to reach Vault (or OpenBao) and who we are there. */
export interface VaultSettings {
  /** Base address, such as https://vault.example.com:8200. */
  readonly address: string;
  readonly auth: VaultAuth;
  /** Certificate authorities in PEM that replace the built-in ones; for a Vault with a private authority. */
  readonly ca?: string;
  /** For the whole of a request; 5 s where it is left out. */
  readonly requestTimeoutMs?: number;
}

export type VaultAuth =
  | { readonly method: 'token'; readonly token: string }
  | { readonly method: 'approle'; readonly roleId: string; readonly secretId: string };

/** What the connector reads of Vault's KV engine, version 2. All throw VAULT_UNAVAILABLE; no error carries a secret. */
export interface Vault {
  /** The newest version of a secret's data; undefined where there is none or it was deleted. */
  readSecret(mount: string, path: string): Promise<Readonly<Record<string, unknown>> | undefined>;
  /** The names of the secrets directly below a path; empty where there is nothing. */
  listSecrets(mount: string, path: string): Promise<string[]>;
  close(): Promise<void>;
}

const REQUEST_TIMEOUT_MS = 5_000;

/**
 * Refuses an environment that would turn the verification of Vault's certificate off: node-vault reads the variable
 * by itself, and other programs of the same pod would follow it.
 * @throws {ConnectorError} CONFIG_INVALID
 */
export function refuseSkipVerify(env: Readonly<Record<string, string | undefined>>): void {
  if (env['VAULT_SKIP_VERIFY'] === undefined) return;
  throw new ConnectorError('CONFIG_INVALID', 'VAULT_SKIP_VERIFY is set; certificates are always verified. Unset it.');
}

/** A client of Vault that logs in when it first has to, and again when its token is refused. */
export function createVault(settings: VaultSettings): Vault {
  const agent = new Agent({ connect: settings.ca === undefined ? {} : { ca: settings.ca } });
  const client = nodeVault({
    endpoint: settings.address,
    // Its debug output has login bodies in it, the secret_id included.
    debug: () => undefined,
    // `?list=1`, because proxies tend to refuse the method LIST.
    noCustomHTTPVerbs: true,
    'request-promise': { defaults: () => transport(agent, settings.requestTimeoutMs ?? REQUEST_TIMEOUT_MS) },
  });
  // Without this node-vault would use VAULT_TOKEN of the environment.
  client.token = settings.auth.method === 'token' ? settings.auth.token : '';

  async function logIn(): Promise<void> {
    if (settings.auth.method !== 'approle') return;
    const { roleId, secretId } = settings.auth;
    client.token = '';
    const answer: unknown = await client.write('auth/approle/login', { role_id: roleId, secret_id: secretId });
    const token = member(member(answer, 'auth'), 'client_token');
    if (typeof token !== 'string') throw new ConnectorError('VAULT_UNAVAILABLE', 'The login gave no token.');
    client.token = token;
  }

  /** @returns undefined for 404 */
  async function get(path: string, read: () => Promise<unknown>): Promise<unknown> {
    try {
      if (client.token === '') await logIn();
      try {
        return await read();
      } catch (error) {
        if (statusOf(error) !== 403 || settings.auth.method !== 'approle') throw error;
        await logIn(); // The token may have reached the end of its life.
        return await read();
      }
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw unavailable(path, error);
    }
  }

  return {
    async readSecret(mount, path) {
      const answer = await get(path, () => client.read(`${mount}/data/${encodePath(path)}`));
      const data = member(member(answer, 'data'), 'data');
      return typeof data === 'object' && data !== null ? { ...data } : undefined;
    },
    async listSecrets(mount, path) {
      const answer = await get(path, () => client.list(`${mount}/metadata/${encodePath(path)}`));
      const names = member(member(answer, 'data'), 'keys');
      if (answer !== undefined && !Array.isArray(names)) throw unavailable(path, undefined);
      return (Array.isArray(names) ? names : []).filter((name) => typeof name === 'string' && !name.endsWith('/'));
    },
    close: () => agent.close(),
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
function transport(agent: Agent, timeoutMs: number) {
  return async ({ method, uri, headers, json }: TransportOptions) => {
    const answer = await request(uri, {
      dispatcher: agent,
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

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

function unavailable(path: string, error: unknown): ConnectorError {
  if (error instanceof ConnectorError) return error;
  const status = statusOf(error);
  const said = status === 403 ? 'it denied access' : status === undefined ? 'no answer' : `it answered ${status}`;
  // Only the kind of error: the rest of it may hold requests and answers.
  const cause = new Error(error instanceof Error ? `${error.name}: ${codeOf(error) ?? 'no code'}` : 'no error');
  return new ConnectorError('VAULT_UNAVAILABLE', `Reading ${path}: ${said}.`, { cause });
}

function statusOf(error: unknown): number | undefined {
  const status = member(member(error, 'response'), 'statusCode');
  return typeof status === 'number' ? status : undefined;
}

function codeOf(error: Error): string | undefined {
  const code = member(error, 'code');
  return typeof code === 'string' ? code : undefined;
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
