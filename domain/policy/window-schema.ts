import { z } from 'zod';

/**
 * The form of a maintenance window. What it means is in ../maintenance-windows.ts, which brings the time zone library;
 * this file must not, because it is a part of the schema that everything reads.
 */

/** In the order of `Date.prototype.getUTCDay`. */
export const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

/** A time of day without a zone, `09:00`. */
const timeOfDay = z.string().regex(/^([01][0-9]|2[0-3]):[0-5][0-9]$/, 'must be a time of day, such as "09:00"');

const LOCAL_DATE_TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$/;
const localDateTimeText = 'must be a date and time without a zone, such as 2026-12-24T18:00';
const localDateTime = z
  .string()
  .regex(LOCAL_DATE_TIME, localDateTimeText)
  .refine(isDate, 'must be a day that the calendar has');

const timeZone = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/, 'must be an IANA time zone, such as Europe/Berlin')
  .refine(isTimeZone, 'must be an IANA time zone, such as Europe/Berlin');

const windowBase = {
  /** What people call it; told wherever the window decides. */
  name: z.string().min(1).max(128),
  /** `allow`: execution begins only inside such a window. `deny`: it never begins inside this one; wins over any allow. */
  effect: z.enum(['allow', 'deny']),
  /** The zone whose clock on the wall decides. */
  timeZone,
  /** The playbooks that the window is for; all where it is left out. */
  playbooks: z.array(z.string().min(1)).min(1).optional(),
};

const weeklyWindow = z.strictObject({
  ...windowBase,
  /** The days on which it begins. */
  days: z.array(z.enum(WEEKDAYS)).min(1).max(7),
  from: timeOfDay,
  /** Exclusive; on the next day where it is not later than `from`. */
  to: timeOfDay,
});

const absoluteWindow = z
  .strictObject({
    ...windowBase,
    start: localDateTime,
    /** Exclusive. */
    end: localDateTime,
  })
  .refine(({ start, end }) => start < end, { path: ['end'], message: 'must be later than "start"' });

export type MaintenanceWindow = z.infer<typeof weeklyWindow> | z.infer<typeof absoluteWindow>;

export const windowsSchema = z
  .array(z.union([weeklyWindow, absoluteWindow], 'needs "days", "from" and "to", or "start" and "end"'))
  .max(50)
  // Also where a window has another problem: whoever corrects the file wants to know all of them.
  .superRefine(refuseSameNames, { when: ({ value }) => Array.isArray(value) });

function refuseSameNames(windows: readonly unknown[], context: z.RefinementCtx): void {
  const seen = new Set<unknown>();
  windows.forEach((window, index) => {
    const name = typeof window === 'object' && window !== null && 'name' in window ? window.name : undefined;
    if (name !== undefined && seen.has(name)) {
      context.addIssue({ code: 'custom', path: [index, 'name'], message: 'another window has this name already' });
    }
    seen.add(name);
  });
}

/** JavaScript makes 2 March of 30 February; only a real day comes back as it went in. */
function isDate(text: string): boolean {
  const day = text.slice(0, 10);
  const parsed = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(parsed.getTime()) && parsed.toISOString().startsWith(day);
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
