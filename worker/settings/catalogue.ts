import type { z } from 'zod';
import { ACCOUNT_FOLDER } from '../../activities/kubernetes/pod-access.ts';
import { DEFAULT_ADDRESS, DEFAULT_NAMESPACE } from '../../client/temporal-settings.ts';
import type { TlsPart } from '../../domain/tls-settings.ts';
import { TLS_SETTINGS } from '../../domain/tls-settings.ts';
import { TRANSIT_MOUNT } from '../../domain/vault-setup.ts';
import { CODEC_SETTINGS } from '../codec-server/settings.ts';
import { VAULT_LOGINS_OF_ROLES } from '../vault-settings.ts';
import type { SettingText } from './setting.ts';
import { defaultOf, textOf } from './setting.ts';
import { WORKER_SETTINGS } from './worker-settings.ts';

/**
 * Every environment variable that a program of ours looks at, or that a library reads for it: the table in docs/settings.md,
 * and what is known where a name is looked at that somebody may have misspelt. What has a schema is described beside it.
 */
export interface SettingGroup {
  readonly title: string;
  readonly rows: readonly SettingRow[];
}

export interface SettingRow extends SettingText {
  /** One, or some that are told of together. `…` in one stands for whatever may be there. */
  readonly names: readonly string[];
  /** What the code takes where it is left out; `otherwise` says the rest in words. */
  readonly default?: string;
  /** The npm package that reads it, where that is not code of ours. */
  readonly library?: string;
}

export function settingGroups(): readonly SettingGroup[] {
  const { process, trust, vault, temporal, kubernetes, audit, controlPlane, metrics, agent, simulation } =
    WORKER_SETTINGS;
  return [
    { title: 'The process', rows: rowsOf(process) },
    { title: 'What is trusted', rows: rowsOf(trust) },
    { title: 'Vault', rows: [...rowsOf(vault), tlsRow('vault', 'Vault')] },
    { title: 'Temporal', rows: [...OF_TEMPORAL, ...rowsOf(temporal)] },
    { title: 'Kubernetes', rows: [...OF_KUBERNETES, ...rowsOf(kubernetes)] },
    { title: 'The audit log and its bucket', rows: [...rowsOf(audit), ...OF_AWS, tlsRow('s3', 'S3')] },
    { title: 'The control plane', rows: [...rowsOf(controlPlane), tlsRow('control-plane', 'it')] },
    {
      title: 'Metrics and the Insight Engine',
      rows: [...rowsOf(metrics), tlsRow('prometheus', 'Prometheus'), tlsRow('insight', 'the Insight Engine')],
    },
    {
      title: "The agent's HTTP API",
      rows: [...rowsOf(agent, ['NODE_ENV']), tlsRow('caller-keys', 'the server with the keys')],
    },
    {
      title: 'The codec server (`byoc codec-server`)',
      rows: [...rowsOf(CODEC_SETTINGS), tlsRow('reader-keys', 'the server with the keys')],
    },
    { title: 'Simulation', rows: rowsOf(simulation) },
    { title: 'The command `byoc`', rows: OF_COMMANDS },
    { title: 'The development stack and the tests', rows: OF_DEVELOPMENT },
  ];
}

/** What a worker itself reads, those left out that libraries read for it. */
export function workerSettingNames(): string[] {
  const shapes = Object.values(WORKER_SETTINGS).flatMap((shape) => Object.keys(shape));
  const files = Object.values(TLS_SETTINGS).flatMap((names) => Object.values(names));
  return [...new Set([...shapes, ...VAULT_LOGINS_OF_ROLES, ...files, 'BYOC_KUBE_ACCOUNT_DIR'])];
}

/** All names of the table, those with a role behind them as well; and patterns for those that stand for many. */
export function knownSettings(): { readonly names: readonly string[]; readonly families: readonly RegExp[] } {
  const all = settingGroups().flatMap(({ rows }) => rows.flatMap(({ names }) => names));
  return {
    names: [...all.filter((name) => !name.includes('…')), ...VAULT_LOGINS_OF_ROLES],
    families: all
      .filter((name) => name.includes('…'))
      .map((name) => new RegExp(`^${name.replace('…', '[A-Z0-9_]+')}$`)),
  };
}

function rowsOf(shape: Readonly<Record<string, z.ZodType>>, without: readonly string[] = []): SettingRow[] {
  return Object.entries(shape)
    .filter(([name]) => !without.includes(name))
    .map(([name, schema]) => {
      const given = defaultOf(schema);
      return { names: [name], ...textOf(schema), ...(given !== undefined && { default: given }) };
    });
}

function tlsRow(part: TlsPart, other: string): SettingRow {
  const { ca, cert, key } = TLS_SETTINGS[part];
  return { names: [ca, cert, key], means: `TLS towards ${other} ([tls.md](tls.md))` };
}

const ENVCONFIG = '@temporalio/envconfig';
const OF_TEMPORAL: readonly SettingRow[] = [
  {
    names: ['TEMPORAL_ADDRESS'],
    means: '`host:port`, as every Temporal client reads it; without TLS on this machine only ([tls.md](tls.md))',
    default: DEFAULT_ADDRESS,
    library: ENVCONFIG,
  },
  { names: ['TEMPORAL_NAMESPACE'], means: 'namespace of Temporal', default: DEFAULT_NAMESPACE, library: ENVCONFIG },
  { names: ['TEMPORAL_API_KEY'], means: 'API key, as Temporal Cloud gives it out', library: ENVCONFIG },
  {
    names: ['TEMPORAL_API_KEY_FILE'],
    means:
      'a file with the API key, in place of the key itself; read again when it changes ([tls.md](tls.md#when-a-file-changes))',
  },
  {
    names: ['TEMPORAL_TLS', 'TEMPORAL_TLS_SERVER_NAME'],
    means: '`true` turns TLS on, as a file of the next row or an API key does; the name that its certificate must have',
    library: ENVCONFIG,
  },
  {
    names: [
      ...['TEMPORAL_TLS_SERVER_CA_CERT_PATH', 'TEMPORAL_TLS_CLIENT_CERT_PATH', 'TEMPORAL_TLS_CLIENT_KEY_PATH'],
      ...['TEMPORAL_TLS_SERVER_CA_CERT_DATA', 'TEMPORAL_TLS_CLIENT_CERT_DATA', 'TEMPORAL_TLS_CLIENT_KEY_DATA'],
    ],
    means: 'authority, certificate and key: files in PEM, or their text, which cannot change without a restart',
    library: ENVCONFIG,
  },
  {
    names: ['TEMPORAL_CONFIG_FILE', 'TEMPORAL_PROFILE'],
    means: 'a file with profiles, and which of them',
    library: ENVCONFIG,
  },
  { names: ['TEMPORAL_GRPC_META_…'], means: 'headers of each request', library: ENVCONFIG },
];

const OF_KUBERNETES: readonly SettingRow[] = [
  { names: ['KUBECONFIG'], means: 'as kubectl reads it', otherwise: "inside a cluster the pod's service account" },
  {
    names: ['BYOC_KUBE_ACCOUNT_DIR'],
    means: 'in a pod: folder with its `token` and `ca.crt`',
    default: ACCOUNT_FOLDER,
  },
  {
    names: ['KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT'],
    means: 'where the API server is: Kubernetes sets them in a pod',
  },
];

const OF_AWS: readonly SettingRow[] = [
  {
    names: ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'],
    needed: 'one of these three rows, with S3',
    means: 'credentials, as every AWS client reads them',
    library: '@aws-sdk/credential-provider-env',
  },
  {
    names: ['AWS_ROLE_ARN', 'AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_ROLE_SESSION_NAME'],
    means: 'a role for the service account of the pod: EKS sets them',
    library: '@aws-sdk/credential-provider-web-identity',
  },
  {
    names: ['AWS_PROFILE'],
    means: 'a profile of the files of the AWS command line',
    library: '@aws-sdk/credential-provider-node',
  },
];

const OF_COMMANDS: readonly SettingRow[] = [
  { names: ['BYOC_AUTHOR'], means: 'default of `byoc pack --author`' },
  {
    names: ['BYOC_APPROVER'],
    means: 'default of `byoc approve --as` and `byoc reject --as`',
    otherwise: 'the name of the user',
  },
  { names: ['COSIGN_PASSWORD'], means: 'password of a private key that cosign has made', otherwise: 'it is asked for' },
  {
    names: ['TRANSIT_SECRET_ENGINE_PATH'],
    means: 'where the transit engine of Vault is mounted, for keys called `hashivault://NAME`',
    default: TRANSIT_MOUNT,
  },
  { names: ['BYOC_DEBUG'], means: 'makes `byoc` print where an error comes from' },
];

/** `dev/parts.ts` has one for each program. */
export const PROGRAMS = 'BYOC_…_BIN';

const OF_DEVELOPMENT: readonly SettingRow[] = [
  { names: ['BYOC_DEV_STATE'], means: 'folder of the stack that `byoc dev` means; `byoc dev env` sets it' },
  {
    names: ['BYOC_CACHE', 'XDG_CACHE_HOME'],
    means: 'where its programs are installed, once for all checkouts; where caches of this user are',
    otherwise: '`~/.cache/byoc-connector`',
  },
  { names: [PROGRAMS], means: 'a program of the stack that is there already' },
  {
    names: [
      ...['BYOC_TEST_STACK', 'BYOC_TEST_CLOTHES', 'BYOC_VECTORS'],
      ...['BYOC_KILLS', 'BYOC_AUDIT_KILLS', 'BYOC_VAULT_SOAK_SECONDS'],
    ],
    means:
      'for the tests: a stack that is up, whose settings the connector has, the folder of vectors, how often something is killed, how long tokens are watched',
  },
];
