import type { Logger } from 'pino';
import type { FreezeState } from '../domain/freeze.ts';
import { taskQueueOf } from '../domain/names.ts';
import { openSupervision } from './agent/supervision.ts';
import { createAlertRelay } from './alert-relay.ts';
import { createAuditUpkeep } from './audit-upkeep.ts';
import type { WorkerConfig } from './config.ts';
import type { Foundation } from './foundation.ts';
import { openFoundation } from './foundation.ts';
import type { RoleRun } from './roles/role.ts';
import { metricsSchedules, removeSchedules } from './schedules.ts';
import type { TemporalAccess } from './temporal.ts';
import { workflowQueueOf } from './workflows.ts';

/** A worker with everything it stands on. */
export interface Connector {
  readonly temporal: TemporalAccess;
  /** Works until the process is told to end or `shutdown` is called, then drains and frees everything. */
  run(): Promise<void>;
  shutdown(): void;
}

/** Makes a worker for the roles of its settings: what all roles stand on, then each role, then what others see of it. */
export async function createConnector(
  config: WorkerConfig,
  env: NodeJS.ProcessEnv,
  logger: Logger,
): Promise<Connector> {
  const { clusterId, writer } = config;
  const foundation = await openFoundation(config, env, logger);
  const { temporal, client, audit, alerts } = foundation;
  const roles = await startRoles(foundation);
  const [firstRole = 'execution'] = config.roles; // there is one
  const workflowQueue = workflowQueueOf(config, firstRole);
  const upkeep = await createAuditUpkeep({
    ...temporal,
    clusterId,
    writer,
    client,
    audit,
    workflowQueue,
    forgetsOthers: config.roles.includes('execution'),
    logger,
  });
  // Who does not know the control plane tells it through who does.
  if (config.relaysAlerts) {
    const { sign, publicKeyPem } = audit;
    alerts.deliverThrough(createAlertRelay({ clusterId, client, workflowQueue, sign, publicKeyPem }));
  }
  const supervision = await openSupervision(foundation, roles);
  const taskQueues = config.roles.map((role) => taskQueueOf(clusterId, role));
  logger.info({ roles: config.roles, taskQueues, namespace: temporal.namespace }, 'ready');

  return {
    temporal,
    async run() {
      try {
        await Promise.all([...roles.map((role) => role.run()), upkeep.run()]);
      } finally {
        await supervision.close();
        for (const role of roles) await role.close();
        await foundation.close();
        logger.info('stopped');
      }
    },
    shutdown() {
      for (const role of roles) role.shutdown();
      upkeep.shutdown();
    },
  };
}

/** Each role is loaded only where it runs: a process that only beats has no room for what writes to the cluster. */
async function startRoles(foundation: Foundation): Promise<RoleRun[]> {
  const { config, client } = foundation;
  const { controlPlane, registrationVault, metrics, metricsVault, simulated } = config;
  const roles: RoleRun[] = [];
  let freeze: (() => FreezeState) | undefined;
  if (config.roles.includes('execution')) {
    const { startExecution } = await import('./roles/execution.ts');
    const execution = await startExecution(foundation);
    roles.push(execution);
    freeze = execution.freeze;
  }
  if (controlPlane && (registrationVault || simulated)) {
    const { startRegistration } = await import('./roles/registration.ts');
    roles.push(await startRegistration(foundation, { controlPlane, vault: registrationVault, freeze }));
  }
  if (metrics && (metricsVault || simulated)) {
    const { startMetrics } = await import('./roles/metrics.ts');
    roles.push(await startMetrics(foundation, { metrics, vault: metricsVault }));
  } else {
    const ids = metricsSchedules(config.clusterId, config.writer, '').map(({ id }) => id);
    await removeSchedules(client.schedule, ids); // an earlier start may have had a Prometheus
  }
  return roles;
}
