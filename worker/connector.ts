import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger, Worker } from '@temporalio/worker';
import type { WorkerOptions } from '@temporalio/worker';
import { KubeConfig } from '@kubernetes/client-node';
import type { Logger } from 'pino';
import { createActivities } from '../activities/index.ts';
import { createKubeApi } from '../activities/kubernetes/kube-api.ts';
import { createMask } from '../activities/kubernetes/mask.ts';
import { createPlanner } from '../activities/kubernetes/planner.ts';
import { createStateRecords, createStateSecrets, createWriter, sharedKey } from '../activities/kubernetes/writer.ts';
import { createAdmission } from '../activities/package/admission.ts';
import { Claims } from '../activities/package/claims.ts';
import { Locks } from '../activities/package/locks.ts';
import { Sequences } from '../activities/package/sequences.ts';
import { createStatementProver } from '../activities/package/statements.ts';
import { policySource } from '../activities/policy/load-policy.ts';
import type { ApproverSource } from '../activities/sigstore/approver-keys.ts';
import { fileApproverSource, NO_APPROVERS, vaultApproverSource } from '../activities/sigstore/approver-keys.ts';
import type { KeySource } from '../activities/sigstore/keys.ts';
import { cachedKeySource, cosignKeySource } from '../activities/sigstore/keys.ts';
import { vaultKeySource } from '../activities/sigstore/vault-keys.ts';
import { readTrustedRoot } from '../activities/sigstore/trusted-root.ts';
import { createWitness } from '../activities/temporal/witness.ts';
import type { Vault, VaultSettings } from '../activities/vault/vault.ts';
import { dataConverter } from '../client/data-converter/index.ts';
import { sha256 } from '../client/sha256.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { FreezeState } from '../domain/freeze.ts';
import { Health } from '../domain/health.ts';
import type { Role } from '../domain/names.ts';
import { rollbackIdOf, STATE_NAMESPACE, taskQueueOf, VERSION } from '../domain/names.ts';
import { openAlerts } from './alerts.ts';
import { openSupervision } from './agent/supervision.ts';
import { openAuditTrail } from './audit-trail.ts';
import { createAuditUpkeep, createReadActivities } from './audit-upkeep.ts';
import { watchKeys } from './audit-watch.ts';
import type { WorkerConfig } from './config.ts';
import { createControlPlaneLink } from './control-plane-link.ts';
import { openHalting } from './halting.ts';
import { reportKeys } from './health-watch.ts';
import { createMetrics } from './metrics/registry.ts';
import { watchParts } from './part-news.ts';
import { createPolicyNews } from './policy-news.ts';
import { watchPolicy } from './policy-watch.ts';
import { releaseOf } from './release.ts';
import { clusterSchedules, metricsSchedules, reconcileSchedules, removeSchedules } from './schedules.ts';
import { connectTemporal, registeredSearchAttributes } from './temporal.ts';
import type { TemporalAccess } from './temporal.ts';
import { openVault } from './vault.ts';

/** The Secret with the key that values of Secrets are masked with. */
const MASKING_KEY = 'byoc-masking-key';

/** The Secret with the key that personal data in labels is hashed with. */
const REDACTION_KEY = 'byoc-redaction-key';

/** What whoever is on call reads first. */
const TOLD = {
  refused: 'a call was refused',
  'package-failed': 'a package failed',
  'cut-off': 'the run of a package was ended from outside: terminated, reset or wiped',
} as const;

/** A worker with everything it stands on. */
export interface Connector {
  readonly temporal: TemporalAccess;
  /** Whether execution is frozen, as this worker knows it. */
  freeze(): FreezeState;
  /** Works until the process is told to end or `shutdown` is called, then drains and frees everything. */
  run(): Promise<void>;
  shutdown(): void;
}

/** Wires the real parts together. This is the one place that makes them. */
export async function createConnector(
  config: WorkerConfig,
  env: NodeJS.ProcessEnv,
  logger: Logger,
): Promise<Connector> {
  const { clusterId } = config;
  const taskQueue = taskQueueOf(clusterId, 'execution');
  const now = () => new Date();

  const kubeConfig = kubeConfigOf(config);
  const api = createKubeApi(kubeConfig);
  const metrics = createMetrics();
  const health = new Health(now);
  const alerts = await openAlerts({
    clusterId,
    writer: config.writer,
    folder: config.controlPlane && join(config.dataDir, 'alerts'),
    count: metrics.onAlert,
    onCounts: metrics.setAlerts,
    logger,
  });
  const { raise } = alerts;
  // First what may be away: a start that comes to nothing is none that the audit log would have to tell of.
  const temporal = await connectTemporal(env);
  const audit = await openAuditTrail({ config, version: VERSION, api, watchers: [metrics, alerts], raise, logger });
  const { connection, namespace } = temporal;
  const client = new Client({ connection, namespace, dataConverter });
  const searchAttributes = await registeredSearchAttributes(temporal);

  const state = createStateRecords(api);
  const readKey = async (name: string) => {
    await audit.record('secret.read', { store: 'kubernetes', paths: [`${STATE_NAMESPACE}/${name}`] });
    return sharedKey(api, name);
  };
  const mask = createMask(await readKey(MASKING_KEY));
  const planner = createPlanner({ api, sha256, mask });
  const halting = await openHalting(config, kubeConfig, audit, logger);
  const writer = createWriter({ api: halting.guard(api), planner });
  const vaultOf = (role: Role, settings: VaultSettings | undefined) =>
    settings && openVault({ settings, role, record: audit.record, logger });
  const vault = vaultOf('execution', config.vault);
  const registrationVault = vaultOf('registration', config.registrationVault);
  const metricsVault = vaultOf('metrics', config.metricsVault);
  const vaults = [vault, registrationVault, metricsVault];
  const policy = policySource(config.policyPath, sha256);
  const trustedRoot = config.trustedRootPath === undefined ? undefined : await readTrustedRoot(config.trustedRootPath);
  const keys = reportKeys(watchKeys(keySourceOf(vault, config), 'packages', audit.record), health);
  const approvers = watchKeys(approverSourceOf(vault, config), 'votes', audit.record);
  const admit = audit.guard(createAdmission({ clusterId, keys, trustedRoot, policy, sha256, now }));
  const prove = createStatementProver({ approvers, policy, now });

  const claims = new Claims(state);
  const witness = createWitness(client.workflow);
  const locks = new Locks({
    clusterId,
    records: state,
    leases: halting.leases,
    sha256,
    isOver: async (wpkId, runId) => {
      const claim = await claims.read(wpkId);
      if (!claim) return true;
      // Another run than the package's own is that of its rollback.
      const workflowId = claim.runId === runId ? claim.workflowId : rollbackIdOf(clusterId, wpkId);
      return (await witness.fateOf({ workflowId, runId })) !== 'running';
    },
    onTrouble: (err) => logger.warn({ err }, 'what a package held could not be given back; it is tried again'),
    now,
  });

  const activities = createActivities({
    clusterId,
    taskQueue,
    searchAttributes,
    sha256,
    admit,
    claims,
    planner,
    writer,
    executor: halting.executor,
    locks,
    freeze: halting.freeze,
    audit,
    uploadAudit: audit.secure,
    onEnded: audit.uploadLater,
    witness,
    prove,
    secrets: createStateSecrets(api),
    sequences: new Sequences(state, sha256, clusterId),
    policy,
    now,
    onTrouble: ({ trouble, activity, caller, error }) => {
      const about = {
        activity,
        code: error instanceof ConnectorError ? error.code : 'INTERNAL',
        ...caller,
        err: error,
      };
      metrics.onTrouble(trouble, about.code);
      if (trouble === 'away') logger.warn(about, 'something is away; the activity will be tried again');
      else if (trouble === 'waiting') logger.debug(about, 'a package waits');
      else logger.error({ alert: trouble, ...about }, TOLD[trouble]);
    },
  });

  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue,
    activities: { ...activities, ...createReadActivities(audit) },
    dataConverter,
    ...(await workflows(config)),
    workerDeploymentOptions: releaseOf(clusterId),
    // A stop is heard with a heartbeat's answer: send each one.
    maxHeartbeatThrottleInterval: '200ms',
    defaultHeartbeatThrottleInterval: '200ms',
    shutdownGraceTime: '20s',
  });
  const news = createPolicyNews({
    clusterId,
    writer: config.writer,
    audit,
    client,
    searchAttributes,
    logger: logger.child({ file: config.policyPath }),
  });
  const policyWatch = await watchPolicy({ path: config.policyPath, load: policy, news });
  const upkeep = await createAuditUpkeep({
    clusterId,
    writer: config.writer,
    connection,
    namespace,
    client,
    audit,
    logger,
  });
  const link =
    config.controlPlane &&
    registrationVault &&
    (await createControlPlaneLink({
      settings: config.controlPlane,
      clusterId,
      writer: config.writer,
      roles: ['registration', 'execution'],
      identity: registrationVault.identity('registration'),
      connection,
      namespace,
      client,
      searchAttributes,
      api,
      policy,
      audit,
      alerts,
      freeze: halting.freeze,
      health,
      metrics,
      logger,
    }));
  // Loaded only where it is wanted: what it knows of telephone numbers takes room.
  const metricsStream =
    config.metrics &&
    metricsVault &&
    (await (
      await import('./metrics-stream.ts')
    ).createMetricsStream({
      settings: config.metrics,
      clusterId,
      writer: config.writer,
      dataDir: config.dataDir,
      identity: metricsVault.identity('metrics'),
      redactionKey: await readKey(REDACTION_KEY),
      connection,
      namespace,
      client,
      health,
      metrics,
      audit,
      logger,
    }));
  if (!metricsStream) {
    const ids = metricsSchedules(clusterId, config.writer).map(({ id }) => id);
    await removeSchedules(client.schedule, ids); // an earlier start may have had a Prometheus
  }
  await reconcileSchedules(client.schedule, clusterSchedules(clusterId));
  const supervision = await openSupervision({
    config,
    temporal,
    client,
    worker,
    admit,
    claims,
    keys,
    policy,
    freeze: halting.freeze,
    audit,
    vault,
    health,
    metrics,
    logger,
  });
  const parts = watchParts(health, { audit, logger });
  logger.info({ taskQueue, namespace, searchAttributes }, 'ready');

  return {
    temporal,
    freeze: halting.freeze,
    async run() {
      try {
        await Promise.all([worker.run(), upkeep.run(), link?.run(), metricsStream?.run()]);
      } finally {
        parts.close();
        await supervision.close();
        await policyWatch.close();
        await halting.close();
        await audit.close();
        await alerts.close();
        await Promise.all([link?.close(), metricsStream?.close()]);
        await Promise.all([...vaults.map((one) => one?.close()), api.close(), connection.close()]);
        logger.info('stopped');
      }
    },
    shutdown() {
      worker.shutdown();
      upkeep.shutdown();
      link?.shutdown();
      metricsStream?.shutdown();
    },
  };
}

/** In production the bundle was made by the build; from a checkout it is made now. */
async function workflows(config: WorkerConfig): Promise<Pick<WorkerOptions, 'workflowBundle'>> {
  if (config.workflowBundle) return { workflowBundle: { codePath: config.workflowBundle } };
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const pathOf = (name: string) => fileURLToPath(new URL(`../workflows/${name}.${extension}`, import.meta.url));
  const { payloadConverterPath } = dataConverter;
  const logger = new DefaultLogger('WARN');
  return {
    workflowBundle: await bundleWorkflowCode({
      workflowsPath: pathOf('index'),
      workflowInterceptorModules: [pathOf('interceptors')],
      logger,
      ...(payloadConverterPath && { payloadConverterPath }),
    }),
  };
}

function keySourceOf(vault: Vault | undefined, { cosignKey, clusterId }: WorkerConfig): KeySource {
  if (vault) return cachedKeySource(vaultKeySource({ vault, clusterId }));
  if (cosignKey) return cosignKeySource(cosignKey);
  throw new ConnectorError('CONFIG_INVALID', 'Neither VAULT_ADDR nor COSIGN_KEY is set.');
}

function approverSourceOf(vault: Vault | undefined, { approversPath, clusterId }: WorkerConfig): ApproverSource {
  if (approversPath) return fileApproverSource(approversPath);
  return vault ? cachedKeySource(vaultApproverSource({ vault, clusterId })) : NO_APPROVERS;
}

function kubeConfigOf({ kubeContext }: WorkerConfig): KubeConfig {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromDefault();
  if (kubeContext) kubeConfig.setCurrentContext(kubeContext);
  return kubeConfig;
}
