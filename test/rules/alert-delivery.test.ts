import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { pino } from 'pino';
import type { AuditEvent } from '../../domain/audit.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { openAlerts } from '../../worker/alerts.ts';
import { until } from '../support/until.ts';

// R24

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-alerts-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Those that are set and have not ended; what waits in `until` is none of them. */
const timers = new Set<NodeJS.Timeout>();
const { setTimeout: realSet, clearTimeout: realClear } = globalThis;
beforeEach(() => {
  timers.clear();
  const set = (work: () => void, ms?: number) => {
    const timer = realSet(() => {
      timers.delete(timer);
      work();
    }, ms);
    timers.add(timer);
    return timer;
  };
  jest.spyOn(globalThis, 'setTimeout').mockImplementation(set as typeof setTimeout);
  jest.spyOn(globalThis, 'clearTimeout').mockImplementation((timer) => {
    timers.delete(timer as NodeJS.Timeout);
    realClear(timer);
  });
});
afterEach(() => {
  for (const timer of timers) realClear(timer);
  jest.restoreAllMocks();
});

/** Alerts for a control plane that is away, and says so when it is told to. */
async function setUp(writer = 'worker-0') {
  let told = 0;
  const controlPlane = { isAway: true, asked: 0, taken: [] as string[], answers: [] as (() => void)[] };
  const alerts = await openAlerts({
    clusterId: 'prod-eu-1',
    writer,
    folder,
    count: () => undefined,
    onCounts: () => void (told += 1),
    logger: pino({ level: 'silent' }),
  });
  alerts.deliverThrough({
    async signal(signal) {
      controlPlane.asked += 1;
      if (controlPlane.isAway) {
        await new Promise<void>((resolve) => controlPlane.answers.push(resolve));
        throw new ConnectorError('CONTROL_PLANE_UNAVAILABLE');
      }
      if (signal.kind === 'alert') controlPlane.taken.push(signal.alert.id);
      return {};
    },
  });
  const raise = async (count: number) => {
    const [before, toldBefore] = [alerts.counts.waiting, told];
    for (let n = 0; n < count; n += 1) alerts.raise('part-unhealthy', `${before + n}`);
    await until('them to be on the disk', () => told >= toldBefore + count);
    await until('the first to be sent', () => controlPlane.asked > 0);
  };
  const answerAll = async () => {
    for (const answer of controlPlane.answers.splice(0)) answer();
    await new Promise(setImmediate);
  };
  return { alerts, controlPlane, raise, answerAll };
}

describe('alerts, while the control plane is away,', () => {
  it('wait for one next attempt together, however many there are', async () => {
    const { alerts, controlPlane, raise, answerAll } = await setUp();
    await raise(50);
    expect(controlPlane.asked).toBe(1);
    await answerAll();
    expect([alerts.counts.waiting, timers.size]).toEqual([50, 1]);
  });

  it('ask it no more often for being more, and all come in order when it is back', async () => {
    const { alerts, controlPlane, raise, answerAll } = await setUp();
    await raise(1);
    await answerAll();
    await raise(20);
    expect(controlPlane.asked).toBe(1);
    controlPlane.isAway = false;
    alerts.deliverSoon();
    await until('all to be delivered', () => alerts.counts.waiting === 0);
    expect(controlPlane.asked).toBe(22);
    expect(new Set(controlPlane.taken).size).toBe(21);
    expect(await readdir(folder)).toEqual([]);
    await alerts.close();
  });
});

describe('a revoked key', () => {
  const revoked = (name: string): AuditEvent => ({
    eventId: `key.revoked/${randomUUID()}`,
    type: 'key.revoked',
    actor: { id: 'any', proof: 'system' },
    outcome: 'succeeded',
    detail: { use: 'packages', name, fingerprint: 'AAAA', revokedAt: '2026-01-01T00:00:00.000Z' },
  });

  it('is one alert, whichever worker records it and however often', async () => {
    const ids = async (writer: string) => {
      const { alerts, controlPlane } = await setUp(writer);
      controlPlane.isAway = false;
      for (const name of ['old', 'other', 'old']) alerts.onRecorded(revoked(name));
      await until('both to be delivered', () => controlPlane.taken.length === 2);
      await alerts.close();
      return controlPlane.taken;
    };
    const [first, second] = [await ids('worker-0'), await ids('worker-1')];
    expect(new Set(first).size).toBe(2);
    expect(second).toEqual(first);
  });
});
