import type { Client } from '@temporalio/client';
import type { Worker } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { Admission } from '../../activities/package/admission.ts';
import type { Claims } from '../../activities/package/claims.ts';
import type { PolicySource } from '../../activities/policy/load-policy.ts';
import type { KeySource } from '../../activities/sigstore/keys.ts';
import type { Vault } from '../../activities/vault/vault.ts';
import { ConnectorClient } from '../../client/connector-client.ts';
import type { HealthReport } from '../../domain/agent-api.ts';
import type { FreezeState } from '../../domain/freeze.ts';
import type { Health } from '../../domain/health.ts';
import { overallOf } from '../../domain/health.ts';
import { VERSION } from '../../domain/names.ts';
import type { AuditTrail } from '../audit-trail.ts';
import type { WorkerConfig } from '../config.ts';
import { watchHealth } from '../health-watch.ts';
import type { Metrics } from '../metrics/registry.ts';
import type { TemporalAccess } from '../temporal.ts';
import { openAgent } from './open-agent.ts';

export interface SupervisionDeps {
  readonly config: WorkerConfig;
  readonly temporal: TemporalAccess;
  readonly client: Client;
  readonly worker: Pick<Worker, 'getState' | 'getStatus'>;
  readonly admit: Admission;
  readonly claims: Pick<Claims, 'read'>;
  readonly keys: KeySource;
  readonly policy: PolicySource;
  readonly freeze: () => FreezeState;
  readonly audit: AuditTrail;
  /** Absent where the keys are in a file. */
  readonly vault: Pick<Vault, 'check'> | undefined;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** How others see this worker: its health, its metrics, and the HTTP API that serves both and takes packages. */
export interface Supervision {
  close(): Promise<void>;
}

/** Opens it once the worker stands. */
export async function openSupervision(deps: SupervisionDeps): Promise<Supervision> {
  const { config, temporal, worker, freeze, audit, health, metrics, logger } = deps;
  const { clusterId, writer } = config;
  const now = () => new Date();
  const startedAt = now().toISOString();
  const watch = await watchHealth(health, deps);
  const isReady = () => worker.getState() === 'RUNNING' && overallOf(health.components()) !== 'down';

  const report = (): HealthReport => {
    const components = health.components();
    const { head, bucket } = audit.state();
    return {
      status: overallOf(components),
      ready: isReady(),
      clusterId,
      writer,
      version: VERSION,
      startedAt,
      freeze: describe(freeze()),
      components,
      audit: { head, ...(bucket && { bucket }) },
    };
  };
  metrics.readFrom({
    isReady,
    components: () => health.components(),
    freeze,
    audit: () => audit.state(),
    worker: () => worker.getStatus(),
    now,
  });
  const agent = await openAgent(config.agent, {
    writer,
    namespace: temporal.namespace,
    audit,
    health,
    healthReport: report,
    isDraining: () => !['INITIALIZED', 'RUNNING'].includes(worker.getState()),
    metrics,
    logger,
    admit: deps.admit,
    claims: deps.claims,
    client: new ConnectorClient({ ...temporal, clusterId }),
  });
  return {
    async close() {
      watch.close();
      await agent?.close();
    },
  };
}

function describe(freeze: FreezeState): HealthReport['freeze'] {
  if (freeze.state !== 'frozen') return { state: freeze.state };
  const { state, since, by, reason } = freeze;
  return { state, since, ...(by && { by }), ...(reason && { reason }) };
}
