import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import type { PrometheusAuth } from '../activities/prometheus/client.ts';
import type { BucketOptions, Encryption } from '../activities/s3/bucket.ts';
import type { VaultAuth, VaultSettings } from '../activities/vault/vault.ts';
import { refuseSkipVerify } from '../activities/vault/vault.ts';
import { AUDIT_RETENTION_DAYS } from '../domain/audit.ts';
import { ConnectorError } from '../domain/errors.ts';
import { isPrivateAddress } from '../domain/private-address.ts';

/** Settings of the worker, all from the environment; `TEMPORAL_*` are read by @temporalio/envconfig. */
const settingsSchema = z
  .object({
    /** Name of the cluster: what packages are addressed to. */
    BYOC_CLUSTER_ID: z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a DNS label'),
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
    VAULT_ADDR: z.url().refine(isPrivateAddress, 'must be https, except on this machine').optional(),
    VAULT_TOKEN: z.string().min(1).optional(),
    VAULT_ROLE_ID: z.string().min(1).optional(),
    VAULT_SECRET_ID: z.string().min(1).optional(),
    /** The customer's bucket for the audit log; credentials and region are found as every AWS client finds them. */
    S3_BUCKET: z.string().min(1).optional(),
    AWS_ENDPOINT_URL_S3: z.url().optional(),
    AWS_REGION: z.string().min(1).default('us-east-1'),
    /** How the bucket encrypts what is written; as it is set itself where this is left out. */
    BYOC_S3_SSE: z.enum(['AES256', 'aws:kms']).optional(),
    BYOC_S3_KMS_KEY_ID: z.string().min(1).optional(),
    /** How long entries may wait for the bucket before somebody is told. */
    BYOC_AUDIT_UPLOAD_ALERT_SECONDS: z.coerce.number().int().min(1).default(3_600),
    /** How long uploaded entries stay on the local disk, and how much of it they may take. */
    BYOC_AUDIT_LOCAL_DAYS: z.coerce.number().int().min(1).default(AUDIT_RETENTION_DAYS),
    BYOC_AUDIT_LOCAL_MIB: z.coerce.number().min(0.001).default(64),
    /** Prometheus; with it metrics are read and sent to the Insight Engine. */
    PROM_URL: z.url().refine(isPrivateAddress, 'must be https, except on this machine').optional(),
    PROM_TOKEN: z.string().min(1).optional(),
    PROM_USERNAME: z.string().min(1).optional(),
    PROM_PASSWORD: z.string().min(1).optional(),
    /** PEM files: the authorities of its certificate, and the certificate and key by which it knows us. */
    BYOC_PROM_CA: z.string().min(1).optional(),
    BYOC_PROM_CERT: z.string().min(1).optional(),
    BYOC_PROM_KEY: z.string().min(1).optional(),
    /** YAML file: what is asked of Prometheus, which labels are sent, how they are redacted, limits. */
    BYOC_METRICS: z.string().min(1).optional(),
    INSIGHT_URL: z.url().refine(isPrivateAddress, 'must be https, except on this machine').optional(),
    BYOC_INSIGHT_CA: z.string().min(1).optional(),
    /** A file with the JWT for the Insight Engine, read at each use. */
    BYOC_INSIGHT_TOKEN_FILE: z.string().min(1).optional(),
    /** How long metrics wait on the disk for the Insight Engine, and how much of it they may take. */
    BYOC_METRICS_KEEP_SECONDS: z.coerce.number().int().min(1).max(3_600).default(3_600),
    BYOC_METRICS_LOCAL_MIB: z.coerce.number().min(0.01).max(64).default(24),
    /** Kubernetes: the kubeconfig's context to use, where it is not the current one. */
    BYOC_KUBE_CONTEXT: z.string().min(1).optional(),
    LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  })
  .refine(({ COSIGN_KEY, VAULT_ADDR }) => COSIGN_KEY ?? VAULT_ADDR, {
    path: ['VAULT_ADDR'],
    message: 'is missing, and so is COSIGN_KEY: one of them must say where the signing keys are',
  })
  .refine(({ BYOC_S3_SSE, BYOC_S3_KMS_KEY_ID }) => BYOC_S3_KMS_KEY_ID === undefined || BYOC_S3_SSE === 'aws:kms', {
    path: ['BYOC_S3_KMS_KEY_ID'],
    message: 'names a key; BYOC_S3_SSE must be aws:kms',
  })
  .refine(({ PROM_URL, INSIGHT_URL }) => PROM_URL === undefined || INSIGHT_URL !== undefined, {
    path: ['INSIGHT_URL'],
    message: 'is missing; PROM_URL is set, and what is read there goes to it',
  })
  .refine(({ PROM_URL, BYOC_INSIGHT_TOKEN_FILE }) => PROM_URL === undefined || BYOC_INSIGHT_TOKEN_FILE !== undefined, {
    path: ['BYOC_INSIGHT_TOKEN_FILE'],
    message: 'is missing; the Insight Engine wants a token',
  })
  .refine(({ PROM_USERNAME, PROM_PASSWORD }) => (PROM_USERNAME === undefined) === (PROM_PASSWORD === undefined), {
    path: ['PROM_PASSWORD'],
    message: 'goes with PROM_USERNAME: set both or none',
  })
  .refine(({ PROM_USERNAME, PROM_TOKEN }) => PROM_USERNAME === undefined || PROM_TOKEN === undefined, {
    path: ['PROM_TOKEN'],
    message: 'and PROM_USERNAME are two ways to log in: set one',
  })
  .refine(({ BYOC_PROM_CERT, BYOC_PROM_KEY }) => (BYOC_PROM_CERT === undefined) === (BYOC_PROM_KEY === undefined), {
    path: ['BYOC_PROM_KEY'],
    message: 'goes with BYOC_PROM_CERT: set both or none',
  });

export interface WorkerConfig {
  readonly clusterId: string;
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
  readonly metrics: MetricsSettings | undefined;
  readonly kubeContext: string | undefined;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

export interface MetricsSettings {
  readonly prometheus: {
    readonly address: string;
    readonly auth: PrometheusAuth;
    readonly caPath: string | undefined;
    readonly certPath: string | undefined;
    readonly keyPath: string | undefined;
  };
  readonly configPath: string | undefined;
  readonly insight: {
    readonly address: string;
    readonly caPath: string | undefined;
    readonly tokenPath: string;
    readonly maxAgeMs: number;
    readonly maxBytes: number;
  };
}

/** @throws {ConnectorError} CONFIG_INVALID, naming every setting that is wrong. */
export function readConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  refuseSkipVerify(env);
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    throw new ConnectorError(
      'CONFIG_INVALID',
      'NODE_TLS_REJECT_UNAUTHORIZED turns the check of certificates off; unset it.',
    );
  }
  // An empty variable is how shells and charts say "not set".
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = settingsSchema.safeParse(given);
  if (!parsed.success) {
    const wrong = parsed.error.issues.map(({ path, message, code }) => {
      const missing = code === 'invalid_type' && !(String(path[0]) in given);
      return `${path.join('.')} ${missing ? 'is missing' : message}`;
    });
    throw new ConnectorError('CONFIG_INVALID', `${wrong.join('; ')}.`);
  }
  const settings = parsed.data;
  return {
    clusterId: settings.BYOC_CLUSTER_ID,
    dataDir: resolve(settings.BYOC_DATA_DIR),
    policyPath: settings.BYOC_POLICY,
    writer: settings.BYOC_WRITER ?? hostname().toLowerCase(),
    workflowBundle: settings.BYOC_WORKFLOW_BUNDLE,
    cosignKey: settings.COSIGN_KEY,
    approversPath: settings.BYOC_APPROVERS,
    trustedRootPath: settings.BYOC_TRUSTED_ROOT,
    vault: settings.VAULT_ADDR ? { address: settings.VAULT_ADDR, auth: vaultAuth(settings) } : undefined,
    s3: settings.S3_BUCKET
      ? {
          bucket: settings.S3_BUCKET,
          endpoint: settings.AWS_ENDPOINT_URL_S3,
          region: settings.AWS_REGION,
          encryption: encryptionOf(settings),
        }
      : undefined,
    audit: {
      uploadAlertAfterMs: settings.BYOC_AUDIT_UPLOAD_ALERT_SECONDS * 1000,
      localDays: settings.BYOC_AUDIT_LOCAL_DAYS,
      localBytes: settings.BYOC_AUDIT_LOCAL_MIB * 1024 * 1024,
    },
    metrics: metricsSettings(settings),
    kubeContext: settings.BYOC_KUBE_CONTEXT,
    logLevel: settings.LOG_LEVEL,
  };
}

function metricsSettings(settings: z.infer<typeof settingsSchema>): MetricsSettings | undefined {
  const { PROM_URL, INSIGHT_URL, BYOC_INSIGHT_TOKEN_FILE: tokenPath } = settings;
  if (!PROM_URL || !INSIGHT_URL || !tokenPath) return undefined;
  return {
    prometheus: {
      address: PROM_URL,
      auth: prometheusAuth(settings),
      caPath: settings.BYOC_PROM_CA,
      certPath: settings.BYOC_PROM_CERT,
      keyPath: settings.BYOC_PROM_KEY,
    },
    configPath: settings.BYOC_METRICS,
    insight: {
      address: INSIGHT_URL,
      caPath: settings.BYOC_INSIGHT_CA,
      tokenPath,
      maxAgeMs: settings.BYOC_METRICS_KEEP_SECONDS * 1000,
      maxBytes: settings.BYOC_METRICS_LOCAL_MIB * 1024 * 1024,
    },
  };
}

function prometheusAuth(settings: z.infer<typeof settingsSchema>): PrometheusAuth {
  const { PROM_TOKEN: token, PROM_USERNAME: username, PROM_PASSWORD: password } = settings;
  if (token !== undefined) return { method: 'bearer', token };
  return username !== undefined && password !== undefined
    ? { method: 'basic', username, password }
    : { method: 'none' };
}

function encryptionOf(settings: z.infer<typeof settingsSchema>): Encryption | undefined {
  const { BYOC_S3_SSE: algorithm, BYOC_S3_KMS_KEY_ID: keyId } = settings;
  if (algorithm === undefined) return undefined;
  return algorithm === 'aws:kms' ? { algorithm, keyId } : { algorithm };
}

function vaultAuth(settings: z.infer<typeof settingsSchema>): VaultAuth {
  const { VAULT_TOKEN: token, VAULT_ROLE_ID: roleId, VAULT_SECRET_ID: secretId } = settings;
  if (roleId && secretId) return { method: 'approle', roleId, secretId };
  if (token) return { method: 'token', token };
  throw new ConnectorError(
    'CONFIG_INVALID',
    'VAULT_ADDR is set; VAULT_ROLE_ID with VAULT_SECRET_ID, or VAULT_TOKEN, must be too.',
  );
}
