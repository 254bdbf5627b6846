import { z } from 'zod';
import type { VaultSettings } from '../../activities/vault/vault.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { CLUSTER_ID } from '../../domain/names.ts';
import { isEncryptedOrLocal } from '../../domain/encrypted-or-local.ts';
import type { TlsFiles } from '../../domain/tls-settings.ts';
import { tlsFilesOf } from '../../domain/tls-settings.ts';
import type { JwtSettings, ServerFiles } from '../agent/settings.ts';
import { setting } from '../settings/setting.ts';
import { readVaultSettings } from '../vault-settings.ts';

const text = z.string().min(1).optional();

/** Settings of the codec server alone. */
export const CODEC_SETTINGS = {
  BYOC_CODEC_PORT: setting(z.coerce.number().int().min(0).max(65_535).default(8006), {
    means: 'port of the [codec server](data-protection.md#the-codec-server)',
  }),
  BYOC_CODEC_HOST: setting(text, { means: 'address to listen on', otherwise: 'all with TLS, 127.0.0.1 without' }),
  BYOC_CODEC_TLS_CERT: setting(text, {
    needed: 'except on this machine',
    means: 'certificate with its chain: a file in PEM, read again when it changes',
  }),
  BYOC_CODEC_TLS_KEY: setting(text, { needed: 'except on this machine', means: 'and its key' }),
  BYOC_CODEC_ORIGINS: setting(
    z
      .string()
      .transform((origins) => origins.split(',').map((origin) => origin.trim()))
      .pipe(z.array(z.string().regex(/^https?:\/\/[^/\s]+$/, 'must be origins such as https://temporal.example.com')))
      .default([]),
    { means: 'origins of the Temporal UI, with commas between: pages from elsewhere are shown nothing' },
  ),
  BYOC_CODEC_JWT_ISSUER: setting(text, {
    needed: 'except on this machine',
    means: 'issuer of the tokens of those who may read payloads, exactly as it stands in them',
  }),
  BYOC_CODEC_JWT_KEYS: setting(text, {
    needed: 'with `BYOC_CODEC_JWT_ISSUER`',
    means: 'URL or file of the keys that sign them (JWKS, RFC 7517)',
  }),
  BYOC_CODEC_JWT_AUDIENCE: setting(text, {
    means: 'audience of the tokens',
    otherwise: `\`${audienceOf('<cluster>')}\``,
  }),
};

const settingsSchema = z.object({
  BYOC_CLUSTER_ID: z.string().regex(CLUSTER_ID, 'must be a DNS label'),
  ...CODEC_SETTINGS,
  NODE_ENV: z.string().optional(),
});

type Settings = z.infer<typeof settingsSchema>;

export interface CodecServerConfig {
  readonly clusterId: string;
  readonly host: string;
  readonly port: number;
  /** Plain HTTP, on this machine only, where it is left out. */
  readonly tls: ServerFiles | undefined;
  readonly origins: readonly string[];
  /** Left out in development, on this machine: then whoever is on it is shown everything. */
  readonly jwt: JwtSettings | undefined;
  readonly vault: VaultSettings;
}

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

/** @throws {ConnectorError} CONFIG_INVALID, naming what is wrong */
export function readCodecServerConfig(env: Readonly<Record<string, string | undefined>>): CodecServerConfig {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = settingsSchema.safeParse(given);
  if (!parsed.success) {
    const wrong = parsed.error.issues.map(({ path, message }) => {
      const name = String(path[0]);
      return name in given ? `${name} ${message}` : `${name} is missing`;
    });
    throw invalid(`${wrong.join('; ')}.`);
  }
  const settings = parsed.data;
  const vault = readVaultSettings(given, 'codec');
  if (!vault) throw invalid('VAULT_ADDR is missing: the keys are in Vault.');
  const tls = tlsOf(settings);
  const jwt = jwtOf(settings, tlsFilesOf(given, 'reader-keys'));
  const host = settings.BYOC_CODEC_HOST ?? (tls ? '::' : '127.0.0.1');
  const isOpen = !LOOPBACK.includes(host) || settings.NODE_ENV === 'production';
  if (!tls && isOpen)
    throw invalid('BYOC_CODEC_TLS_CERT and BYOC_CODEC_TLS_KEY must be set; nothing travels in clear.');
  if (!jwt && isOpen) {
    throw invalid('BYOC_CODEC_JWT_ISSUER and BYOC_CODEC_JWT_KEYS must be set; only on this machine nobody is asked.');
  }
  const { BYOC_CLUSTER_ID: clusterId, BYOC_CODEC_PORT: port, BYOC_CODEC_ORIGINS: origins } = settings;
  return { clusterId, host, port, tls, origins, jwt, vault };
}

function audienceOf(clusterId: string): string {
  return `byoc/${clusterId}/payloads`;
}

function tlsOf({ BYOC_CODEC_TLS_CERT: certPath, BYOC_CODEC_TLS_KEY: keyPath }: Settings): ServerFiles | undefined {
  if (certPath === undefined && keyPath === undefined) return undefined;
  if (certPath !== undefined && keyPath !== undefined) return { certPath, keyPath, clientCaPath: undefined };
  throw invalid('BYOC_CODEC_TLS_CERT and BYOC_CODEC_TLS_KEY must be set together.');
}

function jwtOf(settings: Settings, keysTls: TlsFiles): JwtSettings | undefined {
  const { BYOC_CODEC_JWT_ISSUER: issuer, BYOC_CODEC_JWT_KEYS: keys } = settings;
  if (issuer === undefined && keys === undefined) return undefined;
  if (issuer === undefined || keys === undefined) {
    throw invalid('BYOC_CODEC_JWT_ISSUER and BYOC_CODEC_JWT_KEYS must be set together.');
  }
  const audience = settings.BYOC_CODEC_JWT_AUDIENCE ?? audienceOf(settings.BYOC_CLUSTER_ID);
  if (!/^[a-z][a-z+.-]*:\/\//i.test(keys)) return { issuer, audience, keys: { path: keys } };
  if (!isEncryptedOrLocal(keys)) throw invalid('BYOC_CODEC_JWT_KEYS must be https, except on this machine.');
  return { issuer, audience, keys: { url: keys, tls: keysTls } };
}

function invalid(detail: string): ConnectorError {
  return new ConnectorError('CONFIG_INVALID', detail);
}
