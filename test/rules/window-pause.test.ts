import { describe, expect, it } from '@jest/globals';
import { windowPauseMs } from '../../workflows/window-pause.ts';

/** The longest that a policy lets a package be valid. */
const LONGEST_VALIDITY_MS = 30 * 86_400_000;
/** A plan, the timers and the execution of one turn, each with the tasks around it. */
const EVENTS_A_TURN = 30;
const HISTORY_LIMIT = 51_200;

describe('the pause of a package whose window is open to one clock and closed to another', () => {
  it('is short at first, as clocks differ', () => {
    expect(windowPauseMs(1)).toBe(1_000);
    expect(windowPauseMs(2)).toBe(2_000);
  });

  it('grows, so that the history stays within its limit for as long as a package may be valid', () => {
    let turns = 0;
    for (let waited = 0; waited < LONGEST_VALIDITY_MS; waited += windowPauseMs(turns)) turns += 1;
    expect(turns * EVENTS_A_TURN).toBeLessThan(HISTORY_LIMIT / 2);
  });
});
