/** What is told of one contestant's times, ms. */
export interface Summary {
  readonly medianMs: number;
  readonly p95Ms: number;
  readonly samplesMs: readonly number[];
}

/** @param samplesMs at least one */
export function summarise(samplesMs: readonly number[]): Summary {
  return { medianMs: median(samplesMs), p95Ms: percentile(samplesMs, 95), samplesMs };
}

/** The middle one, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = inOrder(values);
  const upper = Math.floor(sorted.length / 2);
  const lower = Math.ceil(sorted.length / 2) - 1;
  return (itemAt(sorted, lower) + itemAt(sorted, upper)) / 2;
}

/** By the nearest rank: always one of the values, so with fewer than 20 of them the 95th percentile is the slowest. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = inOrder(values);
  return itemAt(sorted, Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1));
}

function inOrder(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

function itemAt(values: readonly number[], index: number): number {
  const value = values[index];
  if (value === undefined) throw new RangeError('there is nothing to summarise');
  return value;
}
