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
import { isPrivateAddress } from '../domain/private-address.ts';
import { refuseUnverified, tlsFilesOf } from '../domain/tls-settings.ts';
import type { Environment } from '../domain/tls-settings.ts';
import { ROLES } from '../domain/vault-setup.ts';
import type { AgentConfig } from './agent/settings.ts';
import { AGENT_SETTINGS, agentConfigOf } from './agent/settings.ts';
import { readVaultSettings } from './vault-settings.ts';

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
    VAULT_ADDR: z.url().refine(isPrivateAddress, 'must be https, except on this machine').optional(),
    /** The customer's bucket for the audit log; credentials and region are found as every AWS client finds them. */
    S3_BUCKET: z.string().min(1).optional(),
    AWS_ENDPOINT_URL_S3: z.url().refine(isPrivateAddress, 'must be https, except on this machine').optional(),
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
    CONTROL_PLANE_URL: z.url().refine(isPrivateAddress, 'must be https, except on this machine').optional(),
    /** How long the control plane may take no heartbeats before somebody is told. */
    BYOC_CONTROL_PLANE_LOST_SECONDS: z.coerce.number().min(1).default(90),
    /** Labels of the cluster for the control plane: `team=shop,stage=prod`. */
    BYOC_LABELS: z.string().transform(parseLabels).optional(),
    /** Prometheus; with it metrics are read and sent to the Insight Engine. */
    PROM_URL: z.url().refine(isPrivateAddress, 'must be https, except on this machine').optional(),
    PROM_TOKEN: z.string().min(1).optional(),
    PROM_USERNAME: z.string().min(1).optional(),
    PROM_PASSWORD: z.string().min(1).optional(),
    /** YAML file: what is asked of Prometheus, which labels are sent, how they are redacted, limits. */
    BYOC_METRICS: z.string().min(1).optional(),
    INSIGHT_URL: z.url().refine(isPrivateAddress, 'must be https, except on this machine').optional(),
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
  })
  .refine(({ BYOC_ROLES, NODE_ENV }) => BYOC_ROLES !== undefined || NODE_ENV !== 'production', {
    path: ['BYOC_ROLES'],
    message: 'is missing, and so is --role: in production each role is a process with an account of its own',
  })
  .refine((settings) => !rolesOf(settings).includes('execution') || settings.COSIGN_KEY || settings.VAULT_ADDR, {
    path: ['VAULT_ADDR'],
    message: 'is missing, and so is COSIGN_KEY: one of them must say where the signing keys are',
  })
  .refine(({ BYOC_PAYLOAD_CODEC, VAULT_ADDR }) => BYOC_PAYLOAD_CODEC === 'off' || VAULT_ADDR !== undefined, {
    path: ['BYOC_PAYLOAD_CODEC'],
    message: 'is vault; VAULT_ADDR must be set too',
  })
  .refine(({ BYOC_ROLES, CONTROL_PLANE_URL }) => !BYOC_ROLES?.includes('registration') || CONTROL_PLANE_URL, {
    path: ['CONTROL_PLANE_URL'],
    message: 'is missing; the role registration is told by it whom to register with',
  })
  .refine(({ BYOC_ROLES, PROM_URL }) => !BYOC_ROLES?.includes('metrics') || PROM_URL, {
    path: ['PROM_URL'],
    message: 'is missing; the role metrics is told by it what to read',
  })
  .refine((settings) => !settings.CONTROL_PLANE_URL || isMissingRole(settings, 'registration') || settings.VAULT_ADDR, {
    path: ['CONTROL_PLANE_URL'],
    message: 'is set; VAULT_ADDR must be too, because the control plane knows a cluster by what its Vault says',
  })
  .refine(({ BYOC_S3_SSE, BYOC_S3_KMS_KEY_ID }) => BYOC_S3_KMS_KEY_ID === undefined || BYOC_S3_SSE === 'aws:kms', {
    path: ['BYOC_S3_KMS_KEY_ID'],
    message: 'names a key; BYOC_S3_SSE must be aws:kms',
  })
  .refine((settings) => !settings.PROM_URL || isMissingRole(settings, 'metrics') || settings.INSIGHT_URL, {
    path: ['INSIGHT_URL'],
    message: 'is missing; PROM_URL is set, and what is read there goes to it',
  })
  .refine((settings) => !settings.PROM_URL || isMissingRole(settings, 'metrics') || settings.VAULT_ADDR, {
    path: ['PROM_URL'],
    message: 'is set; VAULT_ADDR must be too, because the Insight Engine knows a cluster by what its Vault says',
  })
  .refine(({ PROM_USERNAME, PROM_PASSWORD }) => (PROM_USERNAME === undefined) === (PROM_PASSWORD === undefined), {
    path: ['PROM_PASSWORD'],
    message: 'goes with PROM_USERNAME: set both or none',
  })
  .refine(({ PROM_USERNAME, PROM_TOKEN }) => PROM_USERNAME === undefined || PROM_TOKEN === undefined, {
    path: ['PROM_TOKEN'],
    message: 'and PROM_USERNAME are two ways to log in: set one',
  });

export interface WorkerConfig {
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

/** @throws {ConnectorError} CONFIG_INVALID, naming every setting that is wrong. */
export function readConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  refuseUnverified(env);
  // An empty variable is how shells and charts say "not set".
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = settingsSchema.safeParse({ ...clusterOfNode(given), ...given });
  if (!parsed.success) {
    const wrong = parsed.error.issues.map(({ path, message, code }) => {
      const missing = code === 'invalid_type' && !(String(path[0]) in given);
      return `${path.join('.')} ${missing ? 'is missing' : message}`;
    });
    throw new ConnectorError('CONFIG_INVALID', `${wrong.join('; ')}.`);
  }
  const settings = parsed.data;
  const roles = rolesOf(settings);
  const loginOf = (role: Role) => (roles.includes(role) ? readVaultSettings(given, role) : undefined);
  const controlPlane = roles.includes('registration') ? controlPlaneSettings(settings, given) : undefined;
  const metrics = roles.includes('metrics') ? metricsSettings(settings, given) : undefined;
  return {
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
function rolesOf({ BYOC_ROLES, CONTROL_PLANE_URL, PROM_URL }: RoleSettings): readonly Role[] {
  if (BYOC_ROLES) return BYOC_ROLES;
  const isSet = { registration: CONTROL_PLANE_URL !== undefined, metrics: PROM_URL !== undefined, execution: true };
  return ROLES.filter((role) => isSet[role]);
}

function isMissingRole(settings: RoleSettings, role: Role): boolean {
  return !rolesOf(settings).includes(role);
}

interface RoleSettings {
  readonly BYOC_ROLES?: readonly Role[] | undefined;
  readonly CONTROL_PLANE_URL?: string | undefined;
  readonly PROM_URL?: string | undefined;
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
  const { PROM_URL, INSIGHT_URL } = settings;
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
