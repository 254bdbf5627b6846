import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { createSecureContext } from 'node:tls';
import type { Cluster, User } from '@kubernetes/client-node';
import { ConnectorError } from '../../domain/errors.ts';
import { whyUnreadable } from '../../domain/why-unreadable.ts';

/** How long credentials are used before `KubeConfig` is asked again: tokens and certificates rotate on disk. */
const MAX_AGE_MS = 10_000;

export interface Credentials {
  /** For the connection; the same object as long as nothing in it changes. */
  readonly tls: Readonly<Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'passphrase'>> & { readonly servername?: string };
  /** For each request; the bearer token, where there is one. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Whose credentials they are: what is needed of a `KubeConfig`. */
export interface KubeAccess {
  getCurrentCluster(): Pick<Cluster, 'name' | 'server' | 'skipTLSVerify' | 'proxyUrl'> | null;
  applyToHTTPSOptions(options: RequestOptions & { servername?: string }): Promise<void>;
  /** Where the token may be in a file that is replaced. */
  getCurrentUser?(): Pick<User, 'authProvider'> | null;
  /** Told that the API server did not accept the credentials, before it is asked for others. */
  onRefused?(): void;
}

export interface CredentialSource {
  /** The API server's address. */
  readonly server: string;
  /** Credentials that are at most 10 s old; fresh ones where `renew` is set. */
  current(renew?: boolean): Promise<Credentials>;
}

/**
 * Takes the credentials of the current context of a `KubeConfig`, with its own means of authentication.
 * @throws {ConnectorError} CONFIG_INVALID without a cluster, without TLS verification, without TLS at all, or behind a
 * proxy (no option of the connector turns verification off, and one in a kubeconfig is not obeyed either).
 */
export function createCredentialSource(kubeConfig: KubeAccess): CredentialSource {
  const cluster = kubeConfig.getCurrentCluster();
  if (!cluster) throw new ConnectorError('CONFIG_INVALID', 'The kubeconfig names no cluster in its current context.');
  const refuse = (what: string) => new ConnectorError('CONFIG_INVALID', `The kubeconfig of ${cluster.server} ${what}.`);
  if (cluster.skipTLSVerify) throw refuse('turns TLS verification off (insecure-skip-tls-verify)');
  if (!cluster.server.startsWith('https://')) throw refuse('does not use https');
  if (cluster.proxyUrl) throw refuse('asks for a proxy (proxy-url), which is not supported');

  let last: { credentials: Credentials; fingerprint: string; at: number } | undefined;
  return {
    server: cluster.server,
    async current(renew = false) {
      const now = performance.now();
      if (last && !renew && now - last.at < MAX_AGE_MS) return last.credentials;
      const options: RequestOptions & { servername?: string } = {};
      if (renew) kubeConfig.onRefused?.();
      try {
        await kubeConfig.applyToHTTPSOptions(options);
      } catch (cause) {
        if (cause instanceof ConnectorError) throw cause;
        const { path } = cause as NodeJS.ErrnoException; // where it is the file system's
        const why = path === undefined ? '' : ` It names ${path}: ${whyUnreadable(cause)}.`;
        const text = `The credentials of the kubeconfig cannot be had.${why}`;
        throw new ConnectorError('CONFIG_INVALID', text, { cause });
      }
      const { ca, cert, key, passphrase, servername, auth } = options;
      const tls = definedOnly({ ca, cert, key, passphrase, servername });
      const fingerprint = JSON.stringify(tls);
      const headers: Record<string, string> = {};
      for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = String(value);
      // The library reads the file of a token once a minute; whoever asks anew has just been refused with what it knows.
      const token = renew && (await tokenInFile(kubeConfig));
      if (token) headers['authorization'] = `Bearer ${token}`;
      if (auth) headers['authorization'] = `Basic ${Buffer.from(auth).toString('base64')}`;
      // While certificate and key are being replaced one may be older than the other: what was before serves on.
      const isKept = last !== undefined && (last.fingerprint === fingerprint || !isPair(tls));
      const kept = isKept ? last : undefined;
      const counts = kept ? kept.credentials.tls : tls;
      last = { credentials: { tls: counts, headers }, fingerprint: kept?.fingerprint ?? fingerprint, at: now };
      return last.credentials;
    },
  };
}

function isPair({ cert, key, passphrase }: Credentials['tls']): boolean {
  try {
    createSecureContext(definedOnly({ cert, key, passphrase }));
    return true;
  } catch {
    return false;
  }
}

/** The token as it is on disk now, where the kubeconfig takes it from there, as in a pod. */
async function tokenInFile(kubeConfig: KubeAccess): Promise<string | undefined> {
  const { name, config } = (kubeConfig.getCurrentUser?.()?.authProvider ?? {}) as TokenFile;
  if (name !== 'tokenFile' || config?.tokenFile === undefined) return undefined;
  try {
    return (await readFile(config.tokenFile, 'utf8')).trim();
  } catch {
    return undefined; // the library says what is wrong with it
  }
}

/** How the client library notes the account of a pod. */
interface TokenFile {
  readonly name?: string;
  readonly config?: { readonly tokenFile?: string };
}

function definedOnly<T extends object>(record: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>; // only undefined values were dropped
  };
}
