import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { toApplicationFailure } from '../activities/failure.ts';
import type { Identity } from '../activities/vault/identity.ts';
import { createInsight } from '../activities/insight/client.ts';
import type { MetricsActivities } from '../activities/insight/metrics.ts';
import { createMetricsActivities } from '../activities/insight/metrics.ts';
import { Spool } from '../activities/insight/spool.ts';
import { createPrometheus } from '../activities/prometheus/client.ts';
import { loadMetricsConfig } from '../activities/prometheus/load-config.ts';
import { createKeyedHash } from '../activities/redact/keyed-hash.ts';
import { dataConverter } from '../client/data-converter/index.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Collected, Delivered } from '../domain/metrics.ts';
import { metricsQueueOf } from '../domain/names.ts';
import { createRedactor } from '../domain/redact/redactor.ts';
import type { MetricsSettings } from './config.ts';
import type { RoleRun } from './roles/role.ts';
import { metricsSchedules, reconcileSchedules } from './schedules.ts';
import type { RoleWorkflows } from './workflows.ts';
import { createWorker } from './temporal.ts';

export interface MetricsOptions {
  readonly settings: MetricsSettings;
  readonly clusterId: string;
  readonly writer: string;
  readonly dataDir: string;
  readonly identity: Identity;
  /** What hashes are made with, the same in all pods of a cluster. */
  readonly redactionKey: Uint8Array;
  readonly connection: NativeConnection;
  readonly namespace: string;
  /** Where this process runs workflows, and those that it runs on the queue of the role. */
  readonly workflowQueue: string;
  readonly workflows: RoleWorkflows;
  readonly client: Client;
  readonly logger: Logger;
}

/**
 * Makes the stream of metrics from Prometheus to the Insight Engine: a worker on a queue of its own, and a schedule.
 * @throws {ConnectorError} CONFIG_INVALID, SPOOL_UNAVAILABLE
 */
export async function createMetricsStream(options: MetricsOptions): Promise<RoleRun> {
  const { settings, clusterId, writer, connection, namespace, client, logger } = options;
  const now = () => new Date();
  const config = await loadMetricsConfig(settings.configPath);
  const prometheus = createPrometheus(settings.prometheus);
  const { maxAgeMs, maxBytes } = settings.insight;
  const insight = createInsight(settings.insight, options.identity, now);
  const spool = await Spool.open(join(options.dataDir, 'metrics'), { maxAgeMs, maxBytes }, now);
  const redactor = createRedactor(config.redaction, createKeyedHash(options.redactionKey));
  const activities = createMetricsActivities({ clusterId, prometheus, insight, spool, config, redactor, now });
  const worker = await createWorker({
    connection,
    namespace,
    taskQueue: metricsQueueOf(clusterId, writer),
    ...options.workflows,
    activities: tellTrouble(activities, logger),
    dataConverter,
    maxConcurrentActivityTaskExecutions: 2,
    shutdownGraceTime: '5s',
  });
  await reconcileSchedules(client.schedule, metricsSchedules(clusterId, writer, options.workflowQueue));
  return {
    worker,
    run: () => worker.run(),
    shutdown: () => worker.shutdown(),
    async close() {
      await Promise.all([prometheus.close(), insight.close()]);
    },
  };
}

/** Once when something begins to fail and once when it is over, however often the schedule comes round. */
function tellTrouble(activities: MetricsActivities, logger: Logger): MetricsActivities & Record<string, () => unknown> {
  const failing = new Map<keyof MetricsActivities, string>();
  let given = 0;

  async function watched<T>(
    name: keyof MetricsActivities,
    work: () => Promise<T>,
    onDone: (result: T) => void,
  ): Promise<T> {
    try {
      const result = await work();
      if (failing.delete(name)) logger.info({ activity: name }, 'metrics flow again');
      onDone(result);
      return result;
    } catch (error) {
      const code = error instanceof ConnectorError ? error.code : 'INTERNAL';
      if (failing.get(name) !== code)
        logger.error({ alert: ALERTS[name], activity: name, code, err: error }, TOLD[name]);
      failing.set(name, code);
      throw toApplicationFailure(error);
    }
  }

  const onCollected = ({ failed, partial, omitted }: Collected) => {
    if (failed.length + partial.length + omitted.series > 0)
      logger.warn({ failed, partial, omitted }, 'metrics are incomplete');
  };
  const onDelivered = ({ dropped }: Delivered) => {
    const total = Object.values(dropped).reduce((sum, count) => sum + count, 0);
    if (total > given) logger.error({ alert: 'metrics-dropped', dropped }, 'metrics were given up');
    given = total;
  };
  return {
    collectMetrics: () => watched('collectMetrics', activities.collectMetrics, onCollected),
    deliverMetrics: () => watched('deliverMetrics', activities.deliverMetrics, onDelivered),
  };
}

const ALERTS = { collectMetrics: 'metrics-unread', deliverMetrics: 'metrics-undelivered' } as const;
const TOLD = {
  collectMetrics: 'metrics cannot be read from Prometheus',
  deliverMetrics: 'metrics cannot be delivered to the Insight Engine; they are kept for an hour',
} as const;
