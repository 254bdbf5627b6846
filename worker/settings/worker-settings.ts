import { z } from 'zod';
import { AUDIT_RETENTION_DAYS, DEFAULT_REGION } from '../../domain/audit.ts';
import { CLUSTER_ID, STATE_NAMESPACE } from '../../domain/names.ts';
import { isEncryptedOrLocal } from '../../domain/encrypted-or-local.ts';
import { AGENT_SETTINGS } from '../agent/settings.ts';
import { SIMULATION_ALLOWED } from '../simulation/settings.ts';
import { VAULT_SETTINGS } from '../vault-settings.ts';
import { DEVELOPMENT_ADDRESSES } from './development.ts';
import { parseLabels } from './labels.ts';
import { parseRoles } from './roles.ts';
import { setting } from './setting.ts';

/** RFC 1123. */
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const SERVICE_ACCOUNT = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/;

const text = z.string().min(1);
const address = z.url().refine(isEncryptedOrLocal, 'must be https, except on this machine');
const namespace = z.string().regex(NAMESPACE, 'must be the name of a namespace');

/** What this process is. */
const process = {
  BYOC_CLUSTER_ID: setting(z.string().regex(CLUSTER_ID, 'must be a DNS label'), {
    needed: 'yes',
    means: 'name of the cluster; packages are addressed to it, and it never changes',
    otherwise: 'with `NODE_ENV` other than `production`: `NODE_NAME`, or the name of the host',
  }),
  BYOC_ROLES: setting(z.string().transform(parseRoles).optional(), {
    needed: 'in production',
    means:
      'what this process does, `registration,metrics`: as `--role`, which may be given several times ([roles.md](roles.md))',
    otherwise: 'in development all that there are settings for',
  }),
  BYOC_DATA_DIR: setting(text, {
    needed: 'yes',
    means: 'folder of the audit log, and of metrics and alerts that wait',
  }),
  BYOC_POLICY: setting(text.optional(), {
    means: '[policy file](policy.md)',
    otherwise: 'people must approve everything by signed votes',
  }),
  BYOC_WRITER: setting(
    z
      .string()
      .regex(/^[a-z0-9]([-a-z0-9.]{0,170}[a-z0-9])?$/, 'must be a DNS name of at most 172 characters')
      .optional(),
    { means: "name of this worker's audit chain, unique in the cluster", otherwise: 'the name of the host' },
  ),
  BYOC_WORKFLOW_BUNDLE: setting(text.optional(), {
    means: 'another workflow bundle',
    otherwise: 'the one that `npm run build` made; from a checkout it is made at start',
  }),
  NODE_ENV: AGENT_SETTINGS.NODE_ENV,
  NODE_NAME: setting(z.string().optional(), { means: 'name of the node, for `BYOC_CLUSTER_ID` in development' }),
  LOG_LEVEL: setting(z.enum(['debug', 'info', 'warn', 'error']).default('info'), {
    means: 'what is logged: `debug`, `info`, `warn` or `error`',
  }),
};

/** What is trusted. */
const trust = {
  COSIGN_KEY: setting(text.optional(), {
    needed: 'where there is no Vault',
    means: 'public keys that sign packages: PEM text, or the path of a file ([keys.md](keys.md))',
  }),
  BYOC_APPROVERS: setting(text.optional(), {
    means: "YAML file with approvers' keys ([keys.md](keys.md))",
    otherwise: 'those in Vault',
  }),
  BYOC_TRUSTED_ROOT: setting(text.optional(), {
    means:
      'trusted root of Sigstore (JSON): lets packages be signed by an identity instead of a key, or carry log entries ([keys.md](keys.md))',
  }),
};

const temporal = {
  BYOC_PAYLOAD_CODEC: setting(z.enum(['vault', 'off']).default('off'), {
    means:
      '`vault`: what the worker tells Temporal is encrypted with a key from Vault; `off` is for development ([data-protection.md](data-protection.md)). `byoc` reads it too',
  }),
};

const kubernetes = {
  BYOC_KUBE_CONTEXT: setting(text.optional(), { means: 'context of the kubeconfig', otherwise: 'the current one' }),
  BYOC_STATE_NAMESPACE: setting(namespace.default(STATE_NAMESPACE), {
    means: 'namespace of claims, locks, freeze, snapshots and keys. `byoc` reads it too',
  }),
  BYOC_HEADS_NAMESPACE: setting(namespace.optional(), {
    means: 'namespace of the Leases with audit heads. `byoc` reads it too',
    otherwise: '`BYOC_STATE_NAMESPACE`',
  }),
  BYOC_APPLY_SERVICE_ACCOUNT: setting(
    z
      .string()
      .regex(SERVICE_ACCOUNT, 'must be namespace/name of a ServiceAccount')
      .transform((account) => {
        const [namespace = '', name = ''] = account.split('/');
        return { namespace, name };
      })
      .optional(),
    {
      means: '`namespace/name` of the account that packages are planned and applied with ([roles.md](roles.md))',
      otherwise: "the connector's own, for development",
    },
  ),
};

/** The audit log, on the disk and in the customer's bucket. */
const audit = {
  S3_BUCKET: setting(text.optional(), {
    means: 'bucket for the audit log; with one, what was decided about a package is there before its first write',
    otherwise: 'the log stays on the disk',
  }),
  AWS_ENDPOINT_URL_S3: setting(address.optional(), { means: 'S3 elsewhere than at AWS', otherwise: "AWS's own" }),
  AWS_REGION: setting(text.default(DEFAULT_REGION), { means: 'region of the bucket' }),
  BYOC_S3_SSE: setting(z.enum(['AES256', 'aws:kms']).optional(), {
    means: 'how the bucket encrypts what is written: `AES256` or `aws:kms`',
    otherwise: 'as the bucket is set',
  }),
  BYOC_S3_KMS_KEY_ID: setting(text.optional(), {
    means: 'the key in KMS; goes with `BYOC_S3_SSE` of `aws:kms`',
    otherwise: "the account's own",
  }),
  BYOC_AUDIT_UPLOAD_ALERT_SECONDS: setting(z.coerce.number().int().min(1).default(3_600), {
    means: 'how long entries may wait for the bucket before there is an alert',
  }),
  BYOC_AUDIT_LOCAL_DAYS: setting(z.coerce.number().int().min(1).default(AUDIT_RETENTION_DAYS), {
    means: 'how long uploaded entries stay on the disk',
  }),
  BYOC_AUDIT_LOCAL_MIB: setting(z.coerce.number().min(0.001).default(64), {
    means: 'how much of the disk uploaded entries may take',
  }),
};

const controlPlane = {
  CONTROL_PLANE_URL: setting(address.optional(), {
    needed: 'with the role registration, in production',
    means:
      'the [control plane](control-plane.md): https, or http on this machine. Needs Vault, with the login of the role `registration`',
    otherwise: `in development, where the role registration is named, \`${DEVELOPMENT_ADDRESSES.CONTROL_PLANE_URL}\`; else nothing is registered and nothing sent`,
  }),
  BYOC_ALERT_RELAY: setting(z.enum(['on', 'off']).default('on'), {
    means:
      'whether a process without the role registration hands its alerts to one that has it; `off` where the cluster has no control plane, as the chart sets it: alerts are in the log and in the metrics then',
  }),
  BYOC_CONTROL_PLANE_LOST_SECONDS: setting(z.coerce.number().min(1).default(90), {
    means: 'how long it may take no heartbeats before there is an alert',
  }),
  BYOC_LABELS: setting(z.string().transform(parseLabels).optional(), {
    means: 'labels of the cluster for the control plane: `team=shop,stage=prod`',
  }),
};

const metrics = {
  PROM_URL: setting(address.optional(), {
    needed: 'with the role metrics',
    means:
      'Prometheus; with it metrics are sent to the Insight Engine ([cluster-metrics.md](cluster-metrics.md)). Needs Vault, with the login of the role `metrics`',
  }),
  PROM_TOKEN: setting(text.optional(), { means: 'how to log in to Prometheus: a bearer token' }),
  PROM_USERNAME: setting(text.optional(), { means: 'or a name, with `PROM_PASSWORD`' }),
  PROM_PASSWORD: setting(text.optional(), { means: 'goes with `PROM_USERNAME`' }),
  BYOC_METRICS: setting(text.optional(), {
    means: 'YAML file with queries, allowed labels, redaction and limits ([cluster-metrics.md](cluster-metrics.md))',
    otherwise: 'what is built in',
  }),
  INSIGHT_URL: setting(address.optional(), {
    needed: 'with `PROM_URL`, in production',
    means: 'the Insight Engine',
    otherwise: `in development, with \`PROM_URL\`, \`${DEVELOPMENT_ADDRESSES.INSIGHT_URL}\``,
  }),
  BYOC_METRICS_KEEP_SECONDS: setting(z.coerce.number().int().min(1).max(3_600).default(3_600), {
    means: 'how long metrics wait on the disk for the Insight Engine: an hour at most',
  }),
  BYOC_METRICS_LOCAL_MIB: setting(z.coerce.number().min(0.01).max(64).default(24), {
    means: 'how much of the disk they may take',
  }),
};

const simulation = {
  /** Set where readSimulation has let it pass. */
  SIMULATION: setting(z.literal('true').optional(), {
    means:
      '`true`: [simulation mode](simulation.md), for development: nothing is real then, and no other setting of this table is needed but `BYOC_DATA_DIR`',
    otherwise: '`false`',
  }),
  [SIMULATION_ALLOWED.name]: setting(z.string().optional(), {
    means: `\`${SIMULATION_ALLOWED.value}\` lets a simulation run in production and inside a cluster as well`,
  }),
};

/** What a worker reads from the environment, by what it is for; `TEMPORAL_*` are read by @temporalio/envconfig. */
export const WORKER_SETTINGS = {
  process,
  trust,
  vault: VAULT_SETTINGS,
  temporal,
  kubernetes,
  audit,
  controlPlane,
  metrics,
  agent: AGENT_SETTINGS,
  simulation,
};

export const workerSchema = z.object({
  ...process,
  ...trust,
  ...VAULT_SETTINGS,
  ...temporal,
  ...kubernetes,
  ...audit,
  ...controlPlane,
  ...metrics,
  ...AGENT_SETTINGS,
  ...simulation,
});

/** All settings of a worker, each valid by itself. */
export type Settings = z.infer<typeof workerSchema>;
