import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import type { ServiceAccountName } from '../activities/kubernetes/applying-account.ts';
import type { PrometheusAuth } from '../activities/prometheus/client.ts';
import type { BucketOptions, Encryption } from '../activities/s3/bucket.ts';
import type { TlsSource } from '../activities/tls/context.ts';
import type { VaultSettings } from '../activities/vault/vault.ts';
import { AUDIT_RETENTION_DAYS } from '../domain/audit.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Role } from '../domain/names.ts';
import { CLUSTER_ID, STATE_NAMESPACE } from '../domain/names.ts';
import { isEncryptedOrLocal } from '../domain/encrypted-or-local.ts';
import { SIMULATED_CLUSTER } from '../domain/simulation.ts';
import { refuseUnverified, TLS_SETTINGS, tlsFilesOf, unverifiedBy } from '../domain/tls-settings.ts';
import type { Environment, TlsPart } from '../domain/tls-settings.ts';
import { ROLES, VAULT_LOGINS } from '../domain/vault-setup.ts';
import type { AgentConfig } from './agent/settings.ts';
import { AGENT_SETTINGS, agentConfigOf } from './agent/settings.ts';
import { readSimulation, refuseOtherCluster } from './simulation/settings.ts';
import { readVaultSettings, VAULT_LOGIN, VAULT_SETTINGS } from './vault-settings.ts';

/** What goes together is told whatever else is wrong, so that everything is told at once. */
const always = () => true;

/** RFC 1123. */
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const SERVICE_ACCOUNT = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/;

/** Settings of the worker, all from the environment; `TEMPORAL_*` are read by @temporalio/envconfig. */
const settingsSchema = z
  .object({
    /** Name of the cluster: what packages are addressed to. In development the node's name where it is left out. */
    BYOC_CLUSTER_ID: z.string().regex(CLUSTER_ID, 'must be a DNS label'),
    /** What this process does, such as `registration,metrics`; in development all that there are settings for. */
    BYOC_ROLES: z.string().transform(parseRoles).optional(),
    /** Where the audit log is kept. */
    BYOC_DATA_DIR: z.string().min(1),
    /** Policy file; without one a person must approve everything by a signed vote. */
    BYOC_POLICY: z.string().min(1).optional(),
    /** Name of this writer's audit chain, unique in the cluster; the pod's name. */
    BYOC_WRITER: z
      .string()
      .regex(/^[a-z0-9]([-a-z0-9.]{0,170}[a-z0-9])?$/, 'must be a DNS name of at most 172 characters')
      .optional(),
    /** The prebuilt workflow bundle; without one the workflows are bundled at start. */
    BYOC_WORKFLOW_BUNDLE: z.string().min(1).optional(),
    /** Public keys, PEM text or a file, where there is no Vault. */
    COSIGN_KEY: z.string().min(1).optional(),
    /** YAML file with approvers' keys; without one they are looked for in Vault, where there is a Vault. */
    BYOC_APPROVERS: z.string().min(1).optional(),
    /** Sigstore trusted root (JSON), against which certificates and log entries are verified. */
    BYOC_TRUSTED_ROOT: z.string().min(1).optional(),
    /** Vault's other settings are in vault-settings.ts. */
    VAULT_ADDR: z.url().refine(isEncryptedOrLocal, 'must be https, except on this machine').optional(),
    /** The customer's bucket for the audit log; credentials and region are found as every AWS client finds them. */
    S3_BUCKET: z.string().min(1).optional(),
    AWS_ENDPOINT_URL_S3: z.url().refine(isEncryptedOrLocal, 'must be https, except on this machine').optional(),
    AWS_REGION: z.string().min(1).default('us-east-1'),
    /** How the bucket encrypts what is written; as it is set itself where this is left out. */
    BYOC_S3_SSE: z.enum(['AES256', 'aws:kms']).optional(),
    BYOC_S3_KMS_KEY_ID: z.string().min(1).optional(),
    /** How long entries may wait for the bucket before somebody is told. */
    BYOC_AUDIT_UPLOAD_ALERT_SECONDS: z.coerce.number().int().min(1).default(3_600),
    /** How long uploaded entries stay on the local disk, and how much of it they may take. */
    BYOC_AUDIT_LOCAL_DAYS: z.coerce.number().int().min(1).default(AUDIT_RETENTION_DAYS),
    BYOC_AUDIT_LOCAL_MIB: z.coerce.number().min(0.001).default(64),
    /** The control plane; without one the cluster registers nowhere and sends nothing. */
    CONTROL_PLANE_URL: z.url().refine(isEncryptedOrLocal, 'must be https, except on this machine').optional(),
    /** How long the control plane may take no heartbeats before somebody is told. */
    BYOC_CONTROL_PLANE_LOST_SECONDS: z.coerce.number().min(1).default(90),
    /** Labels of the cluster for the control plane: `team=shop,stage=prod`. */
    BYOC_LABELS: z.string().transform(parseLabels).optional(),
    /** Prometheus; with it metrics are read and sent to the Insight Engine. */
    PROM_URL: z.url().refine(isEncryptedOrLocal, 'must be https, except on this machine').optional(),
    PROM_TOKEN: z.string().min(1).optional(),
    PROM_USERNAME: z.string().min(1).optional(),
    PROM_PASSWORD: z.string().min(1).optional(),
    /** YAML file: what is asked of Prometheus, which labels are sent, how they are redacted, limits. */
    BYOC_METRICS: z.string().min(1).optional(),
    INSIGHT_URL: z.url().refine(isEncryptedOrLocal, 'must be https, except on this machine').optional(),
    /** How long metrics wait on the disk for the Insight Engine, and how much of it they may take. */
    BYOC_METRICS_KEEP_SECONDS: z.coerce.number().int().min(1).max(3_600).default(3_600),
    BYOC_METRICS_LOCAL_MIB: z.coerce.number().min(0.01).max(64).default(24),
    /** How payloads go to Temporal: encrypted with a key from Vault, or plain, which is for development. */
    BYOC_PAYLOAD_CODEC: z.enum(['vault', 'off']).default('off'),
    /** Where claims, locks, the freeze and keys are, and where audit heads are published. */
    BYOC_STATE_NAMESPACE: z.string().regex(NAMESPACE, 'must be the name of a namespace').default(STATE_NAMESPACE),
    BYOC_HEADS_NAMESPACE: z.string().regex(NAMESPACE, 'must be the name of a namespace').optional(),
    /** The account that packages are applied with, `namespace/name`; the connector's own where it is left out. */
    BYOC_APPLY_SERVICE_ACCOUNT: z
      .string()
      .regex(SERVICE_ACCOUNT, 'must be namespace/name of a ServiceAccount')
      .transform((text) => {
        const [namespace = '', name = ''] = text.split('/');
        return { namespace, name };
      })
      .optional(),
    /** Kubernetes: the kubeconfig's context to use, where it is not the current one. */
    BYOC_KUBE_CONTEXT: z.string().min(1).optional(),
    ...AGENT_SETTINGS,
    LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
    /** Set where readSimulation has let it pass. */
    SIMULATION: z.literal('true').optional(),
    BYOC_SIMULATION_ALLOWED: z.string().optional(),
  })
  .refine(({ BYOC_ROLES, NODE_ENV, SIMULATION }) => BYOC_ROLES ?? SIMULATION ?? NODE_ENV !== 'production', {
    path: ['BYOC_ROLES'],
    message: 'is missing, and so is --role: in production each role is a process with an account of its own',
    when: always,
  })
  .refine((settings) => !rolesOf(settings).includes('execution') || settings.COSIGN_KEY || hasLogins(settings), {
    path: ['VAULT_ADDR'],
    message: 'is missing, and so is COSIGN_KEY: one of them must say where the signing keys are',
    when: always,
  })
  .refine(({ BYOC_PAYLOAD_CODEC, VAULT_ADDR }) => BYOC_PAYLOAD_CODEC === 'off' || VAULT_ADDR !== undefined, {
    path: ['BYOC_PAYLOAD_CODEC'],
    message: 'is vault; VAULT_ADDR must be set too',
    when: always,
  })
  .refine(({ BYOC_ROLES, CONTROL_PLANE_URL }) => !BYOC_ROLES?.includes('registration') || CONTROL_PLANE_URL, {
    path: ['CONTROL_PLANE_URL'],
    message: 'is missing; the role registration is told by it whom to register with',
    when: always,
  })
  .refine(({ BYOC_ROLES, PROM_URL }) => !BYOC_ROLES?.includes('metrics') || PROM_URL, {
    path: ['PROM_URL'],
    message: 'is missing; the role metrics is told by it what to read',
    when: always,
  })
  .refine((settings) => !settings.CONTROL_PLANE_URL || isMissingRole(settings, 'registration') || hasLogins(settings), {
    path: ['CONTROL_PLANE_URL'],
    message: 'is set; VAULT_ADDR must be too, because the control plane knows a cluster by what its Vault says',
    when: always,
  })
  .refine(({ BYOC_S3_SSE, BYOC_S3_KMS_KEY_ID }) => BYOC_S3_KMS_KEY_ID === undefined || BYOC_S3_SSE === 'aws:kms', {
    path: ['BYOC_S3_KMS_KEY_ID'],
    message: 'names a key; BYOC_S3_SSE must be aws:kms',
    when: always,
  })
  .refine((settings) => !settings.PROM_URL || isMissingRole(settings, 'metrics') || settings.INSIGHT_URL, {
    path: ['INSIGHT_URL'],
    message: 'is missing; PROM_URL is set, and what is read there goes to it',
    when: always,
  })
  .refine((settings) => !settings.PROM_URL || isMissingRole(settings, 'metrics') || hasLogins(settings), {
    path: ['PROM_URL'],
    message: 'is set; VAULT_ADDR must be too, because the Insight Engine knows a cluster by what its Vault says',
    when: always,
  })
  .refine(({ PROM_USERNAME, PROM_PASSWORD }) => (PROM_USERNAME === undefined) === (PROM_PASSWORD === undefined), {
    path: ['PROM_PASSWORD'],
    message: 'goes with PROM_USERNAME: set both or none',
    when: always,
  })
  .refine(({ PROM_USERNAME, PROM_TOKEN }) => PROM_USERNAME === undefined || PROM_TOKEN === undefined, {
    path: ['PROM_TOKEN'],
    message: 'and PROM_USERNAME are two ways to log in: set one',
    when: always,
  });

export interface WorkerConfig {
  /** Whether nothing is real, see simulation/. */
  readonly simulated: boolean;
  readonly clusterId: string;
  /** At least one; of a role that is not among them nothing is set below, and no login is read. */
  readonly roles: readonly Role[];
  readonly dataDir: string;
  readonly policyPath: string | undefined;
  readonly writer: string;
  readonly workflowBundle: string | undefined;
  readonly cosignKey: string | undefined;
  readonly approversPath: string | undefined;
  readonly trustedRootPath: string | undefined;
  readonly vault: VaultSettings | undefined;
  readonly s3: Omit<BucketOptions, 'credentials'> | undefined;
  readonly audit: {
    readonly uploadAlertAfterMs: number;
    readonly localDays: number;
    readonly localBytes: number;
  };
  readonly controlPlane: ControlPlaneSettings | undefined;
  /** The login by which the control plane knows the cluster. */
  readonly registrationVault: VaultSettings | undefined;
  /** Whether alerts go to the control plane through another process, which has the role registration. */
  readonly relaysAlerts: boolean;
  /** The agent's HTTP API; there is none where it is left out. */
  readonly agent: AgentConfig | undefined;
  readonly metrics: MetricsSettings | undefined;
  /** The login by which the Insight Engine knows the cluster. */
  readonly metricsVault: VaultSettings | undefined;
  readonly payloadCodec: 'vault' | 'off';
  readonly kubeContext: string | undefined;
  readonly stateNamespace: string;
  readonly headsNamespace: string;
  readonly applyAccount: ServiceAccountName | undefined;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

export interface ControlPlaneSettings {
  readonly url: string;
  readonly tls: TlsSource;
  readonly lostAfterMs: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface MetricsSettings {
  readonly prometheus: {
    readonly address: string;
    readonly auth: PrometheusAuth;
    readonly tls: TlsSource;
  };
  readonly configPath: string | undefined;
  readonly insight: {
    readonly address: string;
    readonly tls: TlsSource;
    readonly maxAgeMs: number;
    readonly maxBytes: number;
  };
}

/** What is wrong with a setting, as a sentence without its end; it begins with the name of the setting. */
export interface SettingProblem {
  readonly setting: string;
  readonly says: string;
}

/** @throws {ConnectorError} CONFIG_INVALID, naming every setting that is wrong. */
export function readConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  refuseUnverified(env);
  const checked = checkConfig(env);
  if ('config' in checked) return checked.config;
  throw new ConnectorError('CONFIG_INVALID', `${checked.problems.map(({ says }) => says).join('; ')}.`);
}

/** All settings that the worker reads, those of Temporal and AWS left out, which their own libraries read. */
export function settingNames(): string[] {
  const logins = VAULT_LOGINS.flatMap((role) => VAULT_LOGIN.flatMap((name) => [name, `${name}_${role.toUpperCase()}`]));
  const files = Object.values(TLS_SETTINGS).flatMap((names) => Object.values(names));
  return [...Object.keys(settingsSchema.shape), ...VAULT_SETTINGS, ...logins, ...files, 'NODE_NAME', 'VAULT_TOKEN'];
}

/** The same as `readConfig`, without refusing what would turn the check of certificates off: for whoever tells of it. */
export function checkConfig(
  env: NodeJS.ProcessEnv,
): { readonly config: WorkerConfig } | { readonly problems: readonly SettingProblem[] } {
  const off = unverifiedBy(env);
  // An empty variable is how shells and charts say "not set".
  const given = Object.fromEntries(Object.entries(env).filter(([name, value]) => value !== '' && !off.includes(name)));
  const mode = modeOf(given);
  if ('problems' in mode) return mode;
  const { simulated } = mode;
  const named = simulated ? { BYOC_CLUSTER_ID: SIMULATED_CLUSTER } : clusterOfNode(given);
  const parsed = settingsSchema.safeParse({ ...named, ...given, SIMULATION: simulated ? 'true' : undefined });
  const problems = (parsed.error?.issues ?? []).map((issue): SettingProblem => {
    const isMissing = issue.code === 'invalid_type' && !(String(issue.path[0]) in given);
    const what = isMissing ? 'is missing' : sentenceOf(issue);
    return { setting: String(issue.path[0]), says: `${issue.path.join('.')} ${what}` };
  });
  const more = problemsOfParts(given);
  if (!parsed.success || more.length > 0) return { problems: [...problems, ...more] };
  return { config: configOf(parsed.data, given, simulated) };
}

/** Whether this is a simulation; in the wrong place nothing else of the settings says anything. */
function modeOf(
  given: NodeJS.ProcessEnv,
): { readonly simulated: boolean } | { readonly problems: readonly SettingProblem[] } {
  try {
    const simulated = readSimulation(given);
    if (given['BYOC_CLUSTER_ID'] !== undefined) refuseOtherCluster(given['BYOC_CLUSTER_ID'], simulated);
    return { simulated };
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    const says = error.detail.replace(/\.$/, '');
    return { problems: [{ setting: /^\w+/.exec(says)?.[0] ?? '', says }] };
  }
}

/** The end of a sentence that begins with the name of the setting. Values are not shown: one may be a secret. */
function sentenceOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be a ${issue.expected}`;
    case 'invalid_format':
      return issue.format === 'url' ? 'must be an address, such as https://host.example.com' : issue.message;
    case 'invalid_value':
      return `must be ${issue.values.map(String).join(' or ')}`;
    case 'too_small':
      return issue.origin === 'string' ? 'is empty' : `must be at least ${issue.minimum}`;
    case 'too_big':
      return `must be at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}

/** What the parts' own readers refuse, each by itself. */
function problemsOfParts(given: NodeJS.ProcessEnv): SettingProblem[] {
  const address = URL.parse(given['VAULT_ADDR'] ?? ''); // what is no address is told by the schema
  const wanted = z.object({ BYOC_ROLES: settingsSchema.shape.BYOC_ROLES }).safeParse(given).data;
  const roles = address && wanted ? rolesOf({ ...given, ...wanted }) : [];
  const agent = z.object({ ...AGENT_SETTINGS }).safeParse(given).data;
  const parts = Object.keys(TLS_SETTINGS) as TlsPart[]; // the table's own keys
  const reads = [
    ...roles.map((role) => () => readVaultSettings(given, role)),
    ...(agent ? [() => agentConfigOf(agent, '', {})] : []),
    ...parts.map((part) => () => tlsFilesOf(given, part)),
  ];
  const says = reads.flatMap((read) => {
    try {
      read();
      return [];
    } catch (error) {
      if (!(error instanceof ConnectorError)) throw error;
      return [error.detail.replace(/\.$/, '')];
    }
  });
  return [...new Set(says)].map((one) => ({ setting: /^\w+/.exec(one)?.[0] ?? '', says: one }));
}

/** @throws {ConnectorError} CONFIG_INVALID, for what the parts' own readers refuse */
function configOf(settings: Settings, given: NodeJS.ProcessEnv, simulated: boolean): WorkerConfig {
  refuseOtherCluster(settings.BYOC_CLUSTER_ID, simulated); // also for the name of a node
  const roles = rolesOf(settings);
  const loginOf = (role: Role) => (roles.includes(role) ? readVaultSettings(given, role) : undefined);
  const controlPlane = roles.includes('registration') ? controlPlaneSettings(settings, given) : undefined;
  const metrics = roles.includes('metrics') ? metricsSettings(settings, given) : undefined;
  return {
    simulated,
    clusterId: settings.BYOC_CLUSTER_ID,
    roles,
    dataDir: resolve(settings.BYOC_DATA_DIR),
    policyPath: settings.BYOC_POLICY,
    writer: settings.BYOC_WRITER ?? hostname().toLowerCase(),
    workflowBundle: settings.BYOC_WORKFLOW_BUNDLE,
    cosignKey: settings.COSIGN_KEY,
    approversPath: settings.BYOC_APPROVERS,
    trustedRootPath: settings.BYOC_TRUSTED_ROOT,
    vault: loginOf('execution'),
    s3: settings.S3_BUCKET
      ? {
          bucket: settings.S3_BUCKET,
          endpoint: settings.AWS_ENDPOINT_URL_S3,
          region: settings.AWS_REGION,
          encryption: encryptionOf(settings),
          tls: tlsFilesOf(given, 's3'),
        }
      : undefined,
    audit: {
      uploadAlertAfterMs: settings.BYOC_AUDIT_UPLOAD_ALERT_SECONDS * 1000,
      localDays: settings.BYOC_AUDIT_LOCAL_DAYS,
      localBytes: settings.BYOC_AUDIT_LOCAL_MIB * 1024 * 1024,
    },
    controlPlane,
    registrationVault: loginOf('registration'),
    relaysAlerts: settings.BYOC_ROLES !== undefined && controlPlane === undefined,
    agent: agentConfigOf(settings, settings.BYOC_CLUSTER_ID, tlsFilesOf(given, 'caller-keys')),
    payloadCodec: settings.BYOC_PAYLOAD_CODEC,
    metrics,
    metricsVault: loginOf('metrics'),
    kubeContext: settings.BYOC_KUBE_CONTEXT,
    stateNamespace: settings.BYOC_STATE_NAMESPACE,
    headsNamespace: settings.BYOC_HEADS_NAMESPACE ?? settings.BYOC_STATE_NAMESPACE,
    applyAccount: settings.BYOC_APPLY_SERVICE_ACCOUNT,
    logLevel: settings.LOG_LEVEL,
  };
}

type Settings = z.infer<typeof settingsSchema>;

function parseRoles(text: string, { addIssue }: { addIssue(message: string): void }): readonly Role[] {
  const given = text.split(',').map((one) => one.trim());
  const unknown = given.filter((one) => !ROLES.some((role) => role === one));
  if (unknown.length > 0) addIssue(`holds ${JSON.stringify(unknown[0])}; the roles are ${ROLES.join(', ')}`);
  return ROLES.filter((role) => given.includes(role));
}

/** In development one process does all that there are settings for. */
function rolesOf({ BYOC_ROLES, CONTROL_PLANE_URL, ...settings }: RoleSettings): readonly Role[] {
  if (BYOC_ROLES) return BYOC_ROLES;
  // In simulation metrics need no source.
  const metrics = settings.SIMULATION === 'true' ? settings.INSIGHT_URL : settings.PROM_URL;
  const isSet = { registration: CONTROL_PLANE_URL !== undefined, metrics: metrics !== undefined, execution: true };
  return ROLES.filter((role) => isSet[role]);
}

function isMissingRole(settings: RoleSettings, role: Role): boolean {
  return !rolesOf(settings).includes(role);
}

interface RoleSettings {
  readonly BYOC_ROLES?: readonly Role[] | undefined;
  readonly CONTROL_PLANE_URL?: string | undefined;
  readonly PROM_URL?: string | undefined;
  readonly INSIGHT_URL?: string | undefined;
  readonly SIMULATION?: string | undefined;
}

/** Whether keys and tokens can be had: from Vault, or made up. */
function hasLogins(settings: { readonly VAULT_ADDR?: string | undefined } & RoleSettings): boolean {
  return settings.VAULT_ADDR !== undefined || settings.SIMULATION !== undefined;
}

/** In production each node of a cluster would pass for another one. */
function clusterOfNode(given: NodeJS.ProcessEnv): { readonly BYOC_CLUSTER_ID?: string } {
  if (given['NODE_ENV'] === 'production') return {};
  const name = (given['NODE_NAME'] ?? hostname()).toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  const label = name.replace(/^-/, '').slice(0, 63).replace(/-$/, '');
  return label === '' ? {} : { BYOC_CLUSTER_ID: label };
}

const LABEL = /^([A-Za-z0-9][-\w./]{0,252})=([-\w.]{0,63})$/;

/** Names and values as Kubernetes takes them for labels. */
function parseLabels(text: string, { addIssue }: { addIssue(message: string): void }): Record<string, string> {
  const labels: [string, string][] = [];
  for (const one of text.split(',')) {
    const [, name, value] = LABEL.exec(one.trim()) ?? [];
    if (name === undefined || value === undefined)
      addIssue(`holds ${JSON.stringify(one)}; labels are name=value, with commas between`);
    else labels.push([name, value]);
  }
  return Object.fromEntries(labels);
}

function controlPlaneSettings(settings: Settings, given: Environment): ControlPlaneSettings | undefined {
  if (!settings.CONTROL_PLANE_URL) return undefined;
  return {
    url: settings.CONTROL_PLANE_URL,
    tls: tlsFilesOf(given, 'control-plane'),
    lostAfterMs: settings.BYOC_CONTROL_PLANE_LOST_SECONDS * 1000,
    labels: settings.BYOC_LABELS ?? {},
  };
}

function metricsSettings(settings: Settings, given: Environment): MetricsSettings | undefined {
  const { SIMULATION, PROM_URL = SIMULATION && 'simulated:', INSIGHT_URL } = settings;
  if (!PROM_URL || !INSIGHT_URL) return undefined;
  return {
    prometheus: {
      address: PROM_URL,
      auth: prometheusAuth(settings),
      tls: tlsFilesOf(given, 'prometheus'),
    },
    configPath: settings.BYOC_METRICS,
    insight: {
      address: INSIGHT_URL,
      tls: tlsFilesOf(given, 'insight'),
      maxAgeMs: settings.BYOC_METRICS_KEEP_SECONDS * 1000,
      maxBytes: settings.BYOC_METRICS_LOCAL_MIB * 1024 * 1024,
    },
  };
}

function prometheusAuth(settings: Settings): PrometheusAuth {
  const { PROM_TOKEN: token, PROM_USERNAME: username, PROM_PASSWORD: password } = settings;
  if (token !== undefined) return { method: 'bearer', token };
  return username !== undefined && password !== undefined
    ? { method: 'basic', username, password }
    : { method: 'none' };
}

function encryptionOf(settings: Settings): Encryption | undefined {
  const { BYOC_S3_SSE: algorithm, BYOC_S3_KMS_KEY_ID: keyId } = settings;
  if (algorithm === undefined) return undefined;
  return algorithm === 'aws:kms' ? { algorithm, keyId } : { algorithm };
}
