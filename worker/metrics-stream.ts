import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { Identity } from '../activities/vault/identity.ts';
import { createInsight } from '../activities/insight/client.ts';
import { createMetricsActivities } from '../activities/insight/metrics.ts';
import { Spool } from '../activities/insight/spool.ts';
import type { Prometheus } from '../activities/prometheus/client.ts';
import { createPrometheus } from '../activities/prometheus/client.ts';
import { loadMetricsConfig } from '../activities/prometheus/load-config.ts';
import { createKeyedHash } from '../activities/redact/keyed-hash.ts';
import { dataConverter } from '../client/data-converter/index.ts';
import { metricsQueueOf } from '../domain/names.ts';
import { createRedactor } from '../domain/redact/redactor.ts';
import type { MetricsSettings } from './config.ts';
import type { MetricsWatchOptions } from './metrics-watch.ts';
import { watchMetrics } from './metrics-watch.ts';
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
  /** In the place of Prometheus. */
  readonly source?: Prometheus | undefined;
  /** What hashes are made with, the same in all pods of a cluster. */
  readonly redactionKey: Uint8Array;
  readonly connection: NativeConnection;
  readonly namespace: string;
  /** Where this process runs workflows, and those that it runs on the queue of the role. */
  readonly workflowQueue: string;
  readonly workflows: RoleWorkflows;
  readonly client: Client;
  readonly health: MetricsWatchOptions['health'];
  readonly metrics: MetricsWatchOptions['metrics'];
  readonly audit: { readonly record: MetricsWatchOptions['record'] };
  readonly logger: Logger;
}

/**
 * Makes the stream of metrics from Prometheus to the Insight Engine: a worker on a queue of its own, and a schedule.
 * @throws {ConnectorError} CONFIG_INVALID, SPOOL_UNAVAILABLE
 */
export async function createMetricsStream(options: MetricsOptions): Promise<RoleRun> {
  const { settings, clusterId, writer, connection, namespace, client, health, metrics, logger } = options;
  const now = () => new Date();
  const config = await loadMetricsConfig(settings.configPath);
  const prometheus = options.source ?? createPrometheus(settings.prometheus);
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
    activities: watchMetrics(activities, { spool, health, metrics, record: options.audit.record, logger }),
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
