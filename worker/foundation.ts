import { join } from 'node:path';
import { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import type { KubeAccess } from '../activities/kubernetes/credentials.ts';
import type { KubeApi } from '../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../activities/kubernetes/kube-api.ts';
import { kubeConfigOf } from '../activities/kubernetes/kubeconfig.ts';
import { sharedKey } from '../activities/kubernetes/writer.ts';
import type { PolicySource } from '../activities/policy/load-policy.ts';
import { policySource } from '../activities/policy/load-policy.ts';
import { openBucket } from '../activities/s3/bucket.ts';
import type { Identity } from '../activities/vault/identity.ts';
import type { Vault, VaultSettings } from '../activities/vault/vault.ts';
import { dataConverter } from '../client/data-converter/index.ts';
import { sha256 } from '../client/sha256.ts';
import { CONTROL_PLANE_AUDIENCE, INSIGHT_AUDIENCE } from '../domain/control-plane.ts';
import { ConnectorError } from '../domain/errors.ts';
import { Health } from '../domain/health.ts';
import type { Role } from '../domain/names.ts';
import { VERSION } from '../domain/names.ts';
import type { Alerts } from './alerts.ts';
import { openAlerts } from './alerts.ts';
import type { AuditTrail } from './audit-trail.ts';
import { openAuditTrail } from './audit-trail.ts';
import { Certificates } from './certificates.ts';
import type { WorkerConfig } from './config.ts';
import type { Metrics } from './metrics/registry.ts';
import { createMetrics } from './metrics/registry.ts';
import type { Simulation } from './simulation/open.ts';
import { refuseOtherKind } from './simulation/refusals.ts';
import type { TemporalAccess } from './temporal.ts';
import { connectTemporal } from './temporal.ts';
import { openVault } from './vault.ts';

/** What every worker stands on, whichever roles it has. */
export interface Foundation {
  readonly config: WorkerConfig;
  readonly kube: KubeAccess;
  /** What stands in for everything outside, in simulation mode. */
  readonly simulation: Simulation | undefined;
  /** With the rights of the account that this process runs as. */
  readonly api: KubeApi;
  readonly temporal: TemporalAccess;
  /** What it sends is not encrypted: other processes, which have no key, take it in. */
  readonly client: Client;
  readonly policy: PolicySource;
  readonly audit: AuditTrail;
  readonly alerts: Alerts;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly certificates: Certificates;
  readonly logger: Logger;
  /** The logins that were made until now. */
  readonly vaults: readonly Vault[];
  /** Reads a key of the connector's own that all its workers share; that it was read is in the audit log. */
  readKey(name: string): Promise<Buffer>;
  /** Logs in to Vault as a role, with that role's own login. It is closed with the rest. */
  openVault(role: Role, settings: VaultSettings): Vault;
  /** Who this cluster is to a service outside. */
  identityOf(role: 'registration' | 'metrics', settings: VaultSettings | undefined): Identity;
  /** For what is needed until all that is to be told is told. */
  closeLast(close: () => Promise<void>): void;
  close(): Promise<void>;
}

/** Opens everything; nothing works yet. */
export async function openFoundation(given: WorkerConfig, env: NodeJS.ProcessEnv, logger: Logger): Promise<Foundation> {
  const metrics = createMetrics();
  const now = () => new Date();
  const health = new Health(now);
  const certificates = new Certificates({ metrics, health, logger, now });
  const config = await certificates.open(given);
  // Loaded only where it is asked for: an installation has nothing of it in its memory.
  const simulation = config.simulated
    ? await (await import('./simulation/open.ts')).openSimulation(config, logger)
    : undefined;
  const kube = simulation?.kubeConfig ?? (await kubeConfigOf(config.kubeContext, env));
  const api = createKubeApi(kube, { onTls: certificates.watchOf('kubernetes') });
  await refuseOtherKind(config, api);
  const alerts = await openAlerts({
    clusterId: config.clusterId,
    writer: config.writer,
    folder: config.controlPlane || config.relaysAlerts ? join(config.dataDir, 'alerts') : undefined,
    count: metrics.onAlert,
    onCounts: metrics.setAlerts,
    logger,
  });
  const { raise } = alerts;
  // First what may be away: a start that comes to nothing is none that the audit log would have to tell of.
  const temporal = await connectTemporal(env, certificates.temporalWatch());
  const bucket = simulation?.bucket ?? (config.s3 && openBucket(config.s3));
  const watchers = [metrics, alerts];
  const audit = await openAuditTrail({ config, version: VERSION, api, bucket, watchers, raise, logger });
  certificates.recordThrough(audit.record);
  const vaults: Vault[] = [];
  const vaultOf = (role: Role, settings: VaultSettings) => {
    const vault = openVault({ settings, role, record: audit.record, logger });
    vaults.push(vault);
    return vault;
  };
  const last: (() => Promise<void>)[] = [];
  return {
    config,
    kube,
    simulation,
    api,
    temporal,
    client: new Client({ ...temporal, dataConverter }),
    policy: policySource(config.policyPath, sha256, ownNamespaces(config)),
    audit,
    alerts,
    health,
    metrics,
    certificates,
    logger,
    vaults,
    async readKey(name) {
      await audit.record('secret.read', { store: 'kubernetes', paths: [`${config.stateNamespace}/${name}`] });
      return sharedKey(api, name, config.stateNamespace);
    },
    openVault: vaultOf,
    identityOf(role, settings) {
      if (simulation) return simulation.identity(role === 'metrics' ? INSIGHT_AUDIENCE : CONTROL_PLANE_AUDIENCE);
      if (settings) return vaultOf(role, settings).identity(role);
      throw new ConnectorError('CONFIG_INVALID', `VAULT_ADDR is not set, so the role ${role} has no identity.`);
    },
    closeLast: (close) => void last.push(close),
    async close() {
      certificates.close();
      await audit.close();
      await alerts.close();
      await Promise.all(last.map((close) => close()));
      await Promise.all([...vaults.map((one) => one.close()), api.close(), temporal.connection.close()]);
      await simulation?.close();
    },
  };
}

/** Where no package may write, whatever policy and votes say. */
function ownNamespaces({ stateNamespace, headsNamespace, applyAccount }: WorkerConfig): string[] {
  return [stateNamespace, headsNamespace, ...(applyAccount ? [applyAccount.namespace] : [])];
}
