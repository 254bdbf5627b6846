import type { Stack } from '../dev/stack.ts';
import type { Contestant } from './interleave.ts';
import { interleave } from './interleave.ts';
import type { Comparison } from './table.ts';
import { ratioOf } from './table.ts';

/** Where changes are made, the first round creates the objects and the second is the first to update them. */
const WARM_UP = 3;

/** What the side is called that the others are compared with. */
export const THEIRS = 'theirs';

export interface BenchContext {
  readonly stack: Stack;
  /** The environment of this process; the settings of the connector that runs in it are added. */
  readonly env: NodeJS.ProcessEnv;
  /** Timed rounds of each comparison. */
  readonly rounds: number;
  readonly onProgress: (message: string) => void;
}

/** Times all contestants in one go and compares each of ours with theirs. */
export async function compare(
  { rounds, onProgress }: BenchContext,
  what: string,
  target: number,
  contestants: readonly Contestant[],
): Promise<Comparison[]> {
  const total = WARM_UP + rounds;
  const times = await interleave(contestants, { warmUp: WARM_UP, timed: rounds }, (round) => {
    onProgress(`${what}: round ${round + 1} of ${total}${round < WARM_UP ? ' (warm-up)' : ''}`);
  });
  const theirs = times.get(THEIRS);
  if (!theirs) throw new Error('there is nothing to compare with');
  times.delete(THEIRS);
  const comparisons = [...times].map(([name, ours]) => ({ what: `${what} (${name})`, ours, theirs, target }));
  for (const one of comparisons) onProgress(`${one.what}: ${ratioOf(one).toFixed(1)} times faster`);
  return comparisons;
}
