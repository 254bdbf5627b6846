import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createIdentity } from '../../activities/vault/identity.ts';
import {
  nearsMaximum,
  refusalDelayMs,
  RENEWED_WITHIN_MS,
  renewalDelayMs,
  renewalRetryDelayMs,
} from '../../domain/lease.ts';

// R11

const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const ttl = fc.oneof(fc.integer({ min: 1, max: 40 * RENEWED_WITHIN_MS }), fc.constant(Infinity));

describe('what is granted for a time', () => {
  it('is renewed between half and two thirds of it, and at the latest after a day', () => {
    fc.assert(
      fc.property(ttl, random, (ttlMs, r) => {
        const delay = renewalDelayMs(ttlMs, () => r);
        expect(delay).toBeLessThanOrEqual(RENEWED_WITHIN_MS);
        expect(delay).toBeLessThanOrEqual((ttlMs * 2) / 3 + 1);
        expect(delay).toBeGreaterThanOrEqual(Math.min(ttlMs, RENEWED_WITHIN_MS) / 2);
      }),
    );
  });

  it('is tried again several times before it ends, but not more often than every 150 ms', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1_000, max: RENEWED_WITHIN_MS }), random, (remainingMs, r) => {
        const delay = renewalRetryDelayMs(remainingMs, () => r);
        expect(delay).toBeLessThanOrEqual(remainingMs / 4);
        expect(delay).toBeLessThanOrEqual(30_000);
        expect(delay).toBeGreaterThanOrEqual(150);
      }),
    );
  });

  it('is replaced when a renewal gives less than the login did', () => {
    expect(nearsMaximum({ firstTtlMs: 3_600_000, ttlMs: 3_600_000 })).toBe(false);
    expect(nearsMaximum({ firstTtlMs: 3_600_000, ttlMs: 3_000_000 })).toBe(true);
    expect(nearsMaximum({ firstTtlMs: Infinity, ttlMs: Infinity })).toBe(false);
  });
});

describe('a login that was refused', () => {
  it('is tried again after longer and longer, up to two minutes', () => {
    expect([1, 2, 3, 4, 50].map((refusals) => refusalDelayMs(refusals, () => 0))).toEqual([
      10_000, 30_000, 90_000, 120_000, 120_000,
    ]);
    expect(refusalDelayMs(1, () => 0.999)).toBeGreaterThan(7_500);
  });
});

/** Vault itself is in the tests of activities; here is what only a clock can show. */
describe('an identity', () => {
  function identityAt(clock: { now: number; fails?: boolean }) {
    let issued = 0;
    const identity = createIdentity({
      issue: async () => {
        issued += 1;
        if (clock.fails) throw new Error('away');
        return { token: `token-${issued}`, ttlMs: 100_000 };
      },
      now: () => clock.now,
      random: () => 0,
    });
    return { identity, count: () => issued };
  }

  it('gives the token at hand while the next one is fetched, from half of its life on', async () => {
    const clock = { now: 0 };
    const { identity, count } = identityAt(clock);
    expect(await identity.token()).toBe('token-1');
    clock.now = 49_999;
    expect(await identity.token()).toBe('token-1');
    expect(count()).toBe(1);
    clock.now = 50_000;
    expect(await identity.token()).toBe('token-1');
    expect(count()).toBe(2);
    await Promise.resolve();
    expect(await identity.token()).toBe('token-2');
  });

  it('gives it as long as it is good where Vault is away, asks now and then, and never gives one that is over', async () => {
    const clock = { now: 0, fails: false };
    const { identity, count } = identityAt(clock);
    await identity.token();
    clock.fails = true;
    for (clock.now = 50_000; clock.now < 90_000; clock.now += 100) expect(await identity.token()).toBe('token-1');
    expect(count()).toBeLessThan(40);
    clock.now = 90_000;
    await expect(identity.token()).rejects.toThrow('away');
  });
});
