import { describe, expect, it } from '@jest/globals';
import type { ExecutorLease } from '../../domain/freeze.ts';
import { hasAcknowledged, LeaseObserver, readFreeze } from '../../domain/freeze.ts';
import { acknowledgements } from '../../client/acknowledgements.ts';

const lease = (fields: Partial<ExecutorLease> = {}): ExecutorLease => ({
  name: 'executor-1',
  holder: 'worker-0',
  durationSeconds: 6,
  freezeSeen: '100',
  mayWrite: false,
  writesInFlight: 0,
  renewed: '2026-01-31T12:00:00.000000Z',
  ...fields,
});

describe('the freeze', () => {
  it.each([
    ['false', false],
    ['true', true],
    ['False', true],
    ['', true],
    [' false', true],
    ['no', true],
  ])('that says "%s" is frozen: %s', (frozen, isFrozen) => {
    expect(readFreeze({ frozen })).toMatchObject({ isFrozen });
  });

  it.each([[{}], [{ frozen: false }], [{ frozen: null }]])('that says %j is frozen', (data) => {
    expect(readFreeze(data)).toMatchObject({ isFrozen: true });
  });
});

describe('an executor', () => {
  it.each<[string, Partial<ExecutorLease>, boolean]>([
    ['that has seen it and has nothing under way', {}, true],
    ['that has seen a later version of it', { freezeSeen: '101' }, true],
    ['that has seen an earlier version', { freezeSeen: '99' }, false],
    ['whose version has fewer digits', { freezeSeen: '9' }, false],
    ['that may write', { mayWrite: true }, false],
    ['that has a write under way', { writesInFlight: 1 }, false],
  ])('%s has acknowledged: %#', (_, fields, expected) => {
    expect(hasAcknowledged(lease(fields), '100')).toBe(expected);
  });

  it('is gone when its Lease does not change for as long as it is valid, whatever time it says', () => {
    const observer = new LeaseObserver();
    const silent = lease({ renewed: '2001-01-01T00:00:00.000000Z' });
    const isGone = (one: ExecutorLease, nowMs: number) => observer.expiredAmong([one], nowMs).has(one.name);
    expect(isGone(silent, 0)).toBe(false);
    expect(isGone(silent, 6_000)).toBe(false);
    expect(isGone({ ...silent, renewed: 'later' }, 6_400)).toBe(false);
    expect(isGone({ ...silent, renewed: 'later' }, 12_000)).toBe(false);
    expect(isGone({ ...silent, renewed: 'later' }, 13_000)).toBe(true);
  });
});

describe('whoever stops the cluster', () => {
  const asked = (
    answers: readonly (readonly ExecutorLease[])[],
    { withinMs = 1_000, before = [] }: { withinMs?: number; before?: readonly ExecutorLease[] } = {},
  ) => {
    let call = 0;
    const list = () => Promise.resolve(answers[Math.min(call++, answers.length - 1)] ?? []);
    return acknowledgements({ list, before, frozenAt: '100', withinMs });
  };

  it('waits for nobody where nobody is at work', async () => {
    expect(await asked([[]])).toEqual([]);
  });

  it('counts who was at work and is gone by the time of the first look', async () => {
    const gone = [{ holder: 'worker-0', fate: 'acknowledged', writesInFlight: 0 }];
    expect(await asked([[]], { before: [lease()] })).toEqual(gone);
  });

  it('waits for each executor', async () => {
    const late = lease({ name: 'executor-2', holder: 'worker-1', mayWrite: true });
    expect(await asked([[lease(), late], [lease(), late], [{ ...late, mayWrite: false }]])).toEqual([
      { holder: 'worker-0', fate: 'acknowledged', writesInFlight: 0 },
      { holder: 'worker-1', fate: 'acknowledged', writesInFlight: 0 },
    ]);
  });

  it('takes one that gives its Lease up for one that has nothing to do', async () => {
    expect(await asked([[lease({ mayWrite: true })], []])).toMatchObject([{ fate: 'acknowledged' }]);
  });

  it('names the one that does not answer, and what it has under way', async () => {
    expect(await asked([[lease({ writesInFlight: 3 })]], { withinMs: 100 })).toEqual([
      { holder: 'worker-0', fate: 'silent', writesInFlight: 3 },
    ]);
  });
});
