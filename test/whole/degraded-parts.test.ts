import { setTimeout as sleep } from 'node:timers/promises';
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createAuthority } from '../../dev/authority.ts';
import { post } from '../../dev/servers/https.ts';
import type { SubmittedPackage } from '../../client/connector-client.ts';
import type { ServerName } from '../../dev/host.ts';
import type { Stack } from '../../dev/stack.ts';
import type { AuditEntry } from '../../domain/audit.ts';
import type { ComponentState, PartName } from '../../domain/health.ts';
import type { TestServer } from '../support/http-server.ts';
import { startServer, status } from '../support/http-server.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { trustingPolicy } from '../support/policies.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';
import { metricsSettings } from '../support/metrics-settings.ts';
import { WatchedConnector } from '../support/watched-connector.ts';

// R24, R25: each row of the table in docs/degraded.md, by taking the real part away and giving it back.

const BOB = 'bob@example.com';
const METRICS = 'queries: [{ name: up, promql: up }]\n';
/** A part that is back is found to be, at the latest, with the second look after it. */
const BACK_WITHIN_MS = 60_000;

let uses = 0;
const another = ({ connector }: WatchedConnector) => `degraded-${(uses += 1)}-${connector.namespace}`.slice(0, 60);

async function submitAndApprove(watched: WatchedConnector) {
  const { connector } = watched;
  const name = another(watched);
  const one = await connector.submitAndPlan({ steps: [applyStep(configMap(name, connector.namespace, {}))] });
  await connector.signalApproval(one.workflowId, { approver: BOB, planDigest: one.planDigest });
  return { ...one, name };
}

/** In this order; each test leaves the parts as it found them. */
describe('without one of its parts a connector says so, keeps what it can do, and recovers by itself:', () => {
  let stack: Stack;
  let insight: TestServer;
  let watched: WatchedConnector;

  beforeAll(async () => {
    const services = ['temporal', 'vault', 's3', 'kubernetes', 'controlPlane', 'prometheus'] as const;
    stack = await ownStack(services, { persist: true });
    const authority = await createAuthority();
    insight = await startServer(status(202), await authority.issue('insight'));
    const { prometheus } = stack;
    const metrics = metricsSettings({ prometheus, insight, insightCa: authority.ca, queries: METRICS });
    watched = await WatchedConnector.start(stack, {
      policy: trustingPolicy(),
      files: metrics.files,
      env: {
        ...metrics.env,
        BYOC_METRICS_KEEP_SECONDS: '3',
        BYOC_AUDIT_UPLOAD_ALERT_SECONDS: '1',
        BYOC_CONTROL_PLANE_LOST_SECONDS: '1',
      },
    });
  }, 180_000);
  afterAll(async () => {
    await watched.connector.stop();
    await insight.close();
    await stack.stop();
  });
  afterEach(async () => {
    // What is not NEEDED may be away for a moment longer; what is, must be back.
    await until('the connector to be ready', async () => (await watched.health()).ready, BACK_WITHIN_MS);
  }, 90_000);

  /** What other tests left in the log tells nothing of this one. */
  let begunAt = 0;
  beforeEach(() => void (begunAt = Date.now()));
  const isOf = (part: PartName) => (entry: AuditEntry) =>
    entry.detail['part'] === part && Date.parse(entry.time) >= begunAt;
  /** What is told of a part that is down: in health, metric and audit log. */
  async function toldDown(part: PartName, code: string, overall: ComponentState): Promise<AuditEntry> {
    expect(await watched.untilPart(part, 'down')).toMatchObject({ code, sentence: expect.stringMatching(/\.$/) });
    const { status: told, ready } = await watched.health();
    expect({ told, ready }).toEqual({ told: overall, ready: overall !== 'down' });
    expect(await watched.metric(`byoc_component_state{component="${part}",state="down"}`)).toBe(1);
    const entry = await watched.untilRaised('part-unhealthy', 'part.unhealthy', isOf(part));
    expect(entry.detail).toMatchObject({ part, state: 'down', code });
    return entry;
  }
  /** The same, and the control plane has it while the part is away. */
  async function toldAndDelivered(part: PartName, code: string, overall: ComponentState): Promise<void> {
    await watched.untilDelivered('part-unhealthy', await toldDown(part, code, overall));
  }
  /** Whatever comes of it, the part is given back. */
  async function without(part: ServerName, work: () => Promise<void>): Promise<number> {
    await stack.kill(part);
    try {
      await work();
    } finally {
      await stack.restart(part);
    }
    return Date.now();
  }
  async function comesBack(part: PartName, since = Date.now()) {
    await watched.untilPart(part, 'ok', BACK_WITHIN_MS);
    console.log(`${part} was found to be back after ${((Date.now() - since) / 1_000).toFixed(1)} s`);
  }
  async function toldRecovered(part: PartName) {
    const recovered = async () =>
      (await watched.connector.audit()).some((entry) => entry.type === 'part.recovered' && isOf(part)(entry));
    await until('the recovery to be recorded', recovered, BACK_WITHIN_MS);
  }

  it('Prometheus: packages run as ever', async () => {
    const backAt = await without('prometheus', async () => {
      await until('metrics to be asked for', async () => {
        await watched.trigger('metrics', 'worker-0');
        await sleep(500);
        return (await watched.health()).components.some(({ name, state }) => name === 'prometheus' && state === 'down');
      });
      await toldAndDelivered('prometheus', 'PROMETHEUS_UNAVAILABLE', 'degraded');
      const failed = 'byoc_schedule_runs_total{schedule="metrics-collection",outcome="failed"}';
      expect(await watched.metric(failed)).toBeGreaterThan(0);
      const { wpkId } = await submitAndApprove(watched);
      expect(await watched.connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
    });
    await watched.trigger('metrics', 'worker-0');
    await comesBack('prometheus', backAt);
    await toldRecovered('prometheus');
  }, 240_000);

  it('the Insight Engine: metrics wait, and what is given up is told', async () => {
    insight.answer = (_, response) => response.destroy();
    await until(
      'batches to be given up',
      async () => {
        await watched.trigger('metrics', 'worker-0');
        await sleep(1_000);
        return ((await watched.metric('byoc_metrics_dropped_batches_total{reason="age"}')) ?? 0) > 0;
      },
      90_000,
    );
    await toldAndDelivered('insight-engine', 'INSIGHT_UNAVAILABLE', 'degraded');
    const { alert, entry } = await watched.untilAlert('metrics-dropped', 'metrics.dropped');
    expect(alert.severity).toBe('warning');
    expect(entry.detail['batches']).toMatchObject({ age: expect.any(Number), size: 0, refused: 0 });
    expect(await watched.metric('byoc_metrics_waiting_batches')).toBeGreaterThan(0);

    insight.answer = status(202);
    const since = Date.now();
    await watched.trigger('metrics', 'worker-0');
    await comesBack('insight-engine', since);
    await until('all to be delivered', async () => (await watched.metric('byoc_metrics_waiting_batches')) === 0);
    const told = (await watched.connector.audit()).filter(({ type }) => type === 'metrics.dropped');
    expect(told).toHaveLength(1); // however often the schedule came round
  }, 240_000);

  it('the control plane: packages run as ever, and alerts wait', async () => {
    let lost: AuditEntry | undefined;
    const backAt = await without('control-plane', async () => {
      await until(
        'beats to fail for long enough',
        async () => {
          await watched.trigger('heartbeat');
          await sleep(500);
          return (await watched.metric('byoc_control_plane_lost')) === 1;
        },
        60_000,
      );
      expect(await watched.untilPart('control-plane', 'down')).toMatchObject({ code: 'CONTROL_PLANE_UNAVAILABLE' });
      expect(await watched.health()).toMatchObject({ status: 'degraded', ready: true });
      const isNew = (entry: AuditEntry) => Date.parse(entry.time) >= begunAt;
      lost = await watched.untilRaised('control-plane-lost', 'link.lost', isNew);
      expect(await watched.metric('byoc_alerts_waiting')).toBeGreaterThan(0);
      const { wpkId } = await submitAndApprove(watched);
      expect(await watched.connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
    });
    await watched.trigger('heartbeat');
    await comesBack('control-plane', backAt);
    if (lost) await watched.untilDelivered('control-plane-lost', lost, 90_000);
    const restored = async () => (await watched.connector.audit()).some(({ type }) => type === 'link.restored');
    await until('that it is back to be recorded', restored);
  }, 240_000);

  it('S3: packages are planned and wait before their first write', async () => {
    let wpkId = '';
    const backAt = await without('seaweedfs', async () => {
      const one = await submitAndApprove(watched);
      wpkId = one.wpkId;
      expect(await watched.untilPart('audit-bucket', 'degraded')).toMatchObject({ code: 'S3_UNAVAILABLE' });
      expect(await watched.health()).toMatchObject({ status: 'degraded', ready: true });
      const { entry } = await watched.untilAlert('audit-not-uploaded', 'audit.upload-late');
      expect(entry.detail).toMatchObject({ code: 'S3_UNAVAILABLE', waiting: expect.any(Number) });
      expect(await watched.metric('byoc_audit_upload_failing_seconds')).toBeGreaterThan(0);
      expect(await watched.metric('byoc_audit_unuploaded_entries')).toBeGreaterThan(0);
      expect(await watched.connector.client.get(wpkId)).toMatchObject({ phase: 'executing' });
      expect(await watched.connector.dataOf(one.name)).toBeUndefined();
    });
    expect(await watched.connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
    await comesBack('audit-bucket', backAt);
    const late = async () => (await watched.metric('byoc_audit_unuploaded_entries')) ?? Infinity;
    await until('the rest to be uploaded', async () => (await late()) < 5);
  }, 240_000);

  it('Vault: packages run for 30 s after its keys were last read, then wait', async () => {
    const { connector } = watched;
    const settings = () => [applyStep(configMap(another(watched), connector.namespace, {}))];
    await submitAndApprove(watched); // for which the keys are read
    const readAt = Date.now();
    let late: SubmittedPackage | undefined;
    let told: AuditEntry | undefined;
    const backAt = await without('openbao', async () => {
      const { wpkId } = await submitAndApprove(watched);
      const { phase } = await connector.client.result(wpkId);
      // On a machine so busy that this took longer the keys are rightly gone.
      if (Date.now() - readAt < 25_000) expect(phase).toBe('succeeded');
      told = await toldDown('vault', 'VAULT_UNAVAILABLE', 'degraded');
      await sleep(Math.max(0, readAt + 32_000 - Date.now()));
      late = await connector.submit({ steps: settings() });
      expect(await watched.untilPart('signing-keys', 'down')).toMatchObject({ code: 'KEYS_UNAVAILABLE' });
      expect(await watched.health()).toMatchObject({ status: 'down', ready: false });
      const { waiting } = await connector.untilView(late.wpkId, (view) => view.waiting !== undefined);
      expect(waiting?.failure).toContain('KEYS_UNAVAILABLE');
    });
    if (!late || !told) throw new Error('there is nothing to go on with');
    await connector.untilWaiting(late);
    const afterMs = Date.now() - backAt;
    console.log(
      `a package that waited for its keys was planned ${(afterMs / 1_000).toFixed(1)} s after Vault was back`,
    );
    await comesBack('vault', backAt);
    await comesBack('signing-keys', backAt);
    await toldRecovered('vault');
    // The control plane checks our tokens with keys that it asks of Vault.
    await watched.untilDelivered('part-unhealthy', told, 120_000);
  }, 300_000);

  it('a Vault that is sealed: as without it', async () => {
    const { address, caFile, token } = stack.vault;
    const sealed = await post(`${address}/v1/sys/seal`, {}, { ca: await readFile(caFile, 'utf8'), token });
    expect(sealed.ok).toBe(true);
    try {
      await toldDown('vault', 'VAULT_UNAVAILABLE', 'degraded');
    } finally {
      await stack.kill('openbao');
      await stack.restart('openbao'); // which unseals it
    }
    await comesBack('vault');
  }, 240_000);

  it('the API server: nothing is verified or written, and the alert goes out', async () => {
    const backAt = await without('kube-apiserver', async () => {
      await toldAndDelivered('kubernetes', 'KUBERNETES_UNAVAILABLE', 'down');
      expect(await watched.untilPart('freeze', 'degraded')).toMatchObject({ code: 'FREEZE_UNKNOWN' });
    });
    await comesBack('kubernetes', backAt);
    await comesBack('freeze', backAt);
    const { wpkId } = await submitAndApprove(watched);
    expect(await watched.connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
  }, 240_000);

  it('Temporal: nothing runs, waiting packages stay, and the alert goes out all the same', async () => {
    const { connector } = watched;
    const name = another(watched);
    const one = await connector.submitAndPlan({ steps: [applyStep(configMap(name, connector.namespace, {}))] });
    const backAt = await without('temporal', () => toldAndDelivered('temporal', 'TEMPORAL_UNAVAILABLE', 'down'));
    await comesBack('temporal', backAt);
    const { workflowId, planDigest } = one;
    const vote = () => connector.signalApproval(workflowId, { approver: BOB, planDigest });
    await until('the package to take a vote', () =>
      vote()
        .then(() => true)
        .catch(() => false),
    );
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
    const afterMs = Date.now() - backAt;
    console.log(`a package that waited for people had run ${(afterMs / 1_000).toFixed(1)} s after Temporal was back`);
    await toldRecovered('temporal');
  }, 240_000);

  it('and afterwards the audit log verifies, with nothing lost', async () => {
    expect(await watched.connector.byoc('audit', 'verify', watched.connector.prepared.auditDir)).toMatchObject({
      code: 0,
    });
  }, 60_000);
});
