import type { Summary } from './statistics.ts';
import { percentile } from './statistics.ts';

/** One comparison: ours against what a user would do without the connector. */
export interface Comparison {
  readonly what: string;
  readonly ours: Summary;
  readonly theirs: Summary;
  /** How many times faster ours has to be, by the medians. */
  readonly target: number;
  /** What else was measured, a line each. */
  readonly facts?: readonly string[];
}

/** How many times faster ours is, by the medians. */
export function ratioOf({ ours, theirs }: Comparison): number {
  return theirs.medianMs / ours.medianMs;
}

export function isMet(comparison: Comparison): boolean {
  return ratioOf(comparison) >= comparison.target;
}

/** Something that must happen in time, whatever others take for it. */
export interface Deadline {
  readonly what: string;
  readonly times: Summary;
  /** For 99 of 100. */
  readonly targetMs: number;
  readonly facts?: readonly string[];
}

export function isInTime({ times, targetMs }: Deadline): boolean {
  return percentile(times.samplesMs, 99) <= targetMs;
}

export function renderDeadlines(deadlines: readonly Deadline[]): string[] {
  const heading = ['what', 'median', 'p99', 'slowest', 'target', 'met'];
  const rows = deadlines.map((one) => [
    one.what,
    duration(one.times.medianMs),
    duration(percentile(one.times.samplesMs, 99)),
    duration(Math.max(...one.times.samplesMs)),
    `≤ ${duration(one.targetMs)}`,
    isInTime(one) ? 'yes' : 'no',
  ]);
  return alignColumns([heading, ...rows]);
}

/** Lines of a table with aligned columns, the heading first. */
export function renderTable(comparisons: readonly Comparison[]): string[] {
  const heading = ['what', 'ours median', 'p95', 'theirs median', 'p95', 'ratio', 'target', 'met'];
  const rows = comparisons.map((one) => [
    one.what,
    duration(one.ours.medianMs),
    duration(one.ours.p95Ms),
    duration(one.theirs.medianMs),
    duration(one.theirs.p95Ms),
    `${ratioOf(one).toFixed(1)}×`,
    `≥ ${one.target}×`,
    isMet(one) ? 'yes' : 'no',
  ]);
  return alignColumns([heading, ...rows]);
}

/** @param table rows of cells, the heading first */
export function alignColumns(table: readonly (readonly string[])[]): string[] {
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const pad = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  return table.map((row) => row.map(pad).join('  ').trimEnd());
}

/** `0.24 ms`, `85 ms`, `6.31 s`: three digits say enough. */
export function duration(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(2)} s`;
  return `${ms.toFixed(ms >= 10 ? 0 : 2)} ms`;
}
