import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Insight } from '../../../activities/insight/client.ts';
import { createInsight } from '../../../activities/insight/client.ts';
import type { MetricsActivities } from '../../../activities/insight/metrics.ts';
import { createMetricsActivities } from '../../../activities/insight/metrics.ts';
import { Spool } from '../../../activities/insight/spool.ts';
import type { Prometheus } from '../../../activities/prometheus/client.ts';
import { createPrometheus } from '../../../activities/prometheus/client.ts';
import { createKeyedHash } from '../../../activities/redact/keyed-hash.ts';
import type { Authority, Certificate } from '../../../dev/authority.ts';
import { createAuthority } from '../../../dev/authority.ts';
import type { MetricsBatch } from '../../../domain/metrics.ts';
import { metricsConfigSchema } from '../../../domain/metrics.ts';
import { createRedactor } from '../../../domain/redact/redactor.ts';
import { json, startServer, status } from '../../support/http-server.ts';
import type { Answer, TestRequest, TestServer } from '../../support/http-server.ts';
import { TestTlsFiles } from '../../support/tls-files.ts';
import type { TlsFiles } from '../../../domain/tls-settings.ts';

// R14, R23, R25, R26

const CANARY = 'canary-7f3a';
const TOKEN = `eyJhbGciOiJSUzI1NiJ9.${CANARY}.c2ln`;
const failing = (code: string) => expect.objectContaining({ code });

let authority: Authority;
let certificate: Certificate;
let files: TestTlsFiles;
let tls: TlsFiles;
let insightServer: TestServer;
let prometheusServer: TestServer;
let folder: string;
let clock: number;
let prometheus: Prometheus;
let insight: Insight;

beforeAll(async () => {
  authority = await createAuthority();
  certificate = await authority.issue('insight');
  files = await TestTlsFiles.create();
  tls = await files.save({ ca: authority.ca });
});
afterAll(() => files.remove());

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-metrics-'));
  clock = Date.parse('2026-11-25T10:00:00Z');
  insightServer = await startServer(status(202), certificate);
  prometheusServer = await startServer(seriesWith({ pod: 'web-1' }));
  prometheus = createPrometheus({ address: prometheusServer.address, auth: { method: 'bearer', token: TOKEN } });
  insight = insightAt(insightServer.address, tls);
});

afterEach(async () => {
  await Promise.all([prometheus.close(), insight.close(), insightServer.close(), prometheusServer.close()]);
  await rm(folder, { recursive: true, force: true });
});

const now = () => new Date(clock);
const key = randomBytes(32);

function seriesWith(...labels: Record<string, string>[]): Answer {
  const result = labels.map((metric) => ({ metric, value: [1, '5'] }));
  return json({ status: 'success', data: { resultType: 'vector', result } });
}

function insightAt(address: string, tls: TlsFiles = {}): Insight {
  return createInsight({ address, tls, requestTimeoutMs: 1_000 }, { token: () => Promise.resolve(TOKEN) }, now);
}

interface Setup extends MetricsActivities {
  readonly spool: Spool;
}

async function setUp(
  options: { maxAgeMs?: number; maxBytes?: number; config?: object; through?: Insight } = {},
): Promise<Setup> {
  const { maxAgeMs = 3_600_000, maxBytes = 1024 * 1024, through = insight } = options;
  const config = metricsConfigSchema.parse({ queries: [{ name: 'up', promql: 'up' }], ...options.config });
  const spool = await Spool.open(join(folder, 'spool'), { maxAgeMs, maxBytes }, now);
  const redactor = createRedactor(config.redaction, createKeyedHash(key));
  return {
    spool,
    ...createMetricsActivities({ clusterId: 'c1', prometheus, insight: through, spool, config, redactor, now }),
  };
}

interface Body {
  readonly clusterId: string;
  readonly kind: string;
  readonly batch: MetricsBatch;
}

function bodyOf({ body }: Pick<TestRequest, 'body'>): Body {
  return JSON.parse(gunzipSync(body).toString('utf8')) as Body; // as the tests look at it
}

const collectedTimes = () => insightServer.requests.map((request) => bodyOf(request).batch.collectedAt.slice(11, 19));

/** Collects once at each time, in seconds after the first one. */
async function collectAt(setup: Setup, ...seconds: number[]): Promise<void> {
  const start = clock;
  for (const second of seconds) {
    clock = start + second * 1_000;
    await setup.collectMetrics();
  }
}

describe('a round of metrics', () => {
  it('sends what Prometheus says, compressed, with the token and an idempotency key', async () => {
    const { collectMetrics, deliverMetrics } = await setUp();
    expect(await collectMetrics()).toMatchObject({ series: 1, batches: 1, failed: [], partial: [] });
    expect(await deliverMetrics()).toMatchObject({ delivered: 1, waiting: { batches: 0, bytes: 0 } });
    const [request] = insightServer.requests;
    expect(request).toMatchObject({
      method: 'POST',
      path: '/signals',
      headers: { 'content-encoding': 'gzip', 'content-type': 'application/json', authorization: `Bearer ${TOKEN}` },
    });
    const body = request && bodyOf(request);
    expect(body).toEqual({
      clusterId: 'c1',
      kind: 'metrics',
      batch: {
        id: request?.headers['idempotency-key'],
        collectedAt: '2026-11-25T10:00:00.000Z',
        series: [{ query: 'up', labels: { pod: 'web-1' }, samples: [[1_000, 5]] }],
      },
    });
  });

  it('sends nothing personal or secret that labels hold', async () => {
    prometheusServer.answer = seriesWith({
      instance: '10.0.0.7:9100',
      job: 'joe@example.com',
      customer: `Ann ${CANARY}`,
      endpoint: `https://u:${CANARY}@db/`,
    });
    const { collectMetrics, deliverMetrics } = await setUp();
    expect(await collectMetrics()).toMatchObject({ redacted: { ip: 1, email: 1, credentials: 1 } });
    await deliverMetrics();
    const [sent] = insightServer.requests.map(bodyOf);
    const hash = expect.stringMatching(/^\[(email|hidden)#[a-p]{16}\]$/);
    expect(sent?.batch.series[0]?.labels).toEqual({
      instance: expect.stringMatching(/^\[ip#[a-p]{16}\]:9100$/),
      job: hash,
      customer: hash,
      endpoint: 'https://[credentials]@db/',
    });
    expect(JSON.stringify(sent)).not.toContain(CANARY);
  });

  it('goes on with the other queries where one fails', async () => {
    const good = seriesWith({ pod: 'web-1' });
    prometheusServer.answer = (request, response) => {
      if (request.body.includes('bad')) return status(422)(request, response);
      return good(request, response);
    };
    const queries = ['up', 'bad', 'ok'].map((name) => ({ name, promql: name }));
    const { collectMetrics } = await setUp({ config: { queries } });
    expect(await collectMetrics()).toMatchObject({ series: 2, failed: [{ query: 'bad', code: 'PROMETHEUS_REFUSED' }] });
  });

  it('fails where Prometheus says nothing, and asks it no more than twice', async () => {
    prometheusServer.answer = status(500);
    const queries = ['a', 'b', 'c', 'd'].map((name) => ({ name, promql: name }));
    const { collectMetrics } = await setUp({ config: { queries } });
    await expect(collectMetrics()).rejects.toEqual(failing('PROMETHEUS_UNAVAILABLE'));
    expect(prometheusServer.requests).toHaveLength(2);
  });

  it('cuts many series into batches', async () => {
    prometheusServer.answer = seriesWith(...Array.from({ length: 1_200 }, (_, n) => ({ pod: `web-${n}` })));
    const { collectMetrics, deliverMetrics } = await setUp();
    expect(await collectMetrics()).toMatchObject({ series: 1_200, batches: 3 });
    await deliverMetrics();
    expect(insightServer.requests.map((request) => bodyOf(request).batch.series.length)).toEqual([500, 500, 200]);
    expect(new Set(insightServer.requests.map(({ headers }) => headers['idempotency-key'])).size).toBe(3);
  });
});

describe('while the Insight Engine takes nothing', () => {
  it.each<[string, string, Answer]>([
    ['fails', 'INSIGHT_UNAVAILABLE', status(500)],
    ['says nothing', 'INSIGHT_UNAVAILABLE', () => undefined],
    ['hangs up', 'INSIGHT_UNAVAILABLE', (_, response) => response.destroy()],
    ['answers as something else would', 'INSIGHT_UNAVAILABLE', (_, response) => response.writeHead(200).end('<html>')],
    ['does not take the token', 'INSIGHT_DENIED', status(401)],
    ['denies access', 'INSIGHT_DENIED', status(403)],
    ['does not know the cluster yet', 'INSIGHT_UNAVAILABLE', status(404)],
  ])('batches wait where it %s, and go in order when it is back', async (_, code, answer) => {
    const setup = await setUp();
    insightServer.answer = answer;
    await collectAt(setup, 0, 30);
    const error = await setup.deliverMetrics().catch((thrown: unknown) => thrown);
    expect(error).toEqual(failing(code));
    expect(`${String(error)} ${String((error as Error).cause)}`).not.toContain(CANARY);
    expect(setup.spool.waiting.batches).toBe(2);
    insightServer.requests.length = 0;
    insightServer.answer = status(202);
    await collectAt(setup, 30);
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 3, waiting: { batches: 0 } });
    expect(collectedTimes()).toEqual(['10:00:00', '10:00:30', '10:01:00']);
  });

  it('sends the same batch with the same key again, and takes "had it already" for success', async () => {
    const setup = await setUp();
    insightServer.answer = (_, response) => response.destroy();
    await setup.collectMetrics();
    await expect(setup.deliverMetrics()).rejects.toEqual(failing('INSIGHT_UNAVAILABLE'));
    insightServer.answer = status(409);
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 1, dropped: { refused: 0 } });
    const [first, second] = insightServer.requests.map(({ headers }) => headers['idempotency-key']);
    expect(second).toBe(first);
  });

  it('leaves it alone for as long as it asks', async () => {
    const setup = await setUp();
    insightServer.answer = status(429, { 'retry-after': '60' });
    await setup.collectMetrics();
    await expect(setup.deliverMetrics()).rejects.toEqual(failing('INSIGHT_BUSY'));
    insightServer.answer = status(202);
    clock += 59_000;
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 0, waiting: { batches: 1 } });
    expect(insightServer.requests).toHaveLength(1);
    clock += 2_000;
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 1 });
  });

  it('gives up, and counts, what it refuses for good, and goes on with the rest', async () => {
    const setup = await setUp();
    await collectAt(setup, 0, 30);
    const answers = [status(400), status(202)];
    insightServer.answer = (request, response) => (answers.shift() ?? status(500))(request, response);
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 1, dropped: { refused: 1 } });
  });

  it('sends us nowhere else', async () => {
    const other = await startServer(status(202));
    try {
      const setup = await setUp();
      insightServer.answer = status(308, { location: `${other.address}/signals` });
      await setup.collectMetrics();
      await expect(setup.deliverMetrics()).rejects.toEqual(failing('INSIGHT_UNAVAILABLE'));
      expect(other.requests).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it('is not talked to where its certificate is of an authority that is not trusted', async () => {
    const stranger = insightAt(insightServer.address);
    const setup = await setUp({ through: stranger });
    await setup.collectMetrics();
    await expect(setup.deliverMetrics()).rejects.toEqual(failing('INSIGHT_UNAVAILABLE'));
    expect(insightServer.requests).toEqual([]);
    await stranger.close();
  });

  it('does not hold us up with an answer that never ends', async () => {
    const setup = await setUp();
    insightServer.answer = (_, response) => {
      response.writeHead(202);
      const more = () => response.writable && response.write('x'.repeat(65_536), () => setImmediate(more));
      more();
    };
    await setup.collectMetrics();
    const startedAt = performance.now();
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 1 });
    expect(performance.now() - startedAt).toBeLessThan(900);
  });
});

describe('what waits on the disk', () => {
  it('is given up when it is too old, and counted', async () => {
    const setup = await setUp({ maxAgeMs: 60_000 });
    await collectAt(setup, 0, 30, 60, 90, 120);
    expect(setup.spool.waiting.batches).toBe(3);
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 3, dropped: { age: 2 } });
    expect(collectedTimes()).toEqual(['10:01:00', '10:01:30', '10:02:00']);
  });

  it('stays below its size, the oldest going first, and counted', async () => {
    prometheusServer.answer = seriesWith(
      ...Array.from({ length: 50 }, () => ({ pod: randomBytes(16).toString('base64') })),
    );
    const setup = await setUp({ maxBytes: 8_000 });
    await collectAt(setup, 0, 30, 60, 90, 120, 150);
    const { batches, bytes } = setup.spool.waiting;
    expect(bytes).toBeLessThanOrEqual(8_000);
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: batches, dropped: { size: 6 - batches } });
    expect(collectedTimes().at(-1)).toBe('10:02:30');
  });

  it('outlives the process, without what was half written', async () => {
    const before = await setUp();
    await collectAt(before, 0, 30);
    await writeFile(join(folder, 'spool', '001764064800000-000003-X.json.gz.new'), 'half');
    const after = await setUp();
    expect(after.spool.waiting).toEqual(before.spool.waiting);
    expect(await readdir(join(folder, 'spool'))).toHaveLength(2);
    expect(await after.deliverMetrics()).toMatchObject({ delivered: 2 });
    expect(collectedTimes()).toEqual(['10:00:00', '10:00:30']);
  });

  it('is where all goes first: nothing is sent that the disk does not take', async () => {
    const setup = await setUp();
    await rm(join(folder, 'spool'), { recursive: true });
    await writeFile(join(folder, 'spool'), 'no folder');
    await expect(setup.collectMetrics()).rejects.toEqual(failing('SPOOL_UNAVAILABLE'));
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 0 });
    await rm(join(folder, 'spool'));
    await setup.collectMetrics();
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 1 });
  });

  it('goes on where a file was taken away', async () => {
    const setup = await setUp();
    await collectAt(setup, 0, 30);
    const [first = ''] = (await readdir(join(folder, 'spool'))).sort();
    await rm(join(folder, 'spool', first));
    expect(await setup.deliverMetrics()).toMatchObject({ delivered: 1, dropped: { unreadable: 1 } });
  });
});
