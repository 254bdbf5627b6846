import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { request } from 'undici';
import { createAuthority } from '../../dev/authority.ts';
import type { MetricsBatch } from '../../domain/metrics.ts';
import { scheduleIdOf } from '../../domain/names.ts';
import { TestConnector } from '../support/connector.ts';
import type { Answer, TestServer } from '../support/http-server.ts';
import { json, startServer, status } from '../support/http-server.ts';
import { until } from '../support/until.ts';

// R13, R14, R24, R25, R26. What each client makes of each fault is in test/activities; this is what becomes of the worker.

/** In answers of others: nothing of it is ours to tell. */
const QUOTED = 'quoted-by-a-server-9d2f';
const METRICS = `
queries: [{ name: up, promql: up }]
limits: { bytesPerQuery: 1048576 }
`;

/** All that waits for the Insight Engine may be so old. */
const KEPT_SECONDS = 2;

describe('a worker that talks to servers which answer nonsense', () => {
  let connector: TestConnector;
  let controlPlane: TestServer;
  let insight: TestServer;
  let prometheus: TestServer;
  let url = '';
  let pid = 0;
  const tokens = new Set<string>();

  beforeAll(async () => {
    const authority = await createAuthority();
    const pair = await authority.issue('servers');
    const start = () => startServer(json({}), pair);
    [controlPlane, insight, prometheus] = await Promise.all([start(), start(), start()]);
    connector = await TestConnector.start({
      clothes: 'development', // all roles in one process; a process for each is in roles.test.ts
      files: { 'ca.pem': authority.ca, 'metrics.yaml': METRICS },
      env: {
        CONTROL_PLANE_URL: controlPlane.address,
        BYOC_CONTROL_PLANE_CA: 'ca.pem',
        BYOC_CONTROL_PLANE_LOST_SECONDS: '1',
        PROM_URL: prometheus.address,
        PROM_TOKEN: 'a-token-of-prometheus',
        BYOC_PROM_CA: 'ca.pem',
        BYOC_METRICS: 'metrics.yaml',
        INSIGHT_URL: insight.address,
        BYOC_INSIGHT_CA: 'ca.pem',
        BYOC_METRICS_KEEP_SECONDS: String(KEPT_SECONDS),
        BYOC_AGENT_PORT: '0',
      },
    });
    const found = await until('the agent', async () =>
      (await connector.log()).find(({ message }) => message === 'the agent listens'),
    );
    url = `http://127.0.0.1:${String(found['port'])}`;
    pid = connector.workerPid;
  }, 180_000);
  afterAll(async () => {
    await connector.stop();
    await Promise.all([controlPlane, insight, prometheus].map((server) => server.close()));
  });
  beforeEach(async () => {
    controlPlane.answer = json({});
    insight.answer = status(202);
    prometheus.answer = vector([{ metric: { pod: 'web-1' }, value: [1, '1'] }]);
    await until('the link to be well', async () => {
      await trigger('heartbeat');
      return (await metric('byoc_control_plane_lost')) === 0;
    });
  });

  const trigger = async (name: string, ...writer: string[]) =>
    connector.client.client.schedule.getHandle(scheduleIdOf(connector.clusterId, name, ...writer)).trigger();
  const beat = () => trigger('heartbeat');
  const collect = () => trigger('metrics', 'worker-0');
  const log = () => readFile(join(connector.prepared.folder, 'worker.log'), 'utf8');
  const waiting = () => readdir(join(connector.prepared.env['BYOC_DATA_DIR'] ?? '', 'metrics'));
  const countOf = async (type: string) => (await connector.audit()).filter((entry) => entry.type === type).length;
  async function metric(line: string): Promise<number | undefined> {
    const text = await until('a scrape', async () => {
      const { statusCode, body } = await request(`${url}/metrics`);
      const scraped = await body.text();
      if (statusCode === 200) return scraped;
      await sleep(1_000); // nobody may scrape as often as a test looks
      return undefined;
    });
    const found = text.split('\n').find((one) => one.startsWith(`${line} `));
    return found === undefined ? undefined : Number(found.split(' ').at(-1));
  }
  /** MiB of the worker's process. */
  async function residentMib(): Promise<number> {
    const text = await readFile(`/proc/${pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1]) / 1024;
  }
  /** Lets a schedule run until something is so; a run that is asked for while another goes on is skipped. */
  const rounds = <T>(what: string, go: () => Promise<void>, probe: () => Promise<T | undefined | false>) =>
    until(
      what,
      async () => {
        await go();
        return probe();
      },
      60_000,
    );

  /** It lives, says how it is, and has disclosed nothing. */
  async function expectWell(): Promise<void> {
    expect(connector.workerPid).toBe(pid);
    const { statusCode, body } = await request(`${url}/health/live`);
    await body.dump();
    expect(statusCode).toBe(200);
    for (const server of [controlPlane, insight]) {
      for (const { headers } of server.requests) {
        const signature = /^Bearer [\w-]+\.[\w-]+\.([\w-]+)$/.exec(headers.authorization ?? '')?.[1];
        if (signature) tokens.add(signature);
      }
    }
    const text = `${await log()}${JSON.stringify(await connector.audit())}`;
    for (const secret of [...tokens, 'a-token-of-prometheus', QUOTED]) expect(text).not.toContain(secret);
    expect(tokens.size).toBeGreaterThan(0);
  }

  /** That a part does not accept who we are is an entry of the audit log, and no other trouble is. */
  async function expectDenied(at: string, code: string, before: number): Promise<void> {
    if (!code.endsWith('_DENIED')) return expect(await countOf('authentication.failed')).toBe(before);
    const entry = await until('the entry', async () =>
      (await connector.audit()).filter(({ type }) => type === 'authentication.failed').at(before),
    );
    expect(entry.detail).toEqual({ at, code });
  }

  describe('the control plane', () => {
    it.each<[string, Answer, string]>([
      ['401', refusal(401), 'CONTROL_PLANE_DENIED'],
      ['403', refusal(403), 'CONTROL_PLANE_DENIED'],
      ['409', refusal(409), 'CONTROL_PLANE_CONFLICT'],
      ['429 with Retry-After', refusal(429, { 'retry-after': '1' }), 'CONTROL_PLANE_BUSY'],
      ['500', refusal(500), 'CONTROL_PLANE_UNAVAILABLE'],
      ['garbage', (_, response) => response.end(`<html>${QUOTED}</html>`), 'CONTROL_PLANE_UNAVAILABLE'],
      ['nothing', () => undefined, 'CONTROL_PLANE_UNAVAILABLE'],
      ['a redirect', refusal(302, { location: 'https://127.0.0.1:1/' }), 'CONTROL_PLANE_UNAVAILABLE'],
    ])(
      'that answers %s is an alert, once, and it is well again by itself',
      async (_what, answer, code) => {
        const [lost, denied] = [await countOf('link.lost'), await countOf('authentication.failed')];
        controlPlane.answer = answer;
        await rounds('the loss', beat, async () => (await countOf('link.lost')) > lost);
        const entry = (await connector.audit()).filter(({ type }) => type === 'link.lost').at(-1);
        expect(entry?.detail).toMatchObject({ code });
        expect(await metric('byoc_control_plane_lost')).toBe(1);
        // That we are not accepted is told at once and apart.
        expect((await countOf('authentication.failed')) - denied).toBe(code === 'CONTROL_PLANE_DENIED' ? 1 : 0);
        expect(await log()).toContain('"alert":"control-plane-lost"');
        controlPlane.answer = json({});
        await rounds('the link', beat, async () => (await metric('byoc_control_plane_lost')) === 0);
        expect(await countOf('link.lost')).toBe(lost + 1);
        await expectWell();
      },
      120_000,
    );

    it('whose clock is an hour off is told, and taken for what it is otherwise', async () => {
      const time = new Date(Date.now() + 3_600_000);
      controlPlane.answer = json({ time: time.toISOString() });
      await rounds('the warning', beat, async () =>
        (await log()).includes("clock and the control plane's are far apart"),
      );
      expect(await log()).toContain('"alert":"control-plane-warning"');
      expect(await metric('byoc_control_plane_lost')).toBe(0);
      await expectWell();
    }, 60_000);
  });

  describe('Prometheus', () => {
    const failing = async (code: string) =>
      (await connector.log()).some((line) => line['alert'] === 'metrics-unread' && line['code'] === code);
    const delivered = () => insight.requests.length;

    it('that says that its answer is partial is told, and what there is goes on', async () => {
      prometheus.answer = vector([{ metric: { pod: 'web-1' }, value: [1, '1'] }], [QUOTED]);
      insight.requests.length = 0;
      await rounds('what there is', collect, async () => delivered() > 0);
      await until('the warning', async () =>
        (await connector.log()).some(
          ({ message, partial }) => message === 'metrics are incomplete' && String(partial) === 'up',
        ),
      );
      await expectWell();
    }, 60_000);

    it('that says NaN and infinities has them left out', async () => {
      prometheus.answer = vector([
        { metric: { pod: 'a' }, value: [1, 'NaN'] },
        { metric: { pod: 'b' }, value: [1, '+Inf'] },
        { metric: { pod: 'c' }, value: [1, '3'] },
      ]);
      const pods = () =>
        insight.requests.map(({ body }) => {
          const { batch } = JSON.parse(gunzipSync(body).toString()) as { batch: MetricsBatch };
          return batch.series.map(({ labels }) => labels['pod']).join();
        });
      insight.requests.length = 0;
      await rounds('what is left', collect, async () => pods().includes('c'));
      for (const one of pods()) expect(['web-1', 'c']).toContain(one); // what came before may still be on its way
      await expectWell();
    }, 60_000);

    it('that never ends its series is cut off, and costs no memory', async () => {
      const before = await residentMib();
      let sent = 0;
      prometheus.answer = (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.write('{"status":"success","data":{"resultType":"vector","result":[');
        const chunk = Array.from({ length: 500 }, (_, n) =>
          JSON.stringify({ metric: { pod: `p-${n}` }, value: [1, '1'] }),
        );
        const text = `${chunk.join(',')},`;
        const more = () => {
          while (!response.destroyed && response.write(text)) sent += text.length;
          sent += text.length;
        };
        response.on('drain', more).on('error', () => undefined);
        more();
      };
      let peak = before;
      let runs = 0;
      await rounds('three rounds', collect, async () => {
        peak = Math.max(peak, await residentMib());
        runs = prometheus.requests.length;
        return (await incompleteWith('PROMETHEUS_TOO_MUCH')) && runs >= 3;
      });
      console.log(
        `endless series: ${Math.round(sent / 1_048_576)} MiB were sent; ${Math.round(before)} MiB before, ${Math.round(peak)} MiB at most`,
      );
      expect(peak - before).toBeLessThan(100);
      await expectWell();
    }, 120_000);

    const incompleteWith = async (code: string) =>
      (await connector.log()).some(
        ({ message, failed }) => message === 'metrics are incomplete' && JSON.stringify(failed).includes(code),
      );

    it.each<[string, Answer, string]>([
      ['401', refusal(401), 'PROMETHEUS_DENIED'],
      ['500', refusal(500), 'PROMETHEUS_UNAVAILABLE'],
      ['garbage', (_, response) => response.end(QUOTED), 'PROMETHEUS_UNAVAILABLE'],
      ['a redirect', refusal(302, { location: 'https://127.0.0.1:1/' }), 'PROMETHEUS_UNAVAILABLE'],
    ])(
      'that answers %s is an alert in the log',
      async (_what, answer, code) => {
        const denied = await countOf('authentication.failed');
        prometheus.answer = answer;
        await rounds('the alert', collect, () => failing(code));
        await expectDenied('prometheus', code, denied);
        await expectWell();
      },
      60_000,
    );
  });

  describe('the Insight Engine', () => {
    it('that is away for longer than metrics are kept loses the oldest, which is told and counted, and no more', async () => {
      insight.answer = status(503, { 'retry-after': '1' });
      const dropped = (log: readonly Record<string, unknown>[]) =>
        log.filter(({ alert }) => alert === 'metrics-dropped');
      await rounds('some to be given up', collect, async () => dropped(await connector.log()).length > 0);
      // However long it lasts: what waits is what was collected in the time it is kept for.
      for (let round = 0; round < 6; round += 1) await collect();
      expect((await waiting()).length).toBeLessThan(30);
      expect(dropped(await connector.log()).at(-1)).toMatchObject({ batches: { age: expect.any(Number) } });
      insight.answer = status(202);
      insight.requests.length = 0;
      await rounds('the rest', collect, async () => insight.requests.length > 0 && (await waiting()).length === 0);
      await expectWell();
    }, 120_000);

    it.each<[string, Answer, string]>([
      ['401', refusal(401), 'INSIGHT_DENIED'],
      ['500', refusal(500), 'INSIGHT_UNAVAILABLE'],
      ['a redirect', refusal(302, { location: 'https://127.0.0.1:1/' }), 'INSIGHT_UNAVAILABLE'],
    ])(
      'that answers %s is an alert in the log, and is asked again',
      async (_what, answer, code) => {
        const denied = await countOf('authentication.failed');
        insight.answer = answer;
        await rounds('the alert', collect, async () =>
          (await connector.log()).some((line) => line['alert'] === 'metrics-undelivered' && line['code'] === code),
        );
        await expectDenied('insight-engine', code, denied);
        insight.answer = status(202);
        insight.requests.length = 0;
        await rounds('a batch', collect, async () => insight.requests.length > 0);
        await expectWell();
      },
      90_000,
    );
  });
});

function refusal(code: number, headers: Record<string, string> = {}): Answer {
  const body = JSON.stringify({ type: 'x', title: QUOTED, status: code, code: QUOTED, detail: QUOTED });
  return (_, response) =>
    response.writeHead(code, { 'content-type': 'application/problem+json', ...headers }).end(body);
}

function vector(result: readonly object[], warnings: readonly string[] = []): Answer {
  return json({ status: 'success', data: { resultType: 'vector', result }, warnings });
}
