import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { TLSSocket } from 'node:tls';
import type { Prometheus, PrometheusSettings } from '../../../activities/prometheus/client.ts';
import { createPrometheus } from '../../../activities/prometheus/client.ts';
import { createAuthority } from '../../../dev/authority.ts';
import type { Stack } from '../../../dev/stack.ts';
import type { MetricsConfig, MetricsQuery } from '../../../domain/metrics.ts';
import { DEFAULT_QUERIES, metricsConfigSchema } from '../../../domain/metrics.ts';
import { json, startServer, status } from '../../support/http-server.ts';
import type { Answer, TestServer } from '../../support/http-server.ts';
import { ownStack } from '../../support/stack.ts';
import { TestTlsFiles } from '../../support/tls-files.ts';
import { until } from '../../support/until.ts';

// R14, R23, R26

const { limits } = metricsConfigSchema.parse({});
const UP: MetricsQuery = { name: 'up', promql: 'up' };
const failing = (code: string) => expect.objectContaining({ code });

let files: TestTlsFiles;
beforeAll(async () => {
  files = await TestTlsFiles.create();
});
afterAll(() => files.remove());

async function asking<T>(settings: PrometheusSettings, use: (prometheus: Prometheus) => Promise<T>): Promise<T> {
  const prometheus = createPrometheus(settings);
  try {
    return await use(prometheus);
  } finally {
    await prometheus.close();
  }
}

describe('a real Prometheus with TLS and basic authentication', () => {
  let stack: Stack;
  const settings = (): PrometheusSettings => {
    const { address, caFile, username, password } = stack.prometheus;
    return { address, tls: { ca: caFile }, auth: { method: 'basic', username, password } };
  };
  const ask = (
    promql: string,
    more: Partial<MetricsConfig['limits']> = {},
    changes: Partial<PrometheusSettings> = {},
  ) =>
    asking({ ...settings(), ...changes }, (prometheus) =>
      prometheus.query({ name: 'q', promql }, new Date(), { ...limits, ...more }),
    );

  beforeAll(async () => {
    stack = await ownStack(['prometheus']);
    await until('the first scrape', async () => (await ask('up == 1')).series.length > 0);
  });
  afterAll(async () => stack.stop());

  it('gives what is now', async () => {
    const { series, isPartial } = await ask('up');
    expect(series).toEqual([
      {
        labels: expect.objectContaining({ __name__: 'up', customer: 'joe@example.com' }),
        samples: [[expect.any(Number), 1]],
      },
    ]);
    expect(isPartial).toBe(false);
  });

  it('gives what was in a time', async () => {
    const query = { name: 'r', promql: 'vector(7)', range: { lastSeconds: 60, stepSeconds: 20 } };
    const { series } = await asking(settings(), (prometheus) => prometheus.query(query, new Date(60_000), limits));
    expect(series).toEqual([{ labels: {}, samples: [0, 20_000, 40_000, 60_000].map((ms) => [ms, 7]) }]);
  });

  it('takes every query of the built-in table', async () => {
    await asking(settings(), async (prometheus) => {
      for (const query of DEFAULT_QUERIES) await prometheus.query(query, new Date(), limits);
    });
  });

  it('leaves out samples that are no finite number, and says how many', async () => {
    expect(await ask('vector(0) / 0 or label_replace(vector(1) / 0, "a", "b", "", "")')).toMatchObject({
      series: [],
      omitted: { samples: 2 },
    });
  });

  it('gives as many series as are taken, and says how many more there were', async () => {
    const { series, isPartial, omitted } = await ask('{__name__=~".+"}', { seriesPerQuery: 5 });
    expect(series).toHaveLength(5);
    expect(omitted.series).toBeGreaterThan(0);
    expect(isPartial).toBe(true);
  });

  it('is not read on where it says more bytes than are taken', async () => {
    await expect(ask('{__name__=~".+"}', { bytesPerQuery: 2_048 })).rejects.toEqual(failing('PROMETHEUS_TOO_MUCH'));
  });

  it('refuses what is no query, and a wrong password, each with its own code', async () => {
    await expect(ask('up{')).rejects.toEqual(failing('PROMETHEUS_REFUSED'));
    const auth = { method: 'basic', username: 'byoc', password: 'canary-password' } as const;
    const denied = await ask('up', {}, { auth }).catch((error: unknown) => error);
    expect(denied).toEqual(failing('PROMETHEUS_DENIED'));
    expect(String(denied)).not.toContain('canary');
  });

  it('is not talked to where its certificate is of an authority that is not trusted', async () => {
    const tls = await files.save({ ca: (await createAuthority()).ca });
    await expect(ask('up', {}, { tls })).rejects.toEqual(failing('PROMETHEUS_UNAVAILABLE'));
    await expect(ask('up', {}, { tls: {} })).rejects.toEqual(failing('PROMETHEUS_UNAVAILABLE'));
  });

  it('is asked again once it is back', async () => {
    await asking(settings(), async (prometheus) => {
      await stack.kill('prometheus');
      await expect(prometheus.query(UP, new Date(), limits)).rejects.toEqual(failing('PROMETHEUS_UNAVAILABLE'));
      await stack.restart('prometheus');
      await expect(prometheus.query(UP, new Date(), limits)).resolves.toMatchObject({ isPartial: false });
    });
  });
});

describe('what else may answer in its place', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer(status(500));
  });
  afterAll(() => server.close());

  const askFor = async (
    answer: Answer,
    more: Partial<MetricsConfig['limits']> = {},
    auth: PrometheusSettings['auth'] = { method: 'none' },
  ) => {
    server.answer = answer;
    return asking({ address: server.address, auth }, (prometheus) =>
      prometheus.query(UP, new Date(), { ...limits, ...more }),
    );
  };
  const vector = (...values: string[]) => ({
    resultType: 'vector',
    result: values.map((value, n) => ({ metric: { n: String(n) }, value: [1, value] })),
  });

  it('says where its answer is incomplete', async () => {
    const partial = { status: 'success', warnings: ['a store is away'], data: vector('1', 'NaN', '+Inf') };
    expect(await askFor(json(partial))).toEqual({
      series: [{ labels: { n: '0' }, samples: [[1_000, 1]] }],
      isPartial: true,
      omitted: { series: 0, samples: 2 },
    });
  });

  it('is cut off where its series never end', async () => {
    let closed = false;
    let sent = 0;
    const endless: Answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"status":"success","data":{"resultType":"vector","result":[');
      response.on('close', () => (closed = true));
      const more = () => {
        if (closed) return;
        sent += 65_536;
        if (response.write('{"metric":{},"value":[1,"1"]},'.padEnd(65_536))) setImmediate(more);
        else response.once('drain', more);
      };
      more();
    };
    await expect(askFor(endless, { bytesPerQuery: 1024 * 1024 })).rejects.toEqual(failing('PROMETHEUS_TOO_MUCH'));
    await until('the connection to be closed', () => closed, 5_000);
    expect(sent).toBeLessThan(32 * 1024 * 1024);
  });

  it('is not waited for longer than the time-out', async () => {
    const startedAt = performance.now();
    await expect(askFor(() => undefined, { queryTimeoutSeconds: 1 })).rejects.toEqual(
      failing('PROMETHEUS_UNAVAILABLE'),
    );
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  it('sends us nowhere else', async () => {
    const other = await startServer(json({ status: 'success', data: vector('1') }));
    try {
      const answer = status(307, { location: `${other.address}/api/v1/query` });
      await expect(askFor(answer, {}, { method: 'bearer', token: 'canary-token' })).rejects.toEqual(
        failing('PROMETHEUS_UNAVAILABLE'),
      );
      expect(other.requests).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it.each<[string, Answer]>([
    ['a page', (_, response) => response.writeHead(200).end('<html>Sign in</html>')],
    ['JSON of something else', json({ ok: true })],
    ['half an answer', (_, response) => response.writeHead(200).end('{"status":"success","data":{"resu')],
    [
      'a value that is no text',
      json({ status: 'success', data: { resultType: 'vector', result: [{ metric: {}, value: [1, 1] }] } }),
    ],
    ['an error', status(503)],
  ])('is no Prometheus where it answers with %s', async (_, answer) => {
    await expect(askFor(answer)).rejects.toEqual(failing('PROMETHEUS_UNAVAILABLE'));
  });

  it('gets the token, and the query in the body', async () => {
    await askFor(json({ status: 'success', data: vector('1') }), {}, { method: 'bearer', token: 'abc' });
    const { headers, path, body } = server.requests.at(-1) ?? { headers: {}, path: '', body: '' };
    expect(headers.authorization).toBe('Bearer abc');
    expect(path).toBe('/api/v1/query');
    expect(new URLSearchParams(String(body)).get('query')).toBe('up');
  });

  it('knows us by our certificate', async () => {
    const authority = await createAuthority();
    const us = await authority.issue('connector', { use: 'client' });
    const names: unknown[] = [];
    const answer: Answer = (request, response) => {
      names.push((request.raw.socket as TLSSocket).getPeerCertificate().subject.CN);
      json({ status: 'success', data: vector('1') })(request, response);
    };
    const tls = { ...(await authority.issue('server')), requestCert: true, rejectUnauthorized: false };
    const strict = await startServer(answer, tls);
    try {
      const ours = await files.save({ ca: authority.ca, ...us });
      const settings = { address: strict.address, auth: { method: 'none' }, tls: ours } as const;
      await asking(settings, (prometheus) => prometheus.query(UP, new Date(), limits));
      expect(names).toEqual(['connector']);
    } finally {
      await strict.close();
    }
  });
});
