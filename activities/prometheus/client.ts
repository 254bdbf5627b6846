import { request } from 'undici';
import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import type { MetricsConfig, MetricsQuery } from '../../domain/metrics.ts';
import type { TlsSource } from '../tls/context.ts';
import { tlsTroubleIn } from '../tls/trouble.ts';
import { verifyingAgents } from '../tls/undici-agents.ts';

export interface PrometheusSettings {
  /** Base address, such as https://prometheus.monitoring:9090/prometheus. */
  readonly address: string;
  readonly auth: PrometheusAuth;
  /** Whom to trust, and who we are. */
  readonly tls?: TlsSource;
}

export type PrometheusAuth =
  | { readonly method: 'none' }
  | { readonly method: 'bearer'; readonly token: string }
  | { readonly method: 'basic'; readonly username: string; readonly password: string };

export interface QueryResult {
  readonly series: readonly { readonly labels: Record<string, string>; readonly samples: [number, number][] }[];
  /** Whether Prometheus says that something is missing. */
  readonly isPartial: boolean;
  readonly omitted: { readonly series: number; readonly samples: number };
}

export interface Prometheus {
  /**
   * @throws {ConnectorError} PROMETHEUS_UNAVAILABLE (no answer, or none that is one), PROMETHEUS_DENIED,
   *   PROMETHEUS_REFUSED (it does not take the query), PROMETHEUS_TOO_MUCH (more bytes than allowed). No error carries
   *   anything of a request or an answer.
   */
  query(query: MetricsQuery, at: Date, limits: MetricsConfig['limits']): Promise<QueryResult>;
  close(): Promise<void>;
}

const sample = z.tuple([z.number(), z.string()]);
const metric = z.record(z.string(), z.string());
/** https://prometheus.io/docs/prometheus/latest/querying/api/; native histograms have no place in it and are left out. */
const answerSchema = z.object({
  status: z.literal('success'),
  data: z.discriminatedUnion('resultType', [
    z.object({ resultType: z.literal('vector'), result: z.array(z.object({ metric, value: sample.optional() })) }),
    z.object({
      resultType: z.literal('matrix'),
      result: z.array(z.object({ metric, values: z.array(sample).optional() })),
    }),
    z.object({ resultType: z.literal('scalar'), result: sample }),
  ]),
  warnings: z.array(z.string()).optional(),
});

/** A client of one Prometheus; it asks that host only and follows no redirect. */
export function createPrometheus(settings: PrometheusSettings): Prometheus {
  const agents = verifyingAgents(settings.tls, { connections: 4 });
  const base = settings.address.replace(/\/+$/, '');
  const authorization = authorizationOf(settings.auth);

  async function ask(query: MetricsQuery, at: Date, limits: MetricsConfig['limits']): Promise<string> {
    const path = query.range ? 'query_range' : 'query';
    // In the body, so that no proxy has it in its log.
    const { statusCode, body } = await request(`${base}/api/v1/${path}`, {
      dispatcher: await agents.current(),
      method: 'POST',
      headers: { ...authorization, 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: parametersOf(query, at, limits).toString(),
      signal: AbortSignal.timeout(limits.queryTimeoutSeconds * 1_000),
    });
    const chunks: Buffer[] = [];
    let size = 0;
    // Leaving the loop early ends the connection: an endless answer is not read any further.
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limits.bytesPerQuery) {
        throw new ConnectorError('PROMETHEUS_TOO_MUCH', `More than ${limits.bytesPerQuery} bytes.`);
      }
      chunks.push(chunk);
    }
    if (statusCode === 200) return Buffer.concat(chunks).toString('utf8');
    const detail = `It answered ${statusCode}.`;
    if (statusCode === 401 || statusCode === 403) throw new ConnectorError('PROMETHEUS_DENIED', detail);
    if (statusCode === 400 || statusCode === 422) throw new ConnectorError('PROMETHEUS_REFUSED', detail);
    throw new ConnectorError('PROMETHEUS_UNAVAILABLE', detail);
  }

  return {
    async query(query, at, limits) {
      try {
        return readAnswer(await ask(query, at, limits), limits.seriesPerQuery);
      } catch (error) {
        if (error instanceof ConnectorError) throw error;
        // Only its kind: the rest may hold the request.
        const cause = new Error(error instanceof Error ? `${error.name}: ${codeOf(error)}` : 'no error');
        throw new ConnectorError('PROMETHEUS_UNAVAILABLE', noAnswer(error), { cause });
      }
    },
    close: () => agents.destroy(),
  };
}

function parametersOf({ promql, range }: MetricsQuery, at: Date, limits: MetricsConfig['limits']): URLSearchParams {
  const seconds = at.getTime() / 1_000;
  return new URLSearchParams({
    query: promql,
    timeout: `${limits.queryTimeoutSeconds}s`,
    limit: String(limits.seriesPerQuery + 1), // what knows no limit ignores it
    ...(range
      ? { start: String(seconds - range.lastSeconds), end: String(seconds), step: String(range.stepSeconds) }
      : { time: String(seconds) }),
  });
}

/** @throws {ConnectorError} PROMETHEUS_UNAVAILABLE for what is not an answer */
function readAnswer(text: string, maxSeries: number): QueryResult {
  const parsed = answerSchema.safeParse(parseJson(text));
  if (!parsed.success) throw new ConnectorError('PROMETHEUS_UNAVAILABLE', 'The answer is not one of Prometheus.');
  const { data, warnings = [] } = parsed.data;
  const all = seriesOf(data);
  let omittedSamples = 0;
  const series = [];
  for (const { labels, values } of all.slice(0, maxSeries)) {
    const samples = values
      .map(([seconds, value]): [number, number] => [Math.round(seconds * 1_000), Number(value)])
      .filter(([, value]) => Number.isFinite(value));
    omittedSamples += values.length - samples.length;
    if (samples.length > 0) series.push({ labels, samples });
  }
  const omitted = { series: Math.max(0, all.length - maxSeries), samples: omittedSamples };
  return { series, isPartial: warnings.length > 0 || omitted.series > 0, omitted };
}

type Answer = z.infer<typeof answerSchema>['data'];
interface RawSeries {
  readonly labels: Record<string, string>;
  readonly values: readonly [number, string][];
}

function seriesOf(data: Answer): RawSeries[] {
  switch (data.resultType) {
    case 'vector':
      return data.result.map(({ metric: labels, value }) => ({ labels, values: value ? [value] : [] }));
    case 'matrix':
      return data.result.map(({ metric: labels, values = [] }) => ({ labels, values }));
    case 'scalar':
      return [{ labels: {}, values: [data.result] }];
  }
}

function authorizationOf(auth: PrometheusAuth): { authorization?: string } {
  switch (auth.method) {
    case 'none':
      return {};
    case 'bearer':
      return { authorization: `Bearer ${auth.token}` };
    case 'basic':
      return { authorization: `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}` };
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a proxy's page, or an answer that was cut off
  }
}

function noAnswer(error: unknown): string {
  const trouble = tlsTroubleIn(error);
  return trouble === undefined ? 'There is no answer.' : `There is no answer: ${trouble}.`;
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : 'no code';
}
