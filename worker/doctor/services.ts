import { readFile } from 'node:fs/promises';
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { loadMetricsConfig } from '../../activities/prometheus/load-config.ts';
import { createPrometheus } from '../../activities/prometheus/client.ts';
import type { TlsSource } from '../../activities/tls/context.ts';
import { forEachLimited } from '../../activities/kubernetes/concurrency.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { MetricsConfig, MetricsQuery } from '../../domain/metrics.ts';
import type { AgentConfig, JwtSettings, ServerFiles } from '../agent/settings.ts';
import { readJwks } from '../agent/key-set.ts';
import type { ControlPlaneSettings, MetricsSettings } from '../config.ts';
import type { FindingCode } from './catalogue.ts';
import { counted, found, ok } from './check.ts';
import type { Check, CheckGroup, Told } from './check.ts';
import type { Evidence } from './evidence.ts';
import { aboutFiles, materialOf, noAnswer, shown } from './evidence.ts';
import { probe } from './probe.ts';

export interface ServiceOptions {
  readonly controlPlane: ControlPlaneSettings | undefined;
  readonly metrics: MetricsSettings | undefined;
  readonly agent: AgentConfig | undefined;
  readonly evidence: Evidence;
  readonly now: () => Date;
}

/** Queries under way at a time: Prometheus has its own work to do. */
const QUERIES_AT_ONCE = 4;

/** What the worker talks to over HTTP, and who talks to it. */
export function serviceChecks({ controlPlane, metrics, agent, evidence, now }: ServiceOptions): CheckGroup {
  return {
    checks: [
      ...(metrics ? metricsChecks(metrics, evidence, now) : []),
      ...(controlPlane ? [controlPlaneCheck(controlPlane, evidence)] : []),
      ...(agent ? agentChecks(agent, evidence) : []),
    ],
  };
}

function metricsChecks(
  { prometheus, configPath, insight }: MetricsSettings,
  evidence: Evidence,
  now: () => Date,
): Check[] {
  let config: MetricsConfig | undefined;
  return [
    {
      name: 'metrics',
      async run() {
        try {
          config = await loadMetricsConfig(configPath);
          return [
            ok(
              `${counted(config.queries.length, 'query', 'queries')}${configPath ? ` of ${configPath}` : ', as built in'}.`,
            ),
          ];
        } catch (error) {
          return [found('METRICS_CONFIG', error instanceof ConnectorError ? error.detail : 'It cannot be read.')];
        }
      },
    },
    {
      name: 'prometheus',
      async run(signal) {
        const { address, tls } = prometheus;
        const told = await answers({
          url: address,
          where: 'Prometheus',
          codes: {
            away: 'PROMETHEUS_UNREACHABLE',
            certificate: 'PROMETHEUS_CERTIFICATE',
            other: 'PROMETHEUS_UNREACHABLE',
          },
          tls,
          evidence,
          part: 'prometheus',
          signal,
        });
        return [told];
      },
    },
    {
      name: 'prometheus.queries',
      needs: ['metrics', 'prometheus'],
      timeoutMs: 60_000,
      run: async () => (config ? judgeQueries(config, prometheus, now()) : []),
    },
    {
      name: 'insight',
      run: async (signal) => [
        await answers({
          url: `${insight.address.replace(/\/+$/, '')}/signals`,
          where: 'The Insight Engine',
          codes: { away: 'INSIGHT_UNREACHABLE', certificate: 'INSIGHT_CERTIFICATE', other: 'INSIGHT_NOT_THERE' },
          tls: insight.tls,
          evidence,
          part: 'the Insight Engine',
          signal,
        }),
      ],
    },
  ];
}

function controlPlaneCheck({ url, tls }: ControlPlaneSettings, evidence: Evidence): Check {
  return {
    name: 'control-plane',
    run: async (signal) => [
      await answers({
        url: `${url.replace(/\/+$/, '')}/healthz`,
        where: 'The control plane',
        codes: {
          away: 'CONTROL_PLANE_UNREACHABLE',
          certificate: 'CONTROL_PLANE_CERTIFICATE',
          other: 'CONTROL_PLANE_NOT_THERE',
        },
        tls,
        evidence,
        part: 'the control plane',
        signal,
      }),
    ],
  };
}

interface Question {
  readonly url: string;
  /** As the beginning of a sentence. */
  readonly where: string;
  readonly codes: { readonly away: FindingCode; readonly certificate: FindingCode; readonly other: FindingCode };
  readonly tls: TlsSource;
  readonly evidence: Evidence;
  readonly part: string;
  readonly signal: AbortSignal;
}

/** A GET without a token: whoever it is says no to it, or answers, and does nothing. */
async function answers({ url, where, codes, tls, evidence, part, signal }: Question): Promise<Told> {
  const material = await materialOf(tls);
  if (material instanceof Error) return found(codes.certificate, aboutFiles(`${where} at ${shown(url)}`, material));
  const probed = await probe(url, { signal, tls: material });
  if ('trouble' in probed) return noAnswer(probed.trouble, codes, `${where} at ${shown(url)}`);
  const { status } = probed.answer;
  evidence.take(part, probed.answer);
  if (status >= 500) return found(codes.away, `${where} at ${shown(url)} answers ${status}.`);
  if (status >= 300 && status < 400)
    return found(codes.other, `${where} at ${shown(url)} answers ${status}, a redirect, which is not followed.`);
  return ok(`${where} answers at ${shown(url)} (${status} to a GET without a token).`);
}

async function judgeQueries(config: MetricsConfig, settings: MetricsSettings['prometheus'], at: Date): Promise<Told[]> {
  const prometheus = createPrometheus(settings);
  const told: Told[] = [];
  const empty: string[] = [];
  const ask = async (query: MetricsQuery) => {
    try {
      const { series } = await prometheus.query(query, at, config.limits);
      if (series.length === 0) empty.push(query.name);
    } catch (error) {
      told.push(queryTrouble(query, error));
    }
  };
  try {
    await forEachLimited(config.queries, QUERIES_AT_ONCE, ask);
  } finally {
    await prometheus.close();
  }
  // What is true of all is said once.
  const shared = told.find((one) => one.status !== 'ok' && one.code !== 'PROMETHEUS_QUERY');
  if (shared) return [shared];
  if (told.length > 0) return told;
  return [
    ok(
      `All ${config.queries.length} are answered${empty.length > 0 ? `; without any series: ${empty.sort().join(', ')}` : ''}.`,
    ),
  ];
}

function queryTrouble({ name }: MetricsQuery, error: unknown): Told {
  const { code, detail } = error instanceof ConnectorError ? error : { code: 'INTERNAL', detail: '' };
  switch (code) {
    case 'PROMETHEUS_DENIED':
      return found('PROMETHEUS_DENIED', `Prometheus does not let us in. ${detail}`.trim());
    case 'PROMETHEUS_REFUSED':
      return found('PROMETHEUS_QUERY', `Prometheus does not take the query ${name}.`);
    case 'PROMETHEUS_TOO_MUCH':
      return found('PROMETHEUS_QUERY', `The answer to the query ${name} is too large. ${detail}`.trim());
    default:
      return found('PROMETHEUS_UNREACHABLE', `Prometheus does not answer the query ${name}. ${detail}`.trim());
  }
}

function agentChecks({ tls, jwt, clientNames, host, port }: AgentConfig, evidence: Evidence): Check[] {
  return [
    {
      name: 'agent',
      run: async () => {
        const ways = [...(jwt ? ['tokens'] : []), ...(clientNames ? ['client certificates'] : [])];
        const on = ways.length > 0 ? `POST /execute takes ${ways.join(' and ')}` : 'POST /execute is off';
        if (!tls) return [ok(`It listens on ${host} port ${port}, on this machine only; ${on}.`)];
        return [
          (await agentTrouble(tls)) ?? ok(`Its certificate and key go together, for ${host} port ${port}; ${on}.`),
        ];
      },
    },
    ...(jwt
      ? [
          {
            name: 'agent.caller-keys',
            run: async (signal: AbortSignal) => [await judgeCallerKeys(jwt.keys, evidence, signal)],
          },
        ]
      : []),
  ];
}

async function judgeCallerKeys(source: JwtSettings['keys'], evidence: Evidence, signal: AbortSignal): Promise<Told> {
  if ('url' in source) {
    const told = await answers({
      url: source.url,
      where: 'Who publishes the keys of callers',
      codes: {
        away: 'CALLER_KEYS_UNREACHABLE',
        certificate: 'CALLER_KEYS_UNREADABLE',
        other: 'CALLER_KEYS_UNREADABLE',
      },
      tls: source.tls,
      evidence,
      part: 'the keys of callers',
      signal,
    });
    if (told.status !== 'ok') return told;
  }
  const from = 'url' in source ? shown(source.url) : source.path;
  try {
    const { keys } = await readJwks(source);
    if (keys.length === 0) return found('CALLER_KEYS_UNREADABLE', `There is no key at ${from}.`);
    return ok(`${counted(keys.length, 'key')} of callers at ${from}.`);
  } catch {
    return found('CALLER_KEYS_UNREADABLE', `The keys of callers cannot be read from ${from}.`);
  }
}

async function agentTrouble({ certPath, keyPath, clientCaPath }: ServerFiles): Promise<Told | undefined> {
  try {
    const [cert, key] = await Promise.all([readFile(certPath), readFile(keyPath)]);
    createSecureContext({ cert, key });
    if (clientCaPath !== undefined) new X509Certificate(await readFile(clientCaPath));
    return undefined;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'no PEM';
    return found('AGENT_CERTIFICATE', `The certificate of the agent cannot be used (${code}).`);
  }
}
