import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { request } from 'undici';
import { startWorker } from '../../dev/connector.ts';
import { clusterAt } from '../../dev/servers/control-plane.ts';
import type { Stack } from '../../dev/stack.ts';
import { generateKeyPair } from '../../client/sign.ts';
import type { Step } from '../../domain/wpk.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { trustingPolicy } from '../support/policies.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';
import { WatchedConnector } from '../support/watched-connector.ts';

// R24: alerts about what people do; those about parts that are away are in degraded-parts.test.ts.

/** In this order: the first call is counted in an entry a minute later, and the control plane goes away last. */
describe('an alert moves its metric, is an entry of the audit log, and reaches the control plane, when', () => {
  let stack: Stack;
  let watched: WatchedConnector;
  let uses = 0;

  beforeAll(async () => {
    stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes', 'controlPlane']);
    watched = await WatchedConnector.start(stack, { policy: trustingPolicy() });
  }, 120_000);
  afterAll(async () => {
    await watched.connector.stop();
    await stack.stop();
  });

  const submitDenied = () => watched.connector.submit({ clusterId: 'another-cluster' });
  const another = () => applyStep(configMap(`alerts-${(uses += 1)}`, watched.connector.namespace, {}));
  const freeze = (reason: string) => watched.connector.byoc('stop', '--all', '--reason', reason);
  const resume = () => watched.connector.byoc('resume', '--reason', 'over');
  const isNow = (since: number) => (entry: { readonly time: string }) => Date.parse(entry.time) >= since;

  it('somebody calls the agent who is nobody that may', async () => {
    const { statusCode } = await request(`${await watched.agentUrl()}/execute`, {
      method: 'POST',
      headers: { authorization: 'Bearer a.b.c', 'content-type': 'application/json' },
      body: '{}',
    });
    expect(statusCode).toBe(401);
    const { alert } = await watched.untilAlert('authentication-failed', 'http.calls', () => true, 90_000);
    expect(alert.severity).toBe('critical');
    expect(
      await watched.metric('byoc_agent_calls_total{route="/execute",status="401",code="CALLER_UNAUTHENTICATED"}'),
    ).toBe(1);
  }, 120_000);

  it('a package is denied', async () => {
    const { workflowId } = await submitDenied();
    const { alert } = await watched.untilAlert(
      'package-denied',
      'package.denied',
      (entry) => entry.workflowId === workflowId,
    );
    expect(alert).toMatchObject({ code: 'WPK_WRONG_CLUSTER', workflowId });
    expect(await watched.metric('byoc_package_errors_total{code="WPK_WRONG_CLUSTER"}')).toBe(1);
  });

  it('a package fails', async () => {
    const { connector } = watched;
    const target = { kind: 'ConfigMap', name: 'nobody-makes-it', namespace: connector.namespace };
    const never: Step = { id: 'never', action: 'wait', target, for: 'ready', timeoutSeconds: 1 };
    const { workflowId, planDigest } = await connector.submitAndPlan({ steps: [another(), never] });
    await connector.signalApproval(workflowId, { approver: 'bob@example.com', planDigest });
    const { alert } = await watched.untilAlert('package-failed', 'package.failed');
    expect(alert).toMatchObject({ severity: 'critical', code: 'NOT_READY', workflowId });
    expect(await watched.metric('byoc_packages_total{stage="failed"}')).toBe(1);
  });

  it('execution is frozen', async () => {
    await freeze('checkout is down');
    const { alert, entry } = await watched.untilAlert('frozen', 'freeze.set');
    expect(entry.detail['reason']).toBe('checkout is down');
    expect(JSON.stringify(alert)).not.toContain('checkout'); // which is the customer's own affair
    expect(await watched.metric('byoc_freeze_state{state="frozen"}')).toBe(1);
    await resume();
  });

  it('a key is revoked', async () => {
    const { connector } = watched;
    const pem = generateKeyPair().publicKeyPem;
    /** What is executed has the keys asked for afresh. */
    const runOne = async () => {
      const { wpkId, workflowId, planDigest } = await connector.submitAndPlan({ steps: [another()] });
      await connector.signalApproval(workflowId, { approver: 'bob@example.com', planDigest });
      expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
    };
    await connector.putVaultEntry('signing-keys/old', { pem });
    await runOne();
    await connector.putVaultEntry('signing-keys/old', { pem, revokedAt: new Date().toISOString() });
    await runOne();
    const { entry } = await watched.untilAlert('key-revoked', 'key.revoked');
    expect(entry.detail).toMatchObject({ use: 'packages', name: 'old' });
    expect(await watched.metric('byoc_keys{use="packages",state="revoked"}')).toBe(1);
  }, 120_000);

  it('the policy is broken', async () => {
    await watched.connector.setPolicy('nonsense: true\n');
    await watched.untilAlert('policy-broken', 'policy.broken');
    expect(await watched.metric('byoc_policy_broken')).toBe(1);
    await watched.connector.setPolicy(trustingPolicy());
    await until('the policy to be read', async () => (await watched.metric('byoc_policy_broken')) === 0);
  });

  it('the control plane is away: they wait in order, the wait shows as a metric, and each comes once', async () => {
    const since = Date.now();
    await stack.kill('control-plane');
    await submitDenied();
    await until('the first to wait', async () => ((await watched.metric('byoc_alerts_waiting')) ?? 0) >= 1);
    await freeze('a test');
    await until('the second to wait', async () => ((await watched.metric('byoc_alerts_waiting')) ?? 0) >= 2);
    await resume();
    await submitDenied();
    await until('the third to wait', async () => ((await watched.metric('byoc_alerts_waiting')) ?? 0) >= 3);
    const entries = (await watched.connector.audit()).filter(isNow(since)).map(({ type }) => type);
    expect(entries.filter((type) => ['package.denied', 'freeze.set'].includes(type))).toHaveLength(3);

    await stack.restart('control-plane');
    await until('all to be delivered', async () => (await watched.metric('byoc_alerts_waiting')) === 0, 90_000);
    const alerts = (await watched.alerts()).filter(({ at }) => Date.parse(at) >= since);
    const told = alerts.map(({ type }) => type).filter((type) => type === 'package-denied' || type === 'frozen');
    expect(told).toEqual(['package-denied', 'frozen', 'package-denied']);
    expect(alerts.map(({ at }) => at)).toEqual(alerts.map(({ at }) => at).toSorted());
    expect(new Set(alerts.map(({ id }) => id)).size).toBe(alerts.length);
    expect(await watched.metric('byoc_alerts_dropped_total')).toBe(0);
  }, 180_000);
});

describe('a worker that executes, and does not register,', () => {
  it('has its alerts brought to the control plane by one that does', async () => {
    const stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes', 'controlPlane']);
    const watched = await WatchedConnector.start(stack, { env: { BYOC_ROLES: 'execution' } });
    const { connector } = watched;
    const folder = join(connector.prepared.folder, 'registers');
    const env = {
      BYOC_ROLES: 'registration',
      BYOC_WRITER: 'registers',
      BYOC_DATA_DIR: join(folder, 'data'),
      BYOC_AGENT_PORT: '',
    };
    const other = await startWorker({ ...connector.prepared, folder, env: { ...connector.prepared.env, ...env } });
    try {
      await until('the cluster to be registered', () => clusterAt(stack.controlPlane, connector.clusterId));
      const { workflowId } = await connector.submit({ clusterId: 'another-cluster' });
      const { alert } = await watched.untilAlert('package-denied', 'package.denied');
      expect(alert).toMatchObject({ workflowId, writer: 'worker-0' });
    } finally {
      await other.stop();
      await connector.stop();
      await stack.stop();
    }
  }, 180_000);
});
