import { mkdir, readdir, readFile, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { readTail, writeRemoved } from '../../../activities/audit/chain-folder.ts';
import { openContinuedLog } from '../../../activities/audit/continued-log.ts';
import { openAuditLog } from '../../../activities/audit/log.ts';
import type { AuditHead } from '../../../domain/audit.ts';
import { chainOf, textOf } from '../../support/audit-chains.ts';
import { CHAIN, eventOf, filesOf, optionsFor, sha256, verifyFolder, withFolder } from './support.ts';

// R18, R36

const nowhere = () => Promise.resolve([]);
const dayOf = (n: number) => `2026-01-0${n}`;

/** Writes a chain of one entry a day, and returns the heads after each. */
async function writeDays(dir: string, days: number, chain = CHAIN): Promise<AuditHead[]> {
  const heads = [];
  for (let n = 1; n <= days; n += 1) {
    const log = await openAuditLog({ ...optionsFor(dir, `${dayOf(n)}T12:00:00.000Z`), chain });
    await log.append(eventOf(`${chain}/${n}`));
    heads.push(log.head());
    await log.close();
  }
  return heads;
}

/** Opens the log and says which chain it goes on with, and what it lost. */
async function reopened(dir: string, published?: AuditHead, elsewhere: () => Promise<AuditHead[]> = nowhere) {
  const { log, lost } = await openContinuedLog(optionsFor(dir, '2026-02-01T12:00:00.000Z'), published, elsewhere);
  await log.append(eventOf('next'));
  await log.close();
  return { ...log.head(), lost };
}

const fileOfDay = (dir: string, n: number) => join(dir, CHAIN, `${dayOf(n)}.jsonl`);

describe('a log that has what was published of it', () => {
  it('goes on, however long ago that was', () =>
    withFolder(async (dir) => {
      const [first, ...heads] = await writeDays(dir, 6);
      expect(await reopened(dir, first)).toMatchObject({ chain: CHAIN, seq: 7, lost: undefined });
      expect(await reopened(dir, heads.at(-1))).toMatchObject({ chain: CHAIN, seq: 7, lost: undefined });
    }));

  it('goes on where what was published was removed since, and what is left follows it', () =>
    withFolder(async (dir) => {
      const [first, second] = await writeDays(dir, 6);
      await writeRemoved(join(dir, CHAIN), first as AuditHead);
      await unlink(fileOfDay(dir, 1));
      expect(await reopened(dir, first)).toMatchObject({ chain: CHAIN, lost: undefined });
      const forged = { ...(first as AuditHead), hash: (second as AuditHead).hash };
      expect(await reopened(dir, forged)).toMatchObject({ chain: `${CHAIN}_2`, lost: { after: { seq: 1 } } });
    }));
});

describe('a log that was cut within the last entry that was published', () => {
  it('is left as it is, not even repaired, and another chain begins', () =>
    withFolder(async (dir) => {
      const heads = await writeDays(dir, 3);
      const file = fileOfDay(dir, 3);
      const bytes = await readFile(file);
      await truncate(file, bytes.length - 10);
      const { chain, seq, lost } = await reopened(dir, heads[2]);
      expect([chain, seq, lost?.after.seq, lost?.found]).toEqual([`${CHAIN}_2`, 1, 3, heads[1]]);
      expect(await readFile(file)).toEqual(bytes.subarray(0, -10));
      expect((await filesOf(dir)).filter((name) => name.includes('torn'))).toEqual([]);
    }));
});

describe('a log that was written anew with correct hashes', () => {
  it('is not continued, however far back the entry is that was published', () =>
    withFolder(async (dir) => {
      const [first] = await writeDays(dir, 6);
      const anew = chainOf(6, { detail: { comment: 'x' }, timeOf: (n) => `${dayOf(n)}T12:00:00.000Z` });
      for (const [index, line] of anew.entries()) await writeFile(fileOfDay(dir, index + 1), textOf([line]));
      expect(await verifyFolder(dir)).toMatchObject({ ok: true });
      expect(await reopened(dir, first)).toMatchObject({ chain: `${CHAIN}_2`, lost: { after: first } });
    }));
});

describe('a Lease that tells nothing of this writer', () => {
  it('with the head of another one does not lead into its chain', () =>
    withFolder(async (dir) => {
      await writeDays(dir, 2);
      const [other] = await writeDays(dir, 1, 'prod-eu-1.w2');
      expect(await reopened(dir, other)).toMatchObject({ chain: CHAIN, seq: 3, lost: undefined });
      expect((await readdir(dir)).sort()).toEqual([CHAIN, 'prod-eu-1.w2']);
    }));

  it('or an old head put back, does not lead back into a chain that was left', () =>
    withFolder(async (dir) => {
      const [old] = await writeDays(dir, 1);
      await writeDays(dir, 1, `${CHAIN}_2`);
      expect(await reopened(dir)).toMatchObject({ chain: `${CHAIN}_2`, seq: 2 });
      expect(await reopened(dir, old)).toMatchObject({ chain: `${CHAIN}_2`, seq: 2 });
    }));

  it('has others asked, so that what they have is not begun once more', () =>
    withFolder(async (dir) => {
      const [head] = await withFolder((elsewhere) => writeDays(elsewhere, 1));
      const begun = { ...(head as AuditHead), chain: `${CHAIN}_2` };
      const both = () => Promise.resolve([head as AuditHead, begun]);
      expect(await reopened(dir, undefined, () => Promise.resolve([head as AuditHead]))).toMatchObject({
        chain: `${CHAIN}_2`,
        lost: { after: head, found: { seq: 0 } },
      });
      await withFolder(async (empty) => {
        expect(await reopened(empty, head, both)).toMatchObject({ chain: `${CHAIN}_3`, lost: { after: begun } });
      });
    }));

  it('leaves a first log to begin', () =>
    withFolder(async (dir) => {
      expect(await reopened(dir)).toMatchObject({ chain: CHAIN, seq: 1, lost: undefined });
    }));
});

describe('the end of a log', () => {
  it('is read with a bound on what is remembered of it', () =>
    withFolder(async (dir) => {
      await mkdir(join(dir, CHAIN));
      await writeFile(fileOfDay(dir, 1), textOf(chainOf(50)));
      const tail = await readTail(join(dir, CHAIN), CHAIN, { days: 3, events: 10 }, sha256);
      expect([tail.seq, [...tail.events.values()].map(({ seq }) => seq)]).toEqual([
        50,
        [41, 42, 43, 44, 45, 46, 47, 48, 49, 50],
      ]);
    }));
});
