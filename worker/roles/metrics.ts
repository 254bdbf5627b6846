import type { VaultSettings } from '../../activities/vault/vault.ts';
import { REDACTION_KEY } from '../../domain/names.ts';
import type { MetricsSettings } from '../config.ts';
import type { Foundation } from '../foundation.ts';
import { createMetricsStream } from '../metrics-stream.ts';
import { scheduledWorkflows } from '../workflows.ts';
import type { RoleRun } from './role.ts';

export interface MetricsOptions {
  readonly metrics: MetricsSettings;
  readonly vault: VaultSettings | undefined;
}

/** Reads metrics from Prometheus and sends them, without personal data, to the Insight Engine. */
export async function startMetrics(foundation: Foundation, { metrics, vault }: MetricsOptions): Promise<RoleRun> {
  const { config, temporal, client, audit, health, metrics: counts, logger } = foundation;
  return createMetricsStream({
    ...temporal,
    ...(await scheduledWorkflows(config, 'metrics')),
    settings: metrics,
    clusterId: config.clusterId,
    writer: config.writer,
    dataDir: config.dataDir,
    identity: foundation.identityOf('metrics', vault),
    redactionKey: await foundation.readKey(REDACTION_KEY),
    source: foundation.simulation?.prometheus,
    client,
    health,
    metrics: counts,
    audit,
    logger,
  });
}
