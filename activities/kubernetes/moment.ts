/** A moment by both clocks: the monotonic one stands still while the machine sleeps, the other one may be set. */
export interface Moment {
  readonly mono: number;
  readonly wall: number;
}

export const NEVER: Moment = { mono: -Infinity, wall: -Infinity };

export function thisMoment(): Moment {
  return { mono: performance.now(), wall: Date.now() };
}

/** How long ago it was, by the clock that says longer: for what must not be older than it seems. */
export function msSince({ mono, wall }: Moment): number {
  return Math.max(performance.now() - mono, Date.now() - wall);
}
