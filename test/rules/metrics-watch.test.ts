import { describe, expect, it } from '@jest/globals';
import { pino } from 'pino';
import type { ErrorCode } from '../../domain/errors.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { Health } from '../../domain/health.ts';
import type { Collected, Delivered, Dropped } from '../../domain/metrics.ts';

import { createMetrics } from '../../worker/metrics/registry.ts';
import { watchMetrics } from '../../worker/metrics-watch.ts';

// R14, R24

const NONE: Dropped = { age: 0, size: 0, refused: 0, unreadable: 0 };
const HOUR_MS = 3_600_000;

/** The watch over activities that give what they are told to. */
function setUp() {
  const state = {
    waiting: { batches: 0, bytes: 0 },
    dropped: NONE,
    collected: {
      series: 1,
      batches: 1,
      failed: [],
      partial: [],
      omitted: { series: 0, samples: 0 },
      redacted: {},
    } as Collected,
    delivered: 1,
    failsWith: undefined as ErrorCode | undefined,
    now: 0,
  };
  const entries: unknown[] = [];
  const health = new Health(() => new Date(0));
  const metrics = createMetrics();
  const answer = <T>(value: T) =>
    state.failsWith ? Promise.reject(new ConnectorError(state.failsWith)) : Promise.resolve(value);
  const watched = watchMetrics(
    {
      collectMetrics: () => answer(state.collected),
      deliverMetrics: () =>
        answer<Delivered>({ delivered: state.delivered, waiting: state.waiting, dropped: state.dropped }),
    },
    {
      spool: state,
      health,
      metrics,
      record: async (type, detail, more) => void entries.push({ type, detail, ...more }),
      logger: pino({ level: 'silent' }),
      now: () => state.now,
    },
  );
  const deliver = () => watched.deliverMetrics().catch(() => undefined);
  const collect = () => watched.collectMetrics().catch(() => undefined);
  const part = (name: string) => health.components().find((one) => one.name === name);
  return { state, entries, metrics, watched, deliver, collect, part };
}

describe('the watch over the stream of metrics', () => {
  it('tells the first batch that is given up at once, and what comes after it together, an hour later', async () => {
    const { state, entries, deliver } = setUp();
    const dropped = (age: number) => ({
      type: 'metrics.dropped',
      outcome: 'failed',
      detail: { batches: { ...NONE, age } },
    });
    state.failsWith = 'INSIGHT_UNAVAILABLE';
    state.dropped = { ...NONE, age: 1 };
    await deliver();
    expect(entries).toEqual([dropped(1)]);
    state.dropped = { ...NONE, age: 5 };
    state.now = HOUR_MS - 1;
    await deliver();
    expect(entries).toHaveLength(1);
    state.now = HOUR_MS;
    await deliver();
    await deliver();
    expect(entries).toEqual([dropped(1), dropped(4)]);
  });

  it('shows in the metrics what waits and what was given up, also while nothing can be delivered', async () => {
    const { state, metrics, deliver } = setUp();
    state.failsWith = 'INSIGHT_UNAVAILABLE';
    state.waiting = { batches: 3, bytes: 30 };
    state.dropped = { ...NONE, size: 2 };
    await deliver();
    const lines = (await metrics.render()).split('\n');
    expect(lines).toContain('byoc_metrics_waiting_batches 3');
    expect(lines).toContain('byoc_metrics_dropped_batches_total{reason="size"} 2');
    expect(lines).toContain('byoc_schedule_runs_total{schedule="metrics-delivery",outcome="failed"} 1');
  });

  it.each([
    ['INSIGHT_UNAVAILABLE', 'insight-engine', 'down'],
    ['INSIGHT_BUSY', 'insight-engine', 'degraded'],
    ['SPOOL_UNAVAILABLE', 'metrics-spool', 'down'],
  ] as const)('says for %s that %s is %s', async (code, name, how) => {
    const { state, deliver, part } = setUp();
    state.failsWith = code;
    await deliver();
    expect(part(name)).toMatchObject({ state: how, code });
    state.failsWith = undefined;
    await deliver();
    expect(part(name)).toMatchObject({ state: 'ok' });
  });

  it('takes an Insight Engine that wants to be left alone for well again only when it has taken something', async () => {
    const { state, deliver, part } = setUp();
    state.failsWith = 'INSIGHT_BUSY';
    await deliver();
    state.failsWith = undefined;
    Object.assign(state, { delivered: 0, waiting: { batches: 2, bytes: 9 } });
    await deliver();
    expect(part('insight-engine')).toMatchObject({ state: 'degraded', code: 'INSIGHT_BUSY' });
    Object.assign(state, { delivered: 2, waiting: { batches: 0, bytes: 0 } });
    await deliver();
    expect(part('insight-engine')).toMatchObject({ state: 'ok' });
  });

  it.each([
    ['deliver', 'INSIGHT_DENIED', 'INSIGHT_UNAVAILABLE', 'insight-engine'],
    ['collect', 'PROMETHEUS_DENIED', 'PROMETHEUS_UNAVAILABLE', 'prometheus'],
  ] as const)('records once, when it would %s, that it was not accepted: %s', async (what, code, away, at) => {
    const { state, entries, [what]: run } = setUp();
    const entry = { type: 'authentication.failed', outcome: 'failed', detail: { at, code } };
    for (const failsWith of [code, code, away, code] as const) {
      state.failsWith = failsWith;
      await run();
    }
    expect(entries).toEqual([entry]);
    state.failsWith = undefined;
    await run();
    state.failsWith = code;
    await run();
    expect(entries).toEqual([entry, entry]);
  });

  it.each(['INSIGHT_UNAVAILABLE', 'INSIGHT_BUSY', 'VAULT_UNAVAILABLE'] as const)(
    'takes %s for no refusal of who we are',
    async (code) => {
      const { state, entries, deliver } = setUp();
      state.failsWith = code;
      await deliver();
      expect(entries).toEqual([]);
    },
  );

  it('says that Prometheus is degraded while some queries have no answer', async () => {
    const { state, watched, part } = setUp();
    state.collected = { ...state.collected, failed: [{ query: 'up', code: 'PROMETHEUS_REFUSED' }] };
    await watched.collectMetrics();
    expect(part('prometheus')).toMatchObject({ state: 'degraded', sentence: 'Some queries have no answer.' });
  });
});
