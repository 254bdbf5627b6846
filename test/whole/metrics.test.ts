import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createAuthority } from '../../dev/authority.ts';
import type { Stack } from '../../dev/stack.ts';
import type { MetricsBatch } from '../../domain/metrics.ts';
import { createMetrics } from '../../worker/metrics/registry.ts';
import { TestConnector } from '../support/connector.ts';
import type { TestServer } from '../support/http-server.ts';
import { startServer, status } from '../support/http-server.ts';
import { ownStack } from '../support/stack.ts';
import { metricsSettings } from '../support/metrics-settings.ts';
import { until } from '../support/until.ts';

// R13, R14, R24, R25, R28

const METRICS = `
queries:
  - { name: up, promql: up }
  - { name: heap, promql: go_memstats_heap_alloc_bytes, range: { lastSeconds: 4, stepSeconds: 2 } }
`;

let stack: Stack;
let insight: TestServer;
let connector: TestConnector;

beforeAll(async () => {
  stack = await ownStack(['prometheus']);
  const authority = await createAuthority();
  insight = await startServer(status(202), await authority.issue('insight'));
  const { prometheus } = stack;
  connector = await TestConnector.start({
    clothes: 'development', // all roles in one process; a process for each is in roles.test.ts
    ...metricsSettings({ prometheus, insight, insightCa: authority.ca, queries: METRICS }),
  });
});

afterAll(async () => {
  await connector.stop();
  await insight.close();
  await stack.stop();
});

const schedule = () => {
  return connector.client.client.schedule.getHandle(`byoc/${connector.clusterId}/metrics/worker-0`);
};
const batches = () =>
  insight.requests.map(({ body }) => (JSON.parse(gunzipSync(body).toString()) as { batch: MetricsBatch }).batch);
const alerts = async () => (await connector.log()).flatMap(({ alert }) => (alert === undefined ? [] : [alert]));
const tokens = () => insight.requests.map(({ headers }) => (headers.authorization ?? '').replace(/^Bearer /, ''));
const logText = () => readFile(join(connector.prepared.folder, 'worker.log'), 'utf8');
const waiting = () => readdir(join(connector.prepared.env['BYOC_DATA_DIR'] ?? '', 'metrics'));

/** Lets the schedule run until a probe gives something; a run that is asked for while another goes on is skipped. */
function runUntil<T>(what: string, probe: () => Promise<T | undefined | false> | T | undefined | false): Promise<T> {
  return until(what, async () => {
    await schedule().trigger();
    await sleep(500);
    return probe();
  });
}

/** All texts of a history, what payloads hold included. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (value instanceof Uint8Array) return [Buffer.from(value).toString('utf8')];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsIn);
}

describe("the worker's own metrics", () => {
  it("satisfy promtool's linter", async () => {
    const promtool = await stack.tool('promtool');
    const input = await createMetrics().render();
    expect(execFileSync(promtool, ['check', 'metrics'], { input, encoding: 'utf8' })).toBe('');
  });
});

describe('a worker that knows a Prometheus and an Insight Engine', () => {
  it('has a schedule that sends metrics every 30 seconds, one run at a time', async () => {
    const { spec, policies, action } = await schedule().describe();
    expect(spec.intervals?.map(({ every }) => every)).toEqual([30_000]);
    expect(policies).toMatchObject({ overlap: 'SKIP' });
    expect(action).toMatchObject({ workflowType: 'metrics' });
  });

  it('sends what the real Prometheus says, with a token of its Vault, and nothing personal', async () => {
    const sent = await runUntil('a batch with samples', () => batches().find(({ series }) => series.length > 0));
    const queries = new Set(sent.series.map(({ query }) => query));
    expect([...queries]).toEqual(['up', 'heap']);
    const [up] = sent.series;
    expect(up?.labels).toMatchObject({
      __name__: 'up',
      namespace: 'shop',
      customer: expect.stringMatching(/^\[hidden#[a-p]{16}\]$/),
      instance: expect.stringMatching(/^\[ip#[a-p]{16}\]:\d+$/),
    });
    expect(up?.samples).toEqual([[expect.any(Number), 1]]);
    expect(JSON.stringify(sent)).not.toContain('joe@example.com');
    const { cluster_id, role, aud } = decodeJwt(tokens()[0] ?? '');
    expect({ cluster_id, role, aud }).toEqual({
      cluster_id: connector.clusterId,
      role: 'metrics',
      aud: 'neuralops-insight',
    });
  });

  it('keeps them while the Insight Engine is away, tells once, and delivers them in order afterwards', async () => {
    insight.answer = status(503, { 'retry-after': '1' });
    await runUntil('batches to wait', async () => (await waiting()).length >= 2);
    await until('the alert', async () => (await alerts()).includes('metrics-undelivered'));
    insight.requests.length = 0;
    insight.answer = status(202);
    await runUntil('all to be delivered', async () => (await waiting()).length === 0);
    const times = batches().map(({ collectedAt }) => collectedAt);
    expect(times.length).toBeGreaterThanOrEqual(2);
    expect(times).toEqual([...times].sort());
    expect((await alerts()).filter((one) => one === 'metrics-undelivered')).toHaveLength(1);
  }, 120_000);

  it('tells where Prometheus is away, and goes on when it is back', async () => {
    await stack.kill('prometheus');
    await runUntil('the alert', async () => (await alerts()).includes('metrics-unread'));
    await stack.restart('prometheus');
    insight.requests.length = 0;
    await runUntil('a batch', () => insight.requests.length > 0);
  }, 90_000);

  it('discloses neither token nor password in log, audit or history', async () => {
    insight.answer = status(401, { 'www-authenticate': 'Bearer' });
    await runUntil('the refusal', async () => (await logText()).includes('INSIGHT_DENIED'));
    const log = await logText();
    const audit = JSON.stringify(await connector.audit());
    const histories = [];
    const { recentActions } = (await schedule().describe()).info;
    for (const { action } of recentActions) {
      if (action.type !== 'startWorkflow') continue;
      const { workflowId, firstExecutionRunId } = action.workflow;
      const handle = connector.client.client.workflow.getHandle(workflowId, firstExecutionRunId);
      histories.push(textsIn(await handle.fetchHistory()).join('\n'));
    }
    expect(histories.join()).toContain('"batches":'); // of a payload: what is looked through is readable
    for (const text of [log, audit, ...histories]) {
      // The signature of a token is what makes it one.
      for (const token of tokens()) expect(text).not.toContain(token.split('.')[2]);
      expect(text).not.toContain(stack.prometheus.password);
      expect(text).not.toContain('joe@example.com');
    }
  });
});
