import { describe, expect, it } from '@jest/globals';
import { auditSchedules, clusterSchedules, linkSchedules, metricsSchedules } from '../../worker/schedules.ts';

// R13, R19

const rowsOf = (clusterId: string) => [
  ...clusterSchedules(clusterId),
  ...linkSchedules(clusterId, 'queue'),
  ...metricsSchedules(clusterId, 'pod', 'queue'),
  ...auditSchedules(clusterId, 'pod', 'queue'),
];
const seconds = (text: unknown) => Number(/^(\d+) seconds$/.exec(String(text))?.[1]);

describe('the schedules of many clusters in one Temporal namespace', () => {
  const CLUSTERS = 1_000;
  const intervals = Array.from({ length: CLUSTERS }, (_, n) => rowsOf(`prod-eu-${n}`)).flatMap((rows) =>
    rows.flatMap(({ workflowType, spec }) => (spec.intervals ?? []).map((one) => ({ workflowType, ...one }))),
  );

  it('each begin within their own interval', () => {
    for (const { every, offset } of intervals) expect(seconds(offset)).toBeLessThan(seconds(every));
    expect(intervals).toHaveLength(5 * CLUSTERS);
  });

  it('do not begin in the same second: no second has twice its share', () => {
    const beats = intervals.filter(({ workflowType }) => workflowType === 'heartbeat');
    const turns = new Map<unknown, number>();
    for (const { offset } of beats) turns.set(offset, (turns.get(offset) ?? 0) + 1);
    expect(Math.max(...turns.values())).toBeLessThan((2 * CLUSTERS) / 30);
    expect(turns.size).toBe(30);
  });

  it('stay where they are from start to start', () => {
    expect(rowsOf('prod-eu-1')).toEqual(rowsOf('prod-eu-1'));
  });
});
