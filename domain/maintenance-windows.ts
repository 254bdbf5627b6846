import { IANAZone } from 'luxon';
import type { Policy } from './policy.ts';
import type { MaintenanceWindow } from './policy/window-schema.ts';
import { WEEKDAYS } from './policy/window-schema.ts';
import type { Wpk } from './wpk.ts';

/**
 * When the execution of a package may begin. What has begun may end after its window: a package that is cut off midway
 * leaves the cluster in a state that nobody reviewed, which is worse than a late end, and whoever wants it halted has
 * the emergency stop.
 *
 * A window is what the clock on the wall of its time zone shows, and nothing else: an instant is inside exactly if the
 * local day and time are. So on the day that lacks 02:00 to 03:00 a window of that hour does not occur, and on the day
 * that has it twice it occurs twice. People who read the clock and the policy never disagree with the connector.
 *
 * Not for workflow code: time zones change with the data of the runtime, so a replay might decide otherwise.
 */

export type WindowState =
  | {
      readonly open: true;
      /** Name of the window that allows it; absent where none has to. */
      readonly window?: string;
    }
  | {
      readonly open: false;
      /** A sentence for people. */
      readonly why: string;
      /** Name of the window that forbids it; absent where it is outside those that allow. */
      readonly window?: string;
      /** When it opens next, RFC 3339 in UTC; absent where it does not within a year. */
      readonly opensAt?: string;
      /** The same on the wall of the zone that the policy names, `22:00 Europe/Berlin`, with its day where that is another. */
      readonly opensAtLocal?: string;
      /** Name of the window that opens then; absent where only one that forbids ends, and in states of earlier workers. */
      readonly waitsFor?: string;
    };

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const HORIZON_MS = 366 * DAY_MS;

/** Whether the execution of a package may begin now. Without any window for its playbook it always may. */
export function windowState(policy: Policy, wpk: Wpk, now: Date): WindowState {
  const windows = windowsFor(policy, wpk);
  const at = now.getTime();
  const { isOpen, by } = judge(windows, (timeZone) => shownIn(timeZone, at));
  const window = by && { window: by.name };
  if (isOpen) return { open: true, ...window };
  const next = nextOpening(windows, at);
  const allowing = windows.filter(({ effect }) => effect === 'allow').map(({ name }) => name);
  const why = by
    ? `The maintenance window ${by.name} forbids it now.`
    : `No maintenance window that allows it is open now (${allowing.join(', ')}).`;
  if (next === undefined) return { open: false, why, ...window };
  const { by: opening } = judge(windows, (timeZone) => shownIn(timeZone, next));
  const zone = (opening ?? by)?.timeZone;
  return {
    ...{ open: false, why, ...window, opensAt: new Date(next).toISOString() },
    ...(zone !== undefined && zone !== 'UTC' && { opensAtLocal: localText(zone, next) }),
    ...(opening && { waitsFor: opening.name }),
  };
}

function localText(timeZone: string, instant: number): string {
  const [shown, utc] = [shownIn(timeZone, instant).toISOString(), new Date(instant).toISOString()];
  const day = shown.slice(0, 10) === utc.slice(0, 10) ? '' : `${shown.slice(0, 10)} `;
  return `${day}${shown.slice(11, 16)} ${timeZone}`;
}

/** A deny wins; with any window that allows, it must be inside one of these. `by` is the window that decides. */
function judge(
  windows: readonly MaintenanceWindow[],
  shownBy: (timeZone: string) => WallTime,
): { readonly isOpen: boolean; readonly by?: MaintenanceWindow | undefined } {
  const isInside = (window: MaintenanceWindow) => contains(window, shownBy(window.timeZone));
  const denying = windows.find((window) => window.effect === 'deny' && isInside(window));
  if (denying) return { isOpen: false, by: denying };
  const allowing = windows.filter(({ effect }) => effect === 'allow');
  const by = allowing.find(isInside);
  return { isOpen: by !== undefined || allowing.length === 0, by };
}

/** The first instant after this one, within a year, at which it is open: one where a window begins or ends, or a clock is put. */
function nextOpening(windows: readonly MaintenanceWindow[], at: number): number | undefined {
  const clocks = new Map(
    [...new Set(windows.map(({ timeZone }) => timeZone))].map((zone) => [zone, wallClock(zone, at)]),
  );
  const edges = windows.flatMap((window) => clocks.get(window.timeZone)?.instantsOf(edgesOf(window)) ?? []);
  const changes = [...edges, ...[...clocks.values()].flatMap(({ shifts }) => shifts)];
  const shownAt = (instant: number) => (zone: string) => clocks.get(zone)?.show(instant) ?? shownIn(zone, instant);
  return [...new Set(changes)]
    .sort((a, b) => a - b)
    .find((instant) => instant > at && judge(windows, shownAt(instant)).isOpen);
}

/** The windows that are for the package's playbook. */
export function windowsFor({ windows }: Policy, { metadata }: Wpk): MaintenanceWindow[] {
  return windows.filter(({ playbooks }) => !playbooks || playbooks.includes(metadata.playbook.id));
}

/** What the clock on the wall shows, as if it were UTC: its day and time are read with the getters for UTC. */
type WallTime = Date;

function shownIn(timeZone: string, instant: number): WallTime {
  return new Date(instant + IANAZone.create(timeZone).offset(instant) * MINUTE_MS);
}

function contains(window: MaintenanceWindow, shown: WallTime): boolean {
  if ('start' in window) return shown >= wallTime(window.start) && shown < wallTime(window.end);
  const [from, to] = [minutesOf(window.from), minutesOf(window.to)];
  const minutes = shown.getUTCHours() * 60 + shown.getUTCMinutes();
  if (from < to) return isDayOf(window, shown) && minutes >= from && minutes < to;
  const dayBefore = new Date(shown.getTime() - DAY_MS);
  return (isDayOf(window, shown) && minutes >= from) || (isDayOf(window, dayBefore) && minutes < to);
}

function isDayOf({ days }: Extract<MaintenanceWindow, { days: unknown }>, shown: WallTime): boolean {
  return days.some((day) => WEEKDAYS.indexOf(day) === shown.getUTCDay());
}

/** Where on the wall clock a window begins and ends: once each, or daily at these minutes. */
function edgesOf(window: MaintenanceWindow): { readonly once: number[] } | { readonly daily: number[] } {
  if ('start' in window) return { once: [wallTime(window.start).getTime(), wallTime(window.end).getTime()] };
  return { daily: [minutesOf(window.from), minutesOf(window.to)] };
}

function wallTime(text: string): WallTime {
  return new Date(`${text.length === 16 ? `${text}:00` : text}Z`);
}

function minutesOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
}

/** A stretch of time in which the wall clock is a fixed time ahead of UTC. */
interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly aheadMs: number;
}

/** The clock on the wall of a time zone, for a year from an instant on. */
function wallClock(timeZone: string, start: number) {
  const stretches = stretchesOf(timeZone, start, start + HORIZON_MS);
  const aheadAt = (instant: number) =>
    stretches.find(({ from, to }) => instant >= from && instant < to)?.aheadMs ?? stretches.at(-1)?.aheadMs ?? 0;
  return {
    /** The instants at which the clock is put forward or back. */
    shifts: stretches.slice(1).map(({ from }) => from),
    show: (instant: number): WallTime => new Date(instant + aheadAt(instant)),
    /** Every instant at which it shows one of these times. */
    instantsOf: (edges: ReturnType<typeof edgesOf>): number[] =>
      stretches.flatMap(({ from, to, aheadMs }) => {
        const shown = 'once' in edges ? edges.once : dailyBetween(edges.daily, from + aheadMs, to + aheadMs);
        return shown.map((time) => time - aheadMs).filter((instant) => instant >= from && instant < to);
      }),
  };
}

function dailyBetween(minutes: readonly number[], from: number, to: number): number[] {
  const times: number[] = [];
  for (let day = Math.floor(from / DAY_MS) * DAY_MS; day < to; day += DAY_MS) {
    times.push(...minutes.map((minute) => day + minute * MINUTE_MS));
  }
  return times;
}

function stretchesOf(timeZone: string, start: number, end: number): Stretch[] {
  const aheadAt = (instant: number) => shownIn(timeZone, instant).getTime() - instant;
  const stretches: Stretch[] = [];
  let from = start;
  let aheadMs = aheadAt(start);
  // No zone has changed its clock twice within a day.
  for (let day = start; day < end; day += DAY_MS) {
    if (aheadAt(day + DAY_MS) === aheadMs) continue;
    const shift = shiftBetween(day, day + DAY_MS, aheadAt);
    stretches.push({ from, to: shift, aheadMs });
    from = shift;
    aheadMs = aheadAt(shift);
  }
  stretches.push({ from, to: end + DAY_MS, aheadMs });
  return stretches;
}

/** The first instant after `low` with the offset of `high`, to the millisecond. */
function shiftBetween(low: number, high: number, aheadAt: (instant: number) => number): number {
  const before = aheadAt(low);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (aheadAt(middle) === before) low = middle;
    else high = middle;
  }
  return high;
}
