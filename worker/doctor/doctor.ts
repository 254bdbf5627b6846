import { join } from 'node:path';
import { kubeConfigOf } from '../../activities/kubernetes/kubeconfig.ts';
import { ACCOUNT_FOLDER } from '../../activities/kubernetes/pod-access.ts';
import { auditQueueOf, metricsQueueOf, taskQueueOf } from '../../domain/names.ts';
import type { Role } from '../../domain/names.ts';
import type { TlsSource } from '../../activities/tls/context.ts';
import type { VaultSettings } from '../../activities/vault/vault.ts';
import type { TlsFiles, TlsPart } from '../../domain/tls-settings.ts';
import { TLS_SETTINGS } from '../../domain/tls-settings.ts';
import { prefixOf } from '../audit-trail.ts';
import type { WorkerConfig } from '../config.ts';
import { checkConfig } from '../config.ts';
import { workerSettingNames } from '../settings/catalogue.ts';
import type { SettingProblem } from '../settings/check.ts';
import type { ScheduleRow } from '../schedules.ts';
import { auditSchedules, clusterSchedules, linkSchedules, metricsSchedules } from '../schedules.ts';
import { workflowQueueOf } from '../workflows.ts';
import { bucketChecks } from './bucket.ts';
import type { CertificateFile } from './certificates.ts';
import { sharedChecks } from './certificates.ts';
import type { Check, CheckGroup, Finding } from './check.ts';
import { found, runChecks } from './check.ts';
import { diskChecks } from './disk.ts';
import { Evidence } from './evidence.ts';
import { kubernetesChecks } from './kubernetes.ts';
import { processChecks } from './process.ts';
import { serviceChecks } from './services.ts';
import { temporalChecks } from './temporal.ts';
import { trustChecks } from './trust.ts';
import { vaultChecks } from './vault.ts';

export interface DoctorOptions {
  /** The settings of the worker. */
  readonly env: NodeJS.ProcessEnv;
  /** As `process.versions.node`. */
  readonly nodeVersion: string;
  /** False before the worker's first start: what it makes itself is not looked for. */
  readonly expectsWorker: boolean;
  readonly now: () => Date;
}

export interface Examination {
  /** Undefined where the settings do not even tell that. */
  readonly clusterId: string | undefined;
  readonly simulated: boolean;
  readonly findings: readonly Finding[];
}

/** What is not looked at while the settings do not say where it is. */
const PARTS = [
  'disk',
  'policy',
  'signing-keys',
  'approvers',
  'vault',
  'kubernetes',
  'temporal',
  's3',
  'certificates',
  'clock',
];

/**
 * Looks at every setting and every external part as a worker with this environment would meet them. It changes nothing:
 * it logs in to Vault and gives the tokens back, and writes and removes one file in the data folder.
 */
export async function examine({ env, nodeVersion, expectsWorker, now }: DoctorOptions): Promise<Examination> {
  const { config, problems } = bestConfig(env);
  const groups = [
    processChecks({ env, nodeVersion, problems, known: workerSettingNames() }),
    ...(config ? partsOf(config, env, expectsWorker, now) : [{ checks: PARTS.map(needingSettings) }]),
  ];
  try {
    const findings = await runChecks(groups.flatMap(({ checks }) => checks));
    return { clusterId: config?.clusterId, simulated: config?.simulated ?? false, findings };
  } finally {
    await Promise.allSettled(groups.map((group: CheckGroup) => group.close?.()));
  }
}

/** A setting that is wrong hides no other part: what is wrong is told, set aside, and the rest is looked at. */
function bestConfig(env: NodeJS.ProcessEnv): {
  readonly config: WorkerConfig | undefined;
  readonly problems: readonly SettingProblem[];
} {
  const first = checkConfig(env);
  if ('config' in first) return { config: first.config, problems: [] };
  // Of settings that do not go together all go, because leaving one out would be as wrong.
  const known = workerSettingNames();
  const wrong = first.problems.flatMap(({ says }) => says.match(/\b[A-Z][A-Z0-9_]+\b/g) ?? []);
  const aside = new Set(wrong.filter((name) => known.includes(name)));
  const rest = checkConfig(Object.fromEntries(Object.entries(env).filter(([name]) => !aside.has(name))));
  return { config: 'config' in rest ? rest.config : undefined, problems: first.problems };
}

function needingSettings(name: string): Check {
  return { name, needs: ['settings'], run: () => Promise.resolve([]) };
}

function partsOf(config: WorkerConfig, env: NodeJS.ProcessEnv, expectsWorker: boolean, now: () => Date): CheckGroup[] {
  const { clusterId } = config;
  const evidence = new Evidence();
  if (config.simulated) return simulatedParts(config, env, evidence, expectsWorker);
  const parts = [
    diskChecks({ dataDir: config.dataDir, wantedBytes: wantedBytesOf(config) }),
    vaultChecks({ clusterId, logins: loginsOf(config), evidence }),
    ...(config.roles.includes('execution')
      ? [trustChecks({ ...config, isProduction: env['NODE_ENV'] === 'production', now })]
      : []),
    kubernetesChecks({
      ...config,
      access: () => kubeConfigOf(config.kubeContext, env),
      ownNamespaceFile: join(env['BYOC_KUBE_ACCOUNT_DIR'] || ACCOUNT_FOLDER, 'namespace'),
      evidence,
      expectsWorker,
    }),
    temporalChecks({ env, queues: queuesOf(config), schedules: schedulesOf(config), evidence, expectsWorker }),
    bucketChecks({ s3: config.s3, prefix: `${prefixOf(config)}/`, evidence }),
    serviceChecks({ ...config, evidence, now }),
  ];
  const after = parts.flatMap(({ checks }) => checks.map(({ name }) => name));
  return [...parts, sharedChecks({ files: certificateFilesOf(config), evidence, after, now })];
}

/** Of a simulation only Temporal and the disk are real. */
function simulatedParts(
  config: WorkerConfig,
  env: NodeJS.ProcessEnv,
  evidence: Evidence,
  expectsWorker: boolean,
): CheckGroup[] {
  const says = 'SIMULATION is true: cluster, keys, bucket and metrics are made up.';
  return [
    { checks: [{ name: 'simulation', run: () => Promise.resolve([found('SIMULATED', says)]) }] },
    diskChecks({ dataDir: config.dataDir, wantedBytes: wantedBytesOf(config) }),
    temporalChecks({ env, queues: queuesOf(config), schedules: schedulesOf(config), evidence, expectsWorker }),
  ];
}

function wantedBytesOf({ audit, metrics }: WorkerConfig): number {
  return audit.localBytes + (metrics?.insight.maxBytes ?? 0);
}

function loginsOf({ vault, registrationVault, metricsVault }: WorkerConfig): ReadonlyMap<Role, VaultSettings> {
  const all = { registration: registrationVault, metrics: metricsVault, execution: vault };
  const given = Object.entries(all).filter((entry): entry is [Role, VaultSettings] => entry[1] !== undefined);
  return new Map(given);
}

function queuesOf({ clusterId, writer, roles }: WorkerConfig): string[] {
  return [
    // What waits to be sent lies on one disk, so each process that sends metrics has a queue of its own.
    ...roles.map((role) => (role === 'metrics' ? metricsQueueOf(clusterId, writer) : taskQueueOf(clusterId, role))),
    auditQueueOf(clusterId, writer),
  ];
}

function schedulesOf(config: WorkerConfig): ScheduleRow[] {
  const { clusterId, writer, roles, controlPlane, metrics } = config;
  const [first = 'execution'] = roles;
  return [
    ...(roles.includes('execution') ? clusterSchedules(clusterId) : []),
    ...auditSchedules(clusterId, writer, workflowQueueOf(config, first)),
    ...(controlPlane ? linkSchedules(clusterId, workflowQueueOf(config, 'registration')) : []),
    ...(metrics ? metricsSchedules(clusterId, writer, workflowQueueOf(config, 'metrics')) : []),
  ];
}

/** Files that the worker reads; what servers show is seen when they are asked, and Temporal's files are its own. */
function certificateFilesOf({ vault, s3, controlPlane, metrics, agent }: WorkerConfig): CertificateFile[] {
  const keys = agent?.jwt?.keys;
  const sources: readonly [TlsPart, TlsSource | undefined][] = [
    ['vault', vault?.tls],
    ['s3', s3?.tls],
    ['control-plane', controlPlane?.tls],
    ['prometheus', metrics?.prometheus.tls],
    ['insight', metrics?.insight.tls],
    ['caller-keys', keys && 'url' in keys ? keys.tls : undefined],
  ];
  const ofParts = sources.flatMap(([part, source]) => {
    const { ca, cert }: TlsFiles = source && 'toJSON' in source ? source.toJSON() : (source ?? {});
    return [
      { setting: TLS_SETTINGS[part].ca, path: ca },
      { setting: TLS_SETTINGS[part].cert, path: cert },
    ];
  });
  const own = [
    { setting: 'BYOC_AGENT_TLS_CERT', path: agent?.tls?.certPath },
    { setting: 'BYOC_AGENT_CLIENT_CA', path: agent?.tls?.clientCaPath },
  ];
  return [...ofParts, ...own].flatMap(({ setting, path }) => (path === undefined ? [] : [{ setting, path }]));
}
