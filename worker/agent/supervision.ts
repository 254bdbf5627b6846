import type { HealthReport } from '../../domain/agent-api.ts';
import type { FreezeState } from '../../domain/freeze.ts';
import { overallOf } from '../../domain/health.ts';
import { leaseNameOf, VERSION } from '../../domain/names.ts';
import type { Foundation } from '../foundation.ts';
import type { Looks } from '../health-watch.ts';
import { commonLooks, watchHealth } from '../health-watch.ts';
import { watchParts } from '../news.ts';
import { partLooks } from '../part-looks.ts';
import type { RoleRun } from '../roles/role.ts';
import type { Agent, AgentDeps } from './open-agent.ts';
import type { AgentConfig } from './settings.ts';

/** How others see this worker: its health, its metrics, and the HTTP API that serves both and takes packages. */
export interface Supervision {
  close(): Promise<void>;
}

/** Opens it once the roles stand. */
export async function openSupervision(
  { config, temporal, client, audit, vaults, health, metrics, certificates, logger }: Foundation,
  roles: readonly RoleRun[],
): Promise<Supervision> {
  const { clusterId, writer } = config;
  const now = () => new Date();
  const startedAt = now().toISOString();
  const askKubernetes = () => audit.leases.read(leaseNameOf(clusterId, writer));
  const common = commonLooks({ client, askKubernetes, audit: () => audit.state() });
  const looks: Looks = Object.assign({}, common, partLooks({ audit, vaults }), ...roles.map((role) => role.looks));
  const watch = await watchHealth(health, looks);
  const parts = watchParts(health, { audit, logger });
  const overall = () => overallOf(health.components(), config.roles);
  const states = () => roles.map(({ worker }) => worker.getState());
  const isReady = () => states().every((state) => state === 'RUNNING') && overall() !== 'down';
  const freeze = roles.find((role) => role.freeze)?.freeze;
  const registration = roles.find((role) => role.registration)?.registration;
  const intake = roles.find((role) => role.intake)?.intake;

  const report = (): HealthReport => {
    const { head, bucket } = audit.state();
    return {
      status: overall(),
      ready: isReady(),
      ...(config.simulated && { simulated: true }),
      clusterId,
      writer,
      roles: [...config.roles],
      version: VERSION,
      startedAt,
      ...(freeze && { freeze: describe(freeze()) }),
      ...(registration && { registration: registration() }),
      components: health.components(),
      audit: { head, ...(bucket && { bucket }) },
    };
  };
  metrics.readFrom({
    simulated: config.simulated,
    isReady,
    components: () => health.components(),
    freeze,
    audit: () => audit.state(),
    workers: () => roles.map(({ worker }) => worker.getStatus()),
    now,
  });
  const agent = await openAgent(config.agent, () => ({
    simulated: config.simulated,
    writer,
    namespace: temporal.namespace,
    audit,
    health,
    healthReport: report,
    isDraining: () => states().some((state) => !['INITIALIZED', 'RUNNING'].includes(state)),
    metrics,
    certificates,
    logger,
    intake,
  }));
  return {
    async close() {
      watch.close();
      parts.close();
      await agent?.close();
    },
  };
}

/** Loaded only where a port is set. */
async function openAgent(config: AgentConfig | undefined, deps: () => AgentDeps): Promise<Agent | undefined> {
  return config && (await import('./open-agent.ts')).openAgent(config, deps());
}

function describe(freeze: FreezeState): NonNullable<HealthReport['freeze']> {
  if (freeze.state !== 'frozen') return { state: freeze.state };
  const { state, since, by, reason } = freeze;
  return { state, since, ...(by && { by }), ...(reason && { reason }) };
}
