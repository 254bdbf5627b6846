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
import type { Vault, VaultSettings } from '../activities/vault/vault.ts';
import { dataConverter } from '../client/data-converter/index.ts';
import { sha256 } from '../client/sha256.ts';
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
import type { TemporalAccess } from './temporal.ts';
import { connectTemporal } from './temporal.ts';
import { openVault } from './vault.ts';

/** What every worker stands on, whichever roles it has. */
export interface Foundation {
  readonly config: WorkerConfig;
  readonly kube: KubeAccess;
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
  /** Reads a key of the connector's own that all its workers share; that it was read is in the audit log. */
  readKey(name: string): Promise<Buffer>;
  /** Logs in to Vault as a role, with that role's own login. It is closed with the rest. */
  openVault(role: Role, settings: VaultSettings): Vault;
  close(): Promise<void>;
}

/** Opens everything; nothing works yet. */
export async function openFoundation(given: WorkerConfig, env: NodeJS.ProcessEnv, logger: Logger): Promise<Foundation> {
  const metrics = createMetrics();
  const now = () => new Date();
  const health = new Health(now);
  const certificates = new Certificates({ metrics, health, logger, now });
  const config = await certificates.open(given);
  const kube = await kubeConfigOf(config.kubeContext, env);
  const api = createKubeApi(kube, { onTls: certificates.watchOf('kubernetes') });
  const alerts = await openAlerts({
    clusterId: config.clusterId,
    writer: config.writer,
    folder: config.controlPlane || config.relaysAlerts ? join(config.dataDir, 'alerts') : undefined,
    count: metrics.onAlert,
    logger,
  });
  const { raise } = alerts;
  const audit = await openAuditTrail({ config, version: VERSION, api, watchers: [metrics, alerts], raise, logger });
  certificates.recordThrough(audit.record);
  const temporal = await connectTemporal(env, certificates.temporalWatch());
  const vaults: Vault[] = [];
  return {
    config,
    kube,
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
    async readKey(name) {
      await audit.record('secret.read', { store: 'kubernetes', paths: [`${config.stateNamespace}/${name}`] });
      return sharedKey(api, name, config.stateNamespace);
    },
    openVault(role, settings) {
      const vault = openVault({ settings, role, record: audit.record, logger });
      vaults.push(vault);
      return vault;
    },
    async close() {
      certificates.close();
      await audit.close();
      await alerts.close();
      await Promise.all([...vaults.map((one) => one.close()), api.close(), temporal.connection.close()]);
    },
  };
}

/** Where no package may write, whatever policy and votes say. */
function ownNamespaces({ stateNamespace, headsNamespace, applyAccount }: WorkerConfig): string[] {
  return [stateNamespace, headsNamespace, ...(applyAccount ? [applyAccount.namespace] : [])];
}
