import type { Summary } from './statistics.ts';
import { summarise } from './statistics.ts';

/** One of those that are compared. */
export interface Contestant {
  readonly name: string;
  /**
   * Gets ready for a round, untimed.
   * @param round counts from 0, the same for all contestants
   * @returns what is timed; it throws where the outcome is not the one that was to be measured
   */
  prepare(round: number): Promise<() => Promise<void>>;
}

export interface Rounds {
  /** Run first and thrown away: caches, compilers and connections get warm on all sides alike. */
  readonly warmUp: number;
  readonly timed: number;
}

/**
 * Times the contestants in turns, one at a time, and lets each round begin with another one: what slows the machine for
 * a while slows all of them.
 */
export async function interleave(
  contestants: readonly Contestant[],
  { warmUp, timed }: Rounds,
  onRound: (round: number) => void,
): Promise<Map<string, Summary>> {
  const samples = new Map(contestants.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < warmUp + timed; round++) {
    onRound(round);
    const first = round % contestants.length;
    for (const contestant of [...contestants.slice(first), ...contestants.slice(0, first)]) {
      const work = await contestant.prepare(round);
      const startedAt = performance.now();
      await work();
      const tookMs = performance.now() - startedAt;
      if (round >= warmUp) samples.get(contestant.name)?.push(tookMs);
    }
  }
  return new Map([...samples].map(([name, times]) => [name, summarise(times)]));
}
