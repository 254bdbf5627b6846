import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { ulid } from 'ulid';
import { ConnectorError } from '../../domain/errors.ts';
import type { Collected, Delivered, MetricsBatch, MetricsConfig, Series } from '../../domain/metrics.ts';
import { redactLabels } from '../../domain/redact/labels.ts';
import type { Redactor } from '../../domain/redact/redactor.ts';
import { addCounts } from '../../domain/redact/redactor.ts';
import { isSimulated } from '../../domain/simulation.ts';
import type { Prometheus } from '../prometheus/client.ts';
import type { Insight } from './client.ts';
import { InsightBusy } from './client.ts';
import type { Spool } from './spool.ts';

/** What the workflow `metrics` calls; each takes and returns one object. */
export interface MetricsActivities {
  /** Asks Prometheus, redacts, and puts what it says on the disk. */
  collectMetrics(): Promise<Collected>;
  /** Sends what is on the disk, oldest first. */
  deliverMetrics(): Promise<Delivered>;
}

export interface MetricsDeps {
  readonly clusterId: string;
  readonly prometheus: Prometheus;
  readonly insight: Insight;
  readonly spool: Spool;
  readonly config: MetricsConfig;
  readonly redactor: Redactor;
  readonly now: () => Date;
}

/** So that a batch stays far below what the other side takes. */
const SERIES_PER_BATCH = 500;
const CHARS_PER_BATCH = 4 * 1024 * 1024;

/** So many queries without an answer, one after the other, and the rest would wait as long for nothing. */
const GIVE_UP_AFTER = 2;

const compress = promisify(gzip);

/** @throws (both activities) ConnectorError, as they come from their parts; the caller translates */
export function createMetricsActivities(deps: MetricsDeps): MetricsActivities {
  const { clusterId, prometheus, insight, spool, config, redactor, now } = deps;
  const allowed = new Set(config.labels);
  const mark = isSimulated(clusterId) ? ({ simulated: true } as const) : {};
  let leftAloneUntil = new Date(0);

  const waiting = (delivered: number): Delivered => ({ delivered, waiting: spool.waiting, dropped: spool.dropped });

  return {
    async collectMetrics() {
      const at = now();
      const redacted = {};
      const series: Series[] = [];
      const failed: { query: string; code: ConnectorError['code'] }[] = [];
      const partial: string[] = [];
      const omitted = { series: 0, samples: 0 };
      let unanswered = 0;
      for (const query of config.queries) {
        if (unanswered >= GIVE_UP_AFTER) {
          failed.push({ query: query.name, code: 'PROMETHEUS_UNAVAILABLE' });
          continue;
        }
        try {
          const result = await prometheus.query(query, at, config.limits);
          for (const { labels, samples } of result.series) {
            const safe = redactLabels(labels, allowed, redactor);
            addCounts(redacted, safe.counts);
            series.push({ query: query.name, labels: safe.labels, samples });
          }
          omitted.series += result.omitted.series;
          omitted.samples += result.omitted.samples;
          unanswered = 0;
          if (result.isPartial) partial.push(query.name);
        } catch (error) {
          if (!(error instanceof ConnectorError)) throw error;
          failed.push({ query: query.name, code: error.code });
          if (error.code === 'PROMETHEUS_DENIED') throw error;
          if (error.code === 'PROMETHEUS_UNAVAILABLE') unanswered += 1;
        }
      }
      if (failed.length === config.queries.length && failed.every(({ code }) => code === 'PROMETHEUS_UNAVAILABLE')) {
        throw new ConnectorError('PROMETHEUS_UNAVAILABLE', 'No query has an answer.');
      }
      const batches = inBatches(series, at);
      for (const batch of batches) {
        const body = await compress(JSON.stringify({ clusterId, kind: 'metrics', batch: { ...batch, ...mark } }));
        await spool.add(batch.id, at, body);
      }
      return { series: series.length, batches: batches.length, failed, partial, omitted, redacted };
    },

    async deliverMetrics() {
      if (now() < leftAloneUntil) return waiting(0);
      try {
        return waiting(await spool.deliver((id, body) => insight.send(id, body)));
      } catch (error) {
        if (error instanceof InsightBusy) leftAloneUntil = error.retryAt;
        throw error;
      }
    },
  };
}

function inBatches(series: readonly Series[], at: Date): MetricsBatch[] {
  const batches: Series[][] = [];
  let size = Infinity;
  for (const one of series) {
    const chars = JSON.stringify(one).length;
    const last = batches.at(-1);
    if (!last || last.length >= SERIES_PER_BATCH || size + chars > CHARS_PER_BATCH) {
      batches.push([one]);
      size = chars;
    } else {
      last.push(one);
      size += chars;
    }
  }
  return batches.map((batch) => ({ id: ulid(), collectedAt: at.toISOString(), series: batch }));
}
