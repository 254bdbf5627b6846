import type { Logger } from 'pino';
import { toApplicationFailure } from '../activities/failure.ts';
import type { MetricsActivities } from '../activities/insight/metrics.ts';
import type { Spool } from '../activities/insight/spool.ts';
import type { ErrorCode } from '../domain/errors.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Finding, Health, PartName } from '../domain/health.ts';
import type { Collected, Delivered, Dropped } from '../domain/metrics.ts';
import type { Record as RecordEntry } from './audit-watch.ts';
import type { Metrics } from './metrics/registry.ts';

export interface MetricsWatchOptions {
  /** Where batches wait; what it drops shows here also while nothing can be delivered. */
  readonly spool: Pick<Spool, 'waiting' | 'dropped'>;
  readonly health: Pick<Health, 'report'>;
  readonly metrics: Pick<Metrics, 'onScheduleRun' | 'setBatches'>;
  readonly record: RecordEntry;
  readonly logger: Logger;
  /** Milliseconds on a clock that nobody sets. */
  readonly now?: () => number;
}

/** What is given up goes on being given up: it is told at once, and then so often. */
const DROPS_TOLD_EVERY_MS = 3_600_000;
/** What says that we are not accepted for who we are. */
const DENIED: ReadonlySet<ErrorCode> = new Set(['INSIGHT_DENIED', 'PROMETHEUS_DENIED']);
const NONE: Dropped = { age: 0, size: 0, refused: 0, unreadable: 0 };

const TOLD = {
  collectMetrics: {
    part: 'prometheus',
    schedule: 'metrics-collection',
    alert: 'metrics-unread',
    sentence: 'metrics cannot be read from Prometheus',
  },
  deliverMetrics: {
    part: 'insight-engine',
    schedule: 'metrics-delivery',
    alert: 'metrics-undelivered',
    sentence: 'metrics cannot be delivered to the Insight Engine; they are kept for an hour',
  },
} as const;

/**
 * The activities of the stream of metrics, watched: each trouble is in the log once when it begins and once when it is over,
 * however often the schedule comes round; the health says how the parts are; what is given up, and that a part does not accept
 * who we are, is in the audit log.
 */
export function watchMetrics(
  activities: MetricsActivities,
  options: MetricsWatchOptions,
): MetricsActivities & Record<string, () => unknown> {
  const { spool, health, metrics, record, logger } = options;
  const failing = new Map<keyof MetricsActivities, ErrorCode>();
  /** By which we were not accepted when they last answered: that is told once. */
  const denied = new Set<PartName>();
  const drops = new Drops(options.now ?? (() => performance.now()));

  async function watched<T>(
    name: keyof MetricsActivities,
    work: () => Promise<T>,
    findingOf: (result: T) => Finding | undefined,
  ): Promise<T> {
    const { part, schedule, alert, sentence } = TOLD[name];
    try {
      const result = await work();
      metrics.onScheduleRun(schedule, 'succeeded');
      const finding = findingOf(result);
      if (!finding) return result; // nothing was tried, so nothing is known
      health.report(part, finding);
      health.report('metrics-spool', { state: 'ok' });
      denied.delete(part);
      if (failing.delete(name)) logger.info({ activity: name }, 'metrics flow again');
      return result;
    } catch (error) {
      const code = error instanceof ConnectorError ? error.code : 'INTERNAL';
      metrics.onScheduleRun(schedule, 'failed');
      const failed: PartName = code === 'SPOOL_UNAVAILABLE' ? 'metrics-spool' : part;
      health.report(failed, { state: code === 'INSIGHT_BUSY' ? 'degraded' : 'down', code });
      if (failing.get(name) !== code) logger.error({ alert, activity: name, code, err: error }, sentence);
      failing.set(name, code);
      if (DENIED.has(code)) tellDenied(part, code);
      throw toApplicationFailure(error);
    } finally {
      tellSpool();
    }
  }

  function tellDenied(part: PartName, code: ErrorCode): void {
    if (denied.has(part)) return;
    denied.add(part);
    record('authentication.failed', { at: part, code }, { outcome: 'failed' }).catch((error: unknown) =>
      logger.error({ err: error }, 'that we were not accepted cannot be recorded'),
    );
  }

  function tellSpool(): void {
    const { waiting, dropped } = spool;
    metrics.setBatches({ waiting: waiting.batches, dropped });
    const batches = drops.toTell(dropped);
    if (!batches) return;
    logger.error({ alert: 'metrics-dropped', batches }, 'metrics were given up');
    record('metrics.dropped', { batches }, { outcome: 'failed' }).catch((error: unknown) =>
      logger.error({ err: error }, 'that metrics were given up cannot be recorded'),
    );
  }

  const onCollected = ({ failed, partial, omitted }: Collected): Finding => {
    if (failed.length + partial.length + omitted.series === 0) return { state: 'ok' };
    logger.warn({ failed, partial, omitted }, 'metrics are incomplete');
    return failed.length > 0 ? { state: 'degraded', sentence: 'Some queries have no answer.' } : { state: 'ok' };
  };
  // While the Insight Engine wants to be left alone nothing is sent, and nothing is well again by that.
  const onDelivered = ({ delivered, waiting }: Delivered): Finding | undefined =>
    delivered === 0 && waiting.batches > 0 ? undefined : { state: 'ok' };
  return {
    collectMetrics: () => watched('collectMetrics', activities.collectMetrics, onCollected),
    deliverMetrics: () => watched('deliverMetrics', activities.deliverMetrics, onDelivered),
  };
}

/** Tells the first of many losses, and what came after it together. */
class Drops {
  readonly #now: () => number;
  #told = NONE;
  #toldAt = -Infinity;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @param dropped since the process began; what is returned is since it was last told */
  toTell(dropped: Dropped): Dropped | undefined {
    const more: Dropped = {
      age: dropped.age - this.#told.age,
      size: dropped.size - this.#told.size,
      refused: dropped.refused - this.#told.refused,
      unreadable: dropped.unreadable - this.#told.unreadable,
    };
    const isNews = Object.values(more).some((count) => count > 0);
    if (!isNews || this.#now() - this.#toldAt < DROPS_TOLD_EVERY_MS) return undefined;
    this.#told = dropped;
    this.#toldAt = this.#now();
    return more;
  }
}
