import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { DateTime } from 'luxon';
import { windowState } from '../../domain/maintenance-windows.ts';
import type { Policy } from '../../domain/policy.ts';
import { policySchema } from '../../domain/policy.ts';
import { buildWpk } from '../support/packages.ts';

// R5: when a package may begin.

const withWindows = (...windows: object[]): Policy =>
  policySchema.parse({ apiVersion: 'neuralops.io/v1', kind: 'Policy', windows });
const berlin = { name: 'window', effect: 'allow', timeZone: 'Europe/Berlin' };
const everyDay = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const stateAt = (policy: Policy, time: string) => windowState(policy, buildWpk(), new Date(time));
const isOpenAt = (policy: Policy, time: string) => stateAt(policy, time).open;
const opensAt = (policy: Policy, time: string) => {
  const state = stateAt(policy, time);
  return state.open ? 'now' : state.opensAt;
};

describe('without windows', () => {
  it('a package may begin at any time', () => {
    expect(stateAt(withWindows(), '2026-01-01T00:00:00Z')).toEqual({ open: true });
  });
});

describe('a weekly window', () => {
  const office = withWindows({ ...berlin, days: ['mon', 'tue', 'wed', 'thu', 'fri'], from: '09:00', to: '17:00' });

  it.each([
    ['2026-01-05T07:59:59Z', false, 'Monday 08:59:59'],
    ['2026-01-05T08:00:00Z', true, 'Monday 09:00'],
    ['2026-01-05T15:59:59.999Z', true, 'Monday 16:59:59.999'],
    ['2026-01-05T16:00:00Z', false, 'Monday 17:00'],
    ['2026-01-10T10:00:00Z', false, 'Saturday noon'],
    ['2026-07-06T07:00:00Z', true, 'a Monday at 09:00 in summer'],
    ['2026-07-06T15:00:00Z', false, 'a Monday at 17:00 in summer'],
  ])('at %s is open: %s (%s)', (time, open) => {
    expect(isOpenAt(office, time)).toBe(open);
  });

  it('tells when it opens next, over a weekend on which the clock is put forward', () => {
    expect(stateAt(office, '2026-03-27T16:00:00Z')).toEqual({
      open: false,
      why: 'No maintenance window that allows it is open now (window).',
      opensAt: '2026-03-30T07:00:00.000Z',
      opensAtLocal: '09:00 Europe/Berlin',
      waitsFor: 'window',
    });
  });

  it('past midnight belongs to the day on which it begins', () => {
    const night = withWindows({ ...berlin, days: ['fri'], from: '22:00', to: '04:00' });
    expect(isOpenAt(night, '2026-01-09T21:00:00Z')).toBe(true);
    expect(isOpenAt(night, '2026-01-10T02:59:59Z')).toBe(true);
    expect(isOpenAt(night, '2026-01-10T03:00:00Z')).toBe(false);
    expect(isOpenAt(night, '2026-01-09T02:00:00Z')).toBe(false);
    expect(isOpenAt(night, '2026-01-10T21:00:00Z')).toBe(false);
  });

  it('is a whole day where it ends at the time at which it begins', () => {
    const saturday = withWindows({ ...berlin, days: ['sat'], from: '00:00', to: '00:00' });
    expect(isOpenAt(saturday, '2026-01-09T22:59:59Z')).toBe(false);
    expect(isOpenAt(saturday, '2026-01-09T23:00:00Z')).toBe(true);
    expect(isOpenAt(saturday, '2026-01-10T22:59:59Z')).toBe(true);
    expect(isOpenAt(saturday, '2026-01-10T23:00:00Z')).toBe(false);
  });
});

describe('an absolute window', () => {
  const freeze = withWindows({
    name: 'end of the year',
    effect: 'deny',
    timeZone: 'America/New_York',
    start: '2026-12-18T18:00',
    end: '2027-01-04T08:00:00',
  });

  it.each([
    ['2026-12-18T22:59:59Z', true],
    ['2026-12-18T23:00:00Z', false],
    ['2027-01-04T12:59:59Z', false],
    ['2027-01-04T13:00:00Z', true],
  ])('at %s lets a package begin: %s', (time, open) => {
    expect(isOpenAt(freeze, time)).toBe(open);
  });

  it('says what forbids it and until when', () => {
    expect(stateAt(freeze, '2026-12-24T12:00:00Z')).toEqual({
      open: false,
      why: 'The maintenance window end of the year forbids it now.',
      window: 'end of the year',
      opensAt: '2027-01-04T13:00:00.000Z',
      opensAtLocal: '08:00 America/New_York',
    });
  });

  it('that allows and is over never opens again', () => {
    const once = withWindows({ ...berlin, start: '2026-01-01T00:00', end: '2026-01-02T00:00' });
    expect(opensAt(once, '2026-01-03T00:00:00Z')).toBeUndefined();
  });
});

describe('where windows overlap', () => {
  const nightly = { ...berlin, days: everyDay, from: '20:00', to: '06:00' };
  const christmas = {
    ...berlin,
    name: 'christmas',
    effect: 'deny',
    start: '2026-12-24T00:00',
    end: '2026-12-27T00:00',
  };

  it.each([
    ['the deny first', withWindows(christmas, nightly)],
    ['the allow first', withWindows(nightly, christmas)],
  ])('the deny wins, %s', (_, both) => {
    expect(isOpenAt(both, '2026-12-23T20:00:00Z')).toBe(true);
    expect(isOpenAt(both, '2026-12-24T20:00:00Z')).toBe(false);
    expect(opensAt(both, '2026-12-24T20:00:00Z')).toBe('2026-12-26T23:00:00.000Z');
  });

  it('is closed for good where a deny covers each allow', () => {
    const never = withWindows(nightly, { ...nightly, name: 'no', effect: 'deny', from: '00:00', to: '00:00' });
    expect(stateAt(never, '2026-01-01T00:00:00Z')).toEqual({ open: false, window: 'no', why: expect.any(String) });
  });

  it('one of several allows is enough', () => {
    const two = withWindows(nightly, { ...nightly, name: 'noon', timeZone: 'UTC', from: '12:00', to: '13:00' });
    expect(isOpenAt(two, '2026-01-01T12:30:00Z')).toBe(true);
    expect(opensAt(two, '2026-01-01T11:30:00Z')).toBe('2026-01-01T12:00:00.000Z');
  });
});

describe('a window for some playbooks', () => {
  const limited = withWindows({ ...berlin, days: everyDay, from: '02:00', to: '03:00', playbooks: ['settings'] });

  it('binds those', () => {
    expect(windowState(limited, buildWpk({ playbook: 'settings' }), new Date('2026-01-01T12:00:00Z')).open).toBe(false);
  });

  it('leaves others free', () => {
    expect(windowState(limited, buildWpk({ playbook: 'restart' }), new Date('2026-01-01T12:00:00Z')).open).toBe(true);
  });
});

describe('a window from 02:00 to 03:00', () => {
  const window = { ...berlin, days: everyDay, from: '02:00', to: '03:00' };

  it('does not occur on the day that lacks this hour', () => {
    // 29 March 2026, Berlin: 01:59:59 is followed by 03:00:00, at 01:00 UTC.
    expect(isOpenAt(withWindows(window), '2026-03-29T00:59:59Z')).toBe(false);
    expect(isOpenAt(withWindows(window), '2026-03-29T01:00:00Z')).toBe(false);
    expect(opensAt(withWindows(window), '2026-03-28T02:00:00Z')).toBe('2026-03-30T00:00:00.000Z');
  });

  it('occurs twice on the day that has this hour twice', () => {
    // 25 October 2026, Berlin: 02:59:59 is followed by 02:00:00, at 01:00 UTC.
    expect(isOpenAt(withWindows(window), '2026-10-24T23:59:59Z')).toBe(false);
    expect(isOpenAt(withWindows(window), '2026-10-25T00:00:00Z')).toBe(true);
    expect(isOpenAt(withWindows(window), '2026-10-25T01:59:59Z')).toBe(true);
    expect(isOpenAt(withWindows(window), '2026-10-25T02:00:00Z')).toBe(false);
  });

  it('forbids both of them where it denies', () => {
    const deny = withWindows({ ...window, effect: 'deny' });
    expect(isOpenAt(deny, '2026-10-25T00:30:00Z')).toBe(false);
    expect(isOpenAt(deny, '2026-10-25T01:30:00Z')).toBe(false);
    expect(opensAt(deny, '2026-10-25T00:30:00Z')).toBe('2026-10-25T02:00:00.000Z');
  });

  it('is whole in a zone that does not change its clock', () => {
    expect(isOpenAt(withWindows({ ...window, timeZone: 'Asia/Tokyo' }), '2026-03-28T17:30:00Z')).toBe(true);
  });
});

describe('a window that only partly falls into the missing hour', () => {
  it('opens when the clock is put forward into it', () => {
    const window = withWindows({ ...berlin, days: ['sun'], from: '02:30', to: '04:00' });
    expect(opensAt(window, '2026-03-29T00:00:00Z')).toBe('2026-03-29T01:00:00.000Z');
  });

  it('opens again when the clock is put back into it', () => {
    const window = withWindows({ ...berlin, days: ['sun'], from: '01:30', to: '02:30' });
    expect(isOpenAt(window, '2026-10-25T00:30:00Z')).toBe(false); // 02:30, for the first time
    expect(opensAt(window, '2026-10-25T00:30:00Z')).toBe('2026-10-25T01:00:00.000Z'); // 02:00 again
  });
});

describe('any set of windows, at any time', () => {
  const zone = fc.constantFrom('Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'UTC');
  const time = fc
    .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
    .map((parts) => parts.map((part) => String(part).padStart(2, '0')).join(':'));
  const base = { name: fc.uuid(), effect: fc.constantFrom('allow', 'deny'), timeZone: zone };
  const weekly = fc.record({
    ...base,
    days: fc.uniqueArray(fc.constantFrom(...everyDay), { minLength: 1 }),
    from: time,
    to: time,
  });
  const windows = fc.array(weekly, { minLength: 1, maxLength: 4 });
  // Around both changes of the clock in each of the zones, and elsewhere.
  const instant = fc
    .tuple(
      fc.constantFrom('2026-03-08', '2026-03-29', '2026-04-04', '2026-06-15', '2026-10-03', '2026-10-25', '2026-11-01'),
      fc.integer({ min: -2880, max: 2880 }),
    )
    .map(([day, minutes]) => new Date(Date.parse(day) + minutes * 60_000));

  /** Says the same in the words of the calendar, minute by minute. */
  function expectedOpen(given: readonly Record<string, unknown>[], at: Date): boolean {
    const inside = (window: Record<string, unknown>) => {
      const local = DateTime.fromJSDate(at, { zone: window['timeZone'] as string });
      const [now, from, to] = [local.toFormat('HH:mm'), window['from'] as string, window['to'] as string];
      const begins = (day: DateTime) => (window['days'] as string[]).includes(day.toFormat('ccc').toLowerCase());
      if (from < to) return begins(local) && now >= from && now < to;
      return (begins(local) && now >= from) || (begins(local.minus({ days: 1 })) && now < to);
    };
    const allowing = given.filter(({ effect }) => effect === 'allow');
    const isDenied = given.some((window) => window['effect'] === 'deny' && inside(window));
    return !isDenied && (allowing.length === 0 || allowing.some(inside));
  }

  it('are open exactly when the clock on the wall says so', () => {
    fc.assert(
      fc.property(windows, instant, (given, at) => {
        expect(windowState(withWindows(...given), buildWpk(), at).open).toBe(expectedOpen(given, at));
      }),
      { numRuns: 300 },
    );
  });

  it('open next when they say so, and not before', () => {
    fc.assert(
      fc.property(windows, instant, (given, at) => {
        const state = windowState(withWindows(...given), buildWpk(), at);
        if (state.open) return;
        const opens = state.opensAt === undefined ? Infinity : Date.parse(state.opensAt);
        if (opens !== Infinity) expect(expectedOpen(given, new Date(opens))).toBe(true);
        const until = Math.min(opens, at.getTime() + 2 * 86_400_000);
        for (let t = at.getTime(); t < until; t += 15 * 60_000) {
          expect(expectedOpen(given, new Date(t))).toBe(false);
        }
      }),
      { numRuns: 30 },
    );
  });
});
