const FIRST_MS = 1_000;
const LONGEST_MS = 3_600_000;

/**
 * How long to wait before planning anew where a window was open to whoever planned and closed to who was to execute:
 * their clocks differ. As a rule it is less than a second; where one of them is set wrong for good, the history of the
 * run must not grow without end for it (Temporal ends a run at 51,200 events).
 * @param times how often in a row, from 1
 * @returns ms, doubled each time up to an hour
 */
export function windowPauseMs(times: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** (times - 1));
}
