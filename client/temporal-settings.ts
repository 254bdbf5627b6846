import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { ConnectorError } from '../domain/errors.ts';
import { isLoopback } from '../domain/encrypted-or-local.ts';
import type { Environment } from '../domain/tls-settings.ts';
import { refuseUnverified } from '../domain/tls-settings.ts';
import { whyUnreadable } from '../domain/why-unreadable.ts';

type ConnectionOptions = ReturnType<typeof loadClientConnectConfig>['connectionOptions'];

const DEFAULT_PORT = 7233;
export const DEFAULT_ADDRESS = `localhost:${DEFAULT_PORT}`;
export const DEFAULT_NAMESPACE = 'default';

/** How to reach Temporal, as the environment and the profile's files say it at the moment. */
export interface TemporalSettings {
  /** `host:port`. */
  readonly address: string;
  readonly namespace: string;
  readonly connectionOptions: ConnectionOptions & { readonly address: string };
  /** Of all that certificates are, and the API key: another one means that something has changed. */
  readonly fingerprint: string;
}

/** Certificates as Temporal's connections take them. */
export interface TemporalTls {
  readonly serverNameOverride?: string | null;
  readonly serverRootCACertificate?: Uint8Array | null;
  readonly clientCertPair?: { readonly crt: Uint8Array; readonly key: Uint8Array } | null;
}

/**
 * Reads what every Temporal client reads (`@temporalio/envconfig`): `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_TLS_…`,
 * API key, profiles; and `TEMPORAL_API_KEY_FILE`, a file with the key. Nothing travels in clear, except on this machine.
 * @throws {ConnectorError} CONFIG_INVALID
 */
export function readTemporalSettings(env: Environment): TemporalSettings {
  refuseUnverified(env);
  // A default in its place would be another Temporal.
  const { TEMPORAL_CONFIG_FILE: file } = env;
  if (file && !existsSync(file))
    throw new ConnectorError('CONFIG_INVALID', `TEMPORAL_CONFIG_FILE names ${file}: it does not exist.`);
  // An empty variable is how shells and charts say "not set".
  const set = Object.entries(env).filter((entry): entry is [string, string] => Boolean(entry[1]));
  const { connectionOptions, namespace } = load(withApiKey(Object.fromEntries(set)));
  const { address = DEFAULT_ADDRESS, tls } = connectionOptions;
  if (!tls && !isLoopback(placeOf(address).host)) {
    const text = `TEMPORAL_ADDRESS (${address}) is not on this machine, so TLS must be on: TEMPORAL_TLS, or TEMPORAL_TLS_…`;
    throw new ConnectorError('CONFIG_INVALID', `${text}.`);
  }
  const certificates = temporalTlsOf(connectionOptions);
  assertPair(certificates);
  return {
    address,
    namespace: namespace ?? DEFAULT_NAMESPACE,
    connectionOptions: { ...connectionOptions, address },
    fingerprint: fingerprintOf(certificates, connectionOptions.apiKey),
  };
}

/** Host and port of Temporal's address. It is no URL: one with https would lose the port 443. */
export function placeOf(address: string): { readonly host: string; readonly port: number } {
  const [, host = address, port = DEFAULT_PORT] = /^(.*?)(?::(\d+))?$/.exec(address) ?? [];
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}

/** The certificates of connection options; empty where TLS stands without any. */
export function temporalTlsOf({ tls }: ConnectionOptions): TemporalTls {
  return typeof tls === 'object' && tls !== null ? tls : {};
}

/** A key in a file can be another one tomorrow; what is in the environment stays what it was. */
function withApiKey({ TEMPORAL_API_KEY_FILE: file, ...env }: Record<string, string>): Record<string, string> {
  if (file === undefined) return env;
  const invalid = (text: string, cause?: unknown) => new ConnectorError('CONFIG_INVALID', text, { cause });
  if (env['TEMPORAL_API_KEY'] !== undefined)
    throw invalid('Of TEMPORAL_API_KEY and TEMPORAL_API_KEY_FILE only one may be set.');
  const named = `TEMPORAL_API_KEY_FILE names ${file}`;
  try {
    const key = readFileSync(file, 'utf8').trim();
    if (API_KEY.test(key)) return { ...env, TEMPORAL_API_KEY: key };
  } catch (cause) {
    throw invalid(`${named}: ${whyUnreadable(cause)}.`, cause);
  }
  throw invalid(`${named}, which holds no API key.`);
}

/** What an HTTP header can carry of one. */
const API_KEY = /^[\x21-\x7e]+$/;

function load(overrideEnvVars: Record<string, string>) {
  try {
    return loadClientConnectConfig({ overrideEnvVars });
  } catch (cause) {
    const { path, message } = cause as NodeJS.ErrnoException; // Node's, or one of the library's
    if (path !== undefined) throw unreadable(overrideEnvVars, path, cause);
    const text = 'The settings of Temporal (TEMPORAL_…, or its configuration file) cannot be used';
    throw new ConnectorError('CONFIG_INVALID', `${text}: ${message}.`, { cause });
  }
}

function unreadable(env: Environment, path: string, cause: unknown): ConnectorError {
  const setting = Object.keys(env).find((name) => name.startsWith('TEMPORAL_') && env[name] === path);
  const subject = setting ? `${setting} names ${path}` : `Temporal's configuration file names ${path}`;
  return new ConnectorError('CONFIG_INVALID', `${subject}: ${whyUnreadable(cause)}.`, { cause });
}

/** While both files are being replaced one may be older than the other. */
function assertPair({ clientCertPair, serverRootCACertificate }: TemporalTls): void {
  try {
    if (serverRootCACertificate) new X509Certificate(serverRootCACertificate);
    if (!clientCertPair) return;
    const { crt, key } = clientCertPair;
    if (new X509Certificate(crt).checkPrivateKey(createPrivateKey(Buffer.from(key)))) return;
  } catch (cause) {
    throw new ConnectorError('CONFIG_INVALID', 'A file of TEMPORAL_TLS_… holds no certificate, or no key.', { cause });
  }
  throw new ConnectorError('CONFIG_INVALID', 'The key of TEMPORAL_TLS_CLIENT_KEY_… is not that of the certificate.');
}

function fingerprintOf({ serverRootCACertificate, clientCertPair }: TemporalTls, apiKey: string | undefined): string {
  const hash = createHash('sha256');
  for (const part of [serverRootCACertificate, clientCertPair?.crt, clientCertPair?.key, apiKey]) {
    hash.update(`${part?.length ?? 'none'}\n`).update(part ?? '');
  }
  return hash.digest('hex');
}
