import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { ConnectorError } from '../../domain/errors.ts';
import type { Health } from '../../domain/health.ts';
import type { HealthReport } from '../../domain/agent-api.ts';
import type { AuditWriter } from '../../activities/package/records.ts';
import type { Certificates } from '../certificates.ts';
import type { Metrics } from '../metrics/registry.ts';
import { AccessLog } from './access-log.ts';
import { createApi } from './api.ts';
import { createAuthenticate } from './caller.ts';
import type { ExecuteDeps } from './execute.ts';
import { createKeySet } from './key-set.ts';
import { nothingListens, openAgentServer } from './server.ts';
import type { AgentConfig } from './settings.ts';

export interface AgentDeps {
  /** What packages are taken in with; without it none are. */
  readonly intake: ExecuteDeps | undefined;
  readonly simulated: boolean;
  readonly writer: string;
  readonly namespace: string;
  readonly audit: AuditWriter;
  readonly health: Pick<Health, 'report'>;
  readonly healthReport: () => HealthReport;
  readonly isDraining: () => boolean;
  readonly metrics: Metrics;
  readonly certificates: Pick<Certificates, 'watchOf'>;
  readonly logger: Logger;
}

export interface Agent {
  readonly port: number;
  /** Takes no more calls, lets those end that are under way, and writes the last of the access log. */
  close(): Promise<void>;
}

const CLOSE_WITHIN_MS = 3_000;

/** Opens the agent's HTTP API. */
export async function openAgent(config: AgentConfig, deps: AgentDeps): Promise<Agent> {
  const { writer, audit, health, certificates, logger } = deps;
  const server = await openAgentServer(config.tls, certificates.watchOf('agent'));
  const onKeysRead = (err?: unknown) => {
    health.report(
      'caller-keys',
      err === undefined ? { state: 'ok' } : { state: 'degraded', code: 'CALLERS_UNAVAILABLE' },
    );
    if (err !== undefined) logger.warn({ err }, 'the keys that tokens of callers are verified with cannot be read');
  };
  const keys = config.jwt && createKeySet(config.jwt.keys, onKeysRead);
  const isProvable = keys !== undefined || config.clientNames !== undefined;
  if (deps.intake && !isProvable)
    logger.warn('POST /execute is off: neither BYOC_AGENT_JWT_ISSUER nor BYOC_AGENT_CLIENT_CA is set');
  const authenticate = createAuthenticate({ config, keys, isCurrent: (socket) => server.isCurrent(socket) });
  const accessLog = new AccessLog({ writer, audit, logger });
  const api = createApi({
    ...deps,
    server,
    authenticate: (call) =>
      authenticate(call).catch((error: unknown) => {
        const why =
          error instanceof Error && error.cause instanceof Error ? error.cause.message : 'no token that is one';
        logger.debug({ why }, 'a caller was not accepted'); // each of a flood: for whoever looks for the cause
        throw error;
      }),
    isProvable,
    packagesPerMinute: config.packagesPerMinute,
    health: deps.healthReport,
    accessLog,
    onRefused(error, { address, code }, caller) {
      const about = { code, caller: caller.id, address, err: error };
      const isAway = error instanceof ConnectorError && error.traits.retryable;
      if (isAway) logger.warn(about, 'something is away; a package was not taken in');
      else logger.error({ alert: 'refused', ...about }, 'a package was refused');
    },
  });
  const { host, port } = config;
  try {
    await api.listen({ host, port });
  } catch (cause) {
    throw new ConnectorError('CONFIG_INVALID', nothingListens(host, port, cause), { cause });
  }
  const listening = (api.server.address() as AddressInfo).port; // it listens on a port
  logger.info({ host, port: listening, tls: config.tls !== undefined }, 'the agent listens');
  return {
    port: listening,
    async close() {
      const cut = setTimeout(() => server.close(), CLOSE_WITHIN_MS);
      await api.close();
      clearTimeout(cut);
      server.close();
      await accessLog.close();
      await keys?.close();
    },
  };
}
