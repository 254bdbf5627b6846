import { ConnectorError } from './errors.ts';

/** A part that is reached over TLS by settings of ours; Kubernetes has its kubeconfig, Temporal what its own tools read. */
export type TlsPart = keyof typeof TLS_SETTINGS;

/**
 * Which settings name the files, in PEM, of each part: the authorities that replace the built-in ones, and the certificate and
 * key by which the other side knows us. Where a part's own tools have names for them, those count.
 */
export const TLS_SETTINGS = {
  vault: { ca: 'VAULT_CACERT', cert: 'VAULT_CLIENT_CERT', key: 'VAULT_CLIENT_KEY' },
  s3: { ca: 'AWS_CA_BUNDLE', cert: 'BYOC_S3_CERT', key: 'BYOC_S3_KEY' },
  'control-plane': {
    ca: 'BYOC_CONTROL_PLANE_CA',
    cert: 'BYOC_CONTROL_PLANE_CERT',
    key: 'BYOC_CONTROL_PLANE_KEY',
  },
  prometheus: { ca: 'BYOC_PROM_CA', cert: 'BYOC_PROM_CERT', key: 'BYOC_PROM_KEY' },
  insight: { ca: 'BYOC_INSIGHT_CA', cert: 'BYOC_INSIGHT_CERT', key: 'BYOC_INSIGHT_KEY' },
  // BYOC_AGENT_JWT_KEYS says where the keys of callers are.
  'caller-keys': { ca: 'BYOC_AGENT_JWT_CA', cert: 'BYOC_AGENT_JWT_CLIENT_CERT', key: 'BYOC_AGENT_JWT_CLIENT_KEY' },
  // BYOC_CODEC_JWT_KEYS says where the keys of those are who may read payloads.
  'reader-keys': { ca: 'BYOC_CODEC_JWT_CA', cert: 'BYOC_CODEC_JWT_CLIENT_CERT', key: 'BYOC_CODEC_JWT_CLIENT_KEY' },
} as const satisfies Record<string, { readonly ca: string; readonly cert: string; readonly key: string }>;

/** Paths of files in PEM. */
export interface TlsFiles {
  /** Certificate authorities that replace the built-in ones. */
  readonly ca?: string | undefined;
  /** A client certificate, with its chain, and its key: both or none. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** @throws {ConnectorError} CONFIG_INVALID where only one of certificate and key is set */
export function tlsFilesOf(env: Environment, part: TlsPart): TlsFiles {
  const names = TLS_SETTINGS[part];
  // An empty variable is how shells and charts say "not set".
  const [ca, cert, key] = [names.ca, names.cert, names.key].map((name) => env[name] || undefined);
  if ((cert === undefined) !== (key === undefined)) {
    const [missing, other] = cert === undefined ? [names.cert, names.key] : [names.key, names.cert];
    throw new ConnectorError('CONFIG_INVALID', `${missing} goes with ${other}: set both or none.`);
  }
  return { ...(ca && { ca }), ...(cert && { cert, key }) };
}

const CHECK_IS_OFF = 'would turn the check of certificates off, which nothing may';

/** Variables by which some program of ours, or beside us, would no longer verify who answers. */
const SWITCHES_OFF: Readonly<Record<string, (value: string) => boolean>> = {
  NODE_TLS_REJECT_UNAUTHORIZED: (value) => value === '0',
  VAULT_SKIP_VERIFY: () => true,
  BAO_SKIP_VERIFY: () => true,
  TEMPORAL_TLS_DISABLE_HOST_VERIFICATION: (value) => !['', '0', 'false'].includes(value.toLowerCase()),
  // Versions of TLS that are broken.
  NODE_OPTIONS: (value) => /--tls-min-v1\.[01]\b|--tls-max-v1\.[01]\b/.test(value),
};

/**
 * Refuses an environment that would turn the verification of anybody's certificate off.
 * @throws {ConnectorError} CONFIG_INVALID, naming the variable
 */
export function refuseUnverified(env: Environment): void {
  const [name] = unverifiedBy(env);
  if (name === undefined) return;
  throw new ConnectorError('CONFIG_INVALID', `${name} is set; it ${CHECK_IS_OFF}. Unset it.`);
}

/** The variables that would turn the verification of anybody's certificate off. */
export function unverifiedBy(env: Environment): string[] {
  return Object.entries(SWITCHES_OFF).flatMap(([name, isOff]) => {
    const value = env[name];
    return value !== undefined && isOff(value) ? [name] : [];
  });
}
