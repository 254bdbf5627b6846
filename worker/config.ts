import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { ServiceAccountName } from '../activities/kubernetes/applying-account.ts';
import type { PrometheusAuth } from '../activities/prometheus/client.ts';
import type { BucketOptions, Encryption } from '../activities/s3/bucket.ts';
import type { TlsSource } from '../activities/tls/context.ts';
import type { VaultSettings } from '../activities/vault/vault.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Role } from '../domain/names.ts';
import { refuseUnverified, tlsFilesOf, unverifiedBy } from '../domain/tls-settings.ts';
import type { Environment } from '../domain/tls-settings.ts';
import type { AgentConfig } from './agent/settings.ts';
import { agentConfigOf } from './agent/settings.ts';
import { checkSettings } from './settings/check.ts';
import type { SettingProblem } from './settings/check.ts';
import { rolesOf } from './settings/roles.ts';
import { unknownSettings } from './settings/unknown.ts';
import type { Settings } from './settings/worker-settings.ts';
import { refuseOtherCluster } from './simulation/settings.ts';
import { readVaultSettings } from './vault-settings.ts';

/** What a worker is made by. Each setting is told of in settings/worker-settings.ts, what goes together in together.ts. */
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

/**
 * @throws {ConnectorError} CONFIG_INVALID, naming every setting that is wrong, and those that are none: one of them may be
 *   what was meant; also where only those are, and one was to have payloads encrypted
 */
export function readConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  refuseUnverified(env);
  const checked = checkConfig(env);
  const unknown = unknownSettings(env);
  if ('config' in checked && !unknown.some(({ exposes }) => exposes)) return checked.config;
  const wrong = 'config' in checked ? [] : [`${checked.problems.map(({ says }) => says).join('; ')}.`];
  throw new ConnectorError('CONFIG_INVALID', [...wrong, ...unknown.map(({ says }) => says)].join(' '));
}

/** The same as `readConfig`, without refusing what would turn the check of certificates off: for whoever tells of it. */
export function checkConfig(
  env: NodeJS.ProcessEnv,
): { readonly config: WorkerConfig } | { readonly problems: readonly SettingProblem[] } {
  const off = unverifiedBy(env);
  // An empty variable is how shells and charts say "not set".
  const given = Object.fromEntries(Object.entries(env).filter(([name, value]) => value !== '' && !off.includes(name)));
  const checked = checkSettings(given);
  return 'problems' in checked ? checked : { config: configOf(checked.settings, given, checked.simulated) };
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
    relaysAlerts: settings.BYOC_ALERT_RELAY === 'on' && settings.BYOC_ROLES !== undefined && controlPlane === undefined,
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
