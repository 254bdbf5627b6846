import type { Prometheus, QueryResult } from '../../activities/prometheus/client.ts';

const NODES = ['simulated-node'];
const WORKLOADS = ['checkout', 'cart', 'search'];
const WAVE_MS = 600_000;

/**
 * Answers every query with a few series that go up and down by the clock. Labels hold personal data on purpose (an
 * address of a person, one of a machine), so that what leaves shows that it was redacted.
 */
export function madeUpMetrics(): Prometheus {
  return {
    query({ name, range }, at, { seriesPerQuery }) {
      const isOfNodes = name.startsWith('node');
      const subjects = isOfNodes ? NODES : WORKLOADS;
      const stepMs = (range?.stepSeconds ?? 0) * 1_000;
      const steps = range ? Math.floor(range.lastSeconds / range.stepSeconds) : 0;
      const times = Array.from({ length: steps + 1 }, (_, index) => at.getTime() - (steps - index) * stepMs);
      const series: QueryResult['series'] = subjects.slice(0, seriesPerQuery).map((subject, index) => ({
        labels: {
          simulated: 'true',
          namespace: 'shop',
          ...(isOfNodes
            ? { instance: '10.11.12.13:9100', node: subject }
            : { pod: `${subject}-0`, owner: 'jane.doe@example.com' }),
        },
        samples: times.map((ms): [number, number] => [
          ms,
          Math.round(500 + 400 * Math.sin(ms / WAVE_MS + index)) / 1_000,
        ]),
      }));
      return Promise.resolve({ series, isPartial: false, omitted: { series: 0, samples: 0 } });
    },
    close: () => Promise.resolve(),
  };
}
