import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import type { WaitingRuns } from '../../worker/tell-waiting.ts';
import { createTeller } from '../../worker/tell-waiting.ts';

const POLICY = `sha256:${'a'.repeat(64)}` as const;
const OTHER_POLICY = `sha256:${'b'.repeat(64)}` as const;

/** By a fake, because no real run refuses a signal when a test wants it to. */
describe('telling packages that wait of another policy', () => {
  let calls: string[];
  let broken: Set<string>;
  let underWay: number;
  let mostUnderWay: number;
  let clockMs: number;
  beforeEach(() => {
    [calls, broken, underWay, mostUnderWay, clockMs] = [[], new Set(), 0, 0, 0];
  });

  const names = Array.from({ length: 30 }, (_, index) => `run-${index}`);
  const runs: WaitingRuns = {
    list: () => Promise.resolve(names.map((runId) => ({ workflowId: `wpk/${runId}`, runId }))),
    async tell({ runId }) {
      calls.push(runId);
      mostUnderWay = Math.max(mostUnderWay, (underWay += 1));
      await turn();
      underWay -= 1;
      clockMs += 1;
      if (broken.has(runId)) throw new Error('it takes no message');
    },
  };
  const teller = () => createTeller(runs, () => clockMs);

  it('tells each once, several at a time', async () => {
    await teller()(POLICY);
    expect(calls.toSorted()).toEqual(names.toSorted());
    expect(mostUnderWay).toBe(8);
  });

  it('is not held back by one that takes no message, which alone is told again', async () => {
    broken.add('run-0');
    const tell = teller();
    await expect(tell(POLICY)).rejects.toThrow('1 of 30 packages that wait were not told.');
    expect(calls.toSorted()).toEqual(names.toSorted());
    calls = [];
    broken.clear();
    await tell(POLICY);
    expect(calls).toEqual(['run-0']);
  });

  it('tells everybody of the next policy', async () => {
    const tell = teller();
    await tell(POLICY);
    await tell(OTHER_POLICY);
    expect(calls).toHaveLength(2 * names.length);
  });

  it('ends a round in time, and begins the next with those that were not tried', async () => {
    names.slice(0, 10).forEach((name) => broken.add(name));
    const slow: WaitingRuns = {
      ...runs,
      tell: async (...told) => {
        clockMs += 1_000; // as calls do that nobody answers
        await runs.tell(...told);
      },
    };
    const tell = createTeller(slow, () => clockMs);
    await expect(tell(POLICY)).rejects.toThrow('not told');
    const first = calls;
    expect(first.length).toBeLessThan(names.length);
    calls = [];
    clockMs = 0;
    await expect(tell(POLICY)).rejects.toThrow('not told');
    expect(calls.filter((name) => first.includes(name) && !broken.has(name))).toEqual([]);
    expect(calls.some((name) => !first.includes(name))).toBe(true);
  });
});
