import { z } from 'zod';
import type { TlsSource } from '../../activities/tls/context.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { isEncryptedOrLocal } from '../../domain/encrypted-or-local.ts';
import type { TlsFiles } from '../../domain/tls-settings.ts';
import { setting } from '../settings/setting.ts';

const text = z.string().min(1).optional();

/** Settings of the agent's HTTP API; it is there only where BYOC_AGENT_PORT is set. */
export const AGENT_SETTINGS = {
  BYOC_AGENT_PORT: setting(z.coerce.number().int().min(0).max(65_535).optional(), {
    means: "port of the [agent's HTTP API](agent.md), 8005 by convention; 0 takes any free one",
    otherwise: 'there is none',
  }),
  BYOC_AGENT_HOST: setting(text, { means: 'address to listen on', otherwise: 'all with TLS, 127.0.0.1 without' }),
  BYOC_AGENT_TLS_CERT: setting(text, {
    needed: 'in production',
    means: 'certificate with its chain: a file in PEM, read again when it changes',
  }),
  BYOC_AGENT_TLS_KEY: setting(text, { needed: 'in production', means: 'and its key' }),
  BYOC_AGENT_CLIENT_CA: setting(text, {
    means: 'lets in clients with a certificate of this authority (a file in PEM)',
  }),
  BYOC_AGENT_CLIENT_NAMES: setting(
    z
      .string()
      .transform((names) => names.split(',').map((name) => name.trim()))
      .pipe(z.array(z.string().regex(/^(URI|DNS|email):[^\s"]+$/, 'must be names such as DNS:cp.example.com')).min(1))
      .optional(),
    {
      needed: 'with `BYOC_AGENT_CLIENT_CA`',
      means: 'and one of these alternative names: `URI:spiffe://acme/control-plane,DNS:cp.example.com`',
    },
  ),
  BYOC_AGENT_JWT_ISSUER: setting(text, {
    means: 'lets in callers with a token of this issuer, exactly as it stands in them',
  }),
  BYOC_AGENT_JWT_KEYS: setting(text, {
    needed: 'with `BYOC_AGENT_JWT_ISSUER`',
    means: 'URL or file of the keys that sign them (JWKS, RFC 7517)',
  }),
  BYOC_AGENT_JWT_AUDIENCE: setting(text, {
    means: 'audience of the tokens',
    otherwise: `\`${audienceOf('<cluster>')}\``,
  }),
  BYOC_AGENT_RATE: setting(z.coerce.number().int().min(1).max(100_000).default(60), {
    means: 'packages that one caller may send in a minute',
  }),
  NODE_ENV: setting(z.string().optional(), {
    means:
      '`production`, which the image sets, refuses what is for development: an agent or codec server without TLS, a process without named roles, a cluster without a name',
  }),
};

type AgentSettings = z.infer<z.ZodObject<typeof AGENT_SETTINGS>>;

/** What the agent shows its callers, and how it knows them. */
export interface ServerFiles {
  readonly certPath: string;
  readonly keyPath: string;
  readonly clientCaPath: string | undefined;
}

export interface JwtSettings {
  readonly issuer: string;
  readonly audience: string;
  readonly keys: { readonly url: string; readonly tls: TlsSource } | { readonly path: string };
}

export interface AgentConfig {
  readonly host: string;
  readonly port: number;
  /** Plain HTTP, on this machine only, where it is left out. */
  readonly tls: ServerFiles | undefined;
  readonly clientNames: readonly string[] | undefined;
  readonly jwt: JwtSettings | undefined;
  readonly packagesPerMinute: number;
}

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

/**
 * @param keysTls the files of the server with the keys of callers
 * @returns undefined where no port is set
 * @throws {ConnectorError} CONFIG_INVALID for settings that don't go together
 */
export function agentConfigOf(settings: AgentSettings, clusterId: string, keysTls: TlsFiles): AgentConfig | undefined {
  const { BYOC_AGENT_PORT: port, BYOC_AGENT_HOST: host, BYOC_AGENT_RATE: packagesPerMinute } = settings;
  if (port === undefined) return undefined;
  const tls = tlsOf(settings);
  if (!tls && settings.NODE_ENV === 'production') {
    throw invalid('BYOC_AGENT_TLS_CERT and BYOC_AGENT_TLS_KEY must be set; plain HTTP is for development.');
  }
  if (!tls && host !== undefined && !LOOPBACK.includes(host)) {
    throw invalid('BYOC_AGENT_HOST must be 127.0.0.1 without BYOC_AGENT_TLS_CERT: nothing travels in clear.');
  }
  return {
    host: host ?? (tls ? '::' : '127.0.0.1'),
    port,
    tls,
    clientNames: settings.BYOC_AGENT_CLIENT_NAMES,
    jwt: jwtOf(settings, clusterId, keysTls),
    packagesPerMinute,
  };
}

function audienceOf(clusterId: string): string {
  return `byoc/${clusterId}`;
}

function tlsOf(settings: AgentSettings): ServerFiles | undefined {
  const { BYOC_AGENT_TLS_CERT: certPath, BYOC_AGENT_TLS_KEY: keyPath, BYOC_AGENT_CLIENT_CA: clientCaPath } = settings;
  if ((certPath === undefined) !== (keyPath === undefined)) {
    throw invalid('BYOC_AGENT_TLS_CERT and BYOC_AGENT_TLS_KEY must be set together.');
  }
  if ((clientCaPath === undefined) !== (settings.BYOC_AGENT_CLIENT_NAMES === undefined)) {
    throw invalid('BYOC_AGENT_CLIENT_CA and BYOC_AGENT_CLIENT_NAMES must be set together.');
  }
  if (certPath !== undefined && keyPath !== undefined) return { certPath, keyPath, clientCaPath };
  if (clientCaPath === undefined) return undefined;
  throw invalid('BYOC_AGENT_CLIENT_CA needs BYOC_AGENT_TLS_CERT: without TLS there are no certificates of clients.');
}

function jwtOf(settings: AgentSettings, clusterId: string, tls: TlsFiles): JwtSettings | undefined {
  const { BYOC_AGENT_JWT_ISSUER: issuer, BYOC_AGENT_JWT_KEYS: keys } = settings;
  if ((issuer === undefined) !== (keys === undefined)) {
    throw invalid('BYOC_AGENT_JWT_ISSUER and BYOC_AGENT_JWT_KEYS must be set together.');
  }
  if (issuer === undefined || keys === undefined) return undefined;
  const audience = settings.BYOC_AGENT_JWT_AUDIENCE ?? audienceOf(clusterId);
  if (!/^[a-z][a-z+.-]*:\/\//i.test(keys)) return { issuer, audience, keys: { path: keys } };
  if (!isEncryptedOrLocal(keys)) throw invalid('BYOC_AGENT_JWT_KEYS must be https, except on this machine.');
  return { issuer, audience, keys: { url: keys, tls } };
}

function invalid(detail: string): ConnectorError {
  return new ConnectorError('CONFIG_INVALID', detail);
}
