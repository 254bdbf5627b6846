import { describe, expect, it } from '@jest/globals';
import type { UnreadableLine } from '../../client/audit-read.ts';
import { readAudit } from '../../client/audit-read.ts';
import { auditReport } from '../../client/audit-report.ts';
import type { AuditReport } from '../../client/audit-verify.ts';
import { toJsonText } from '../../client/cli/output.ts';
import type { AuditEntry } from '../../domain/audit.ts';
import { GENESIS } from '../../domain/audit.ts';
import { UploadOutage } from '../../worker/audit-outage.ts';
import { chainOf, fileOf, textOf } from '../support/audit-chains.ts';

// R20, R21

async function read(...logs: (readonly string[])[]): Promise<{ ids: string[]; unreadable: UnreadableLine[] }> {
  const unreadable: UnreadableLine[] = [];
  const ids = [];
  const files = logs.map((lines, n) => fileOf(`${n}.jsonl`, textOf(lines)));
  for await (const { entry } of readAudit(files, {}, (line) => unreadable.push(line))) ids.push(entry.eventId);
  return { ids, unreadable };
}

describe('reading a log', () => {
  it('tells an event of two pods once', async () => {
    const eventIdOf = (n: number) => `e${n}`;
    const { ids } = await read(chainOf(2, { eventIdOf }), chainOf(3, { chain: 'b.w', eventIdOf }));
    expect(ids).toEqual(['e1', 'e2', 'e3']);
  });

  it('shows an entry to which somebody gave the id of another one, and that other one too', async () => {
    const eventIdOf = (n: number) => `e${n}`;
    const { ids } = await read(
      chainOf(1, { eventIdOf, typeOf: () => 'worker.stopped', timeOf: () => '2020-01-01T00:00:00.000Z' }),
      chainOf(1, { chain: 'b.w', eventIdOf }),
    );
    expect(ids).toEqual(['e1', 'e1']);
  });

  it('leaves out what does not verify, and says where that stands', async () => {
    const lines = chainOf(3);
    const { ids, unreadable } = await read(lines.with(1, (lines[1] ?? '').replace('looks good', 'looks fine')));
    expect(ids).toHaveLength(2);
    expect(unreadable).toEqual([{ file: '0.jsonl', line: 2 }]);
  });
});

describe('what is printed as JSON', () => {
  it('gives a terminal nothing to obey, and means the same', () => {
    const data = { text: 'a\u009b31mb\u202ec\u2028d', '\u0085': ['\n'] };
    for (const text of [toJsonText(data), toJsonText(data, 2)]) {
      expect(text).not.toMatch(/[\u007f-\u009f\u2028\u202e]/);
      expect(JSON.parse(text)).toEqual(data);
    }
  });
});

describe('the report of a period', () => {
  const entryOf = (type: AuditEntry['type'], detail: AuditEntry['detail'], wpk?: string): AuditEntry => ({
    ...{ v: 1, chain: 'c.w', seq: 1, prev: GENESIS, time: '2026-01-01T00:00:00.000Z', eventId: type, type, detail },
    ...{ actor: { id: 'oncall@example.com', proof: 'verified' }, outcome: 'succeeded', ...(wpk ? { wpk } : {}) },
  });
  const verified: AuditReport = {
    ...{ ok: true, chains: [], repeated: 0, heads: 0, manifests: 0, problems: [], problemCount: 0 },
  };
  const reportOf = (...list: AuditEntry[]) =>
    auditReport({
      ...{ verified, since: undefined, until: undefined, madeAt: 'now', sources: ['a'] },

      entries: (async function* () {
        yield* list;
      })(),
    });

  it('still says that a package was executed when it was refused later because it came again', async () => {
    const error = { code: 'WPK_ALREADY_USED', message: 'no' };
    const page = await reportOf(
      entryOf('package.succeeded', { approvers: [] }, '01JD'),
      entryOf('package.denied', { approvers: [], error }, '01JD'),
    );
    expect(page).toMatch(/\| 01JD \|.*succeeded, then denied: WPK\\_ALREADY\\_USED/);
  });

  it('has each freeze of the cluster among the stops, with who and why', async () => {
    const detail = { cluster: 'prod', how: 'byoc', change: 'set', resourceVersion: '1', reason: 'incident 7' };
    const page = await reportOf(entryOf('freeze.set', detail));
    expect(page).toMatch(/## Stops[^#]*\| freeze\.set \| {2}\| oncall@example\.com \| verified \| incident 7 \|/);
  });

  it('has what was undone of a package', async () => {
    const page = await reportOf(entryOf('rollback.finished', { complete: true, objects: [] }, '01JD'));
    expect(page).toMatch(/\| 01JD \|.*rolled back/);
    const stopped = entryOf('package.stopped', { approvers: [] }, '01JD');
    const part = entryOf('rollback.finished', { complete: false, objects: [] }, '01JD');
    expect(await reportOf(stopped, part)).toMatch(/stopped, then rolled back in part/);
  });

  it('has no marks before what would be markup where a person reads it as it stands', async () => {
    const error = { code: 'WPK_EXPIRED', message: 'no' };
    const entries = [entryOf('package.denied', { approvers: [], error }, 'a|b')];
    const page = await auditReport({
      ...{ verified, since: undefined, until: undefined, madeAt: 'now', sources: ['a'], isPlain: true },
      entries: (async function* () {
        yield* entries;
      })(),
    });
    expect(page).toMatch(/\| a\\\|b \|.*denied: WPK_EXPIRED/);
  });
});

describe('a bucket that does not take the log', () => {
  it('is told once, when it has lasted as long as was allowed, and again after it was back', () => {
    const outage = new UploadOutage(60_000);
    const late = () => outage.failed(new Error('x'), 3, 60_000);
    expect(outage.failed(new Error('x'), 3, 0)).toBeUndefined();
    expect(outage.failed(new Error('x'), 3, 59_999)).toBeUndefined();
    expect(late()).toEqual({ since: '1970-01-01T00:00:00.000Z', code: 'INTERNAL', waiting: 3 });
    expect(late()).toBeUndefined();
    outage.over();
    expect(outage.failed(new Error('x'), 3, 90_000)).toBeUndefined();
    expect(outage.failed(new Error('x'), 3, 150_000)).toBeDefined();
  });
});
