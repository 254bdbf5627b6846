import { Client } from '@temporalio/client';
import { createActivities } from '../../activities/index.ts';
import { createMask } from '../../activities/kubernetes/mask.ts';
import { createPlanner } from '../../activities/kubernetes/planner.ts';
import {
  createStateRecords,
  createStateSecrets,
  createWriter,
  makeSharedKey,
} from '../../activities/kubernetes/writer.ts';
import { createAdmission } from '../../activities/package/admission.ts';
import { Claims } from '../../activities/package/claims.ts';
import { Locks } from '../../activities/package/locks.ts';
import { Sequences } from '../../activities/package/sequences.ts';
import { createStatementProver } from '../../activities/package/statements.ts';
import type { ApproverSource } from '../../activities/sigstore/approver-keys.ts';
import { fileApproverSource, NO_APPROVERS, vaultApproverSource } from '../../activities/sigstore/approver-keys.ts';
import type { KeySource } from '../../activities/sigstore/keys.ts';
import { cachedKeySource, cosignKeySource } from '../../activities/sigstore/keys.ts';
import { readTrustedRoot } from '../../activities/sigstore/trusted-root.ts';
import { vaultKeySource } from '../../activities/sigstore/vault-keys.ts';
import { createWitness } from '../../activities/temporal/witness.ts';
import type { Vault } from '../../activities/vault/vault.ts';
import { ConnectorClient } from '../../client/connector-client.ts';
import { sha256 } from '../../client/sha256.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { REDACTION_KEY, rollbackIdOf, taskQueueOf } from '../../domain/names.ts';
import { openApplying } from '../applying.ts';
import { createReadActivities } from '../audit-upkeep.ts';
import { watchKeys } from '../audit-watch.ts';
import type { WorkerConfig } from '../config.ts';
import type { Foundation } from '../foundation.ts';
import { openHalting } from '../halting.ts';
import { executionLooks, reportKeys } from '../health-watch.ts';
import { openPayloadCodec } from '../payload-codec.ts';
import { createPolicyNews } from '../policy-news.ts';
import { watchPolicy } from '../policy-watch.ts';
import { clusterSchedules, reconcileSchedules } from '../schedules.ts';
import { registeredSearchAttributes } from '../temporal.ts';
import { executionWorkflows } from '../workflows.ts';
import type { RoleRun } from './role.ts';
import { createWorker } from '../temporal.ts';

/** The Secret with the key that values of Secrets are masked with. */
const MASKING_KEY = 'byoc-masking-key';

/** What whoever is on call reads first. */
const TOLD = {
  refused: 'a call was refused',
  'package-failed': 'a package failed',
  'cut-off': 'the run of a package was ended from outside: terminated, reset or wiped',
} as const;

/** How many packages are taken a step further at once; those that only wait for people or rollouts don't count. */
const AT_A_TIME = 16;

/** Verifies, plans and carries out work packages: the one role that changes the cluster. */
export async function startExecution(foundation: Foundation): Promise<RoleRun> {
  const { config, kube, api, simulation, temporal, policy, audit, health, metrics, logger } = foundation;
  const { clusterId, stateNamespace, writer: name } = config;
  const taskQueue = taskQueueOf(clusterId, 'execution');
  const now = () => new Date();
  const searchAttributes = await registeredSearchAttributes(temporal);
  const vault = config.vault && foundation.openVault('execution', config.vault);
  const { namespace } = temporal;
  const payloads = await openPayloadCodec({ config, vault, namespace, health, logger });
  const { dataConverter } = payloads;
  const client = new Client({ ...temporal, dataConverter });

  const state = createStateRecords(api, stateNamespace);
  const mask = createMask(await foundation.readKey(MASKING_KEY));
  await makeSharedKey(api, REDACTION_KEY, stateNamespace); // for the role that may read it, but not make it
  const applying = openApplying(foundation);
  const planner = createPlanner({ api: applying.api, sha256, mask });
  const halting = await openHalting(config, kube, applying.access, audit, logger);
  const writer = createWriter({ api: halting.guard(applying.api), planner });
  const trustedRoot = config.trustedRootPath === undefined ? undefined : await readTrustedRoot(config.trustedRootPath);
  const keys = reportKeys(watchKeys(simulation?.keys ?? keySourceOf(vault, config), 'packages', audit.record), health);
  const approvers = watchKeys(simulation?.approvers ?? approverSourceOf(vault, config), 'votes', audit.record);
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
    isEncrypted: config.payloadCodec === 'vault',
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
    useOnce: audit.useOnce,
    onEnded: audit.uploadLater,
    witness,
    prove,
    secrets: createStateSecrets(api, stateNamespace),
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

  const worker = await createWorker({
    ...temporal,
    taskQueue,
    activities: { ...activities, ...createReadActivities({ clusterId, audit, keys: payloads.keys }) },
    dataConverter,
    ...(await executionWorkflows(config, dataConverter)),
    // Each holds a plan in memory; more at a time are no faster.
    maxConcurrentWorkflowTaskExecutions: AT_A_TIME,
    maxConcurrentLocalActivityExecutions: AT_A_TIME,
    // A stop is heard with a heartbeat's answer: send each one.
    maxHeartbeatThrottleInterval: '200ms',
    defaultHeartbeatThrottleInterval: '200ms',
    shutdownGraceTime: '20s',
  });
  const news = createPolicyNews({
    clusterId,
    writer: name,
    audit,
    client,
    searchAttributes,
    logger: logger.child({ file: config.policyPath }),
  });
  const policyWatch = await watchPolicy({ path: config.policyPath, load: policy, news });
  await reconcileSchedules(client.schedule, clusterSchedules(clusterId));
  return {
    worker,
    looks: { ...executionLooks({ keys, policy, freeze: halting.freeze }), ...applying.looks, ...payloads.looks },
    freeze: halting.freeze,
    intake: { admit, claims, client: new ConnectorClient({ ...temporal, clusterId, dataConverter }) },
    run: () => worker.run(),
    shutdown: () => worker.shutdown(),
    async close() {
      await policyWatch.close();
      await halting.close();
      await applying.close();
    },
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
