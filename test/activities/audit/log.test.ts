import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { describe, expect, it } from '@jest/globals';

import { openAuditLog } from '../../../activities/audit/log.ts';
import type { AuditLog } from '../../../activities/audit/log.ts';
import { describeOnSmallDisk, SmallDisk } from '../../support/small-disk.ts';
import { CHAIN, eventOf, filesOf, optionsFor, startWriter, verifyFolder, withFolder } from './support.ts';

// R9, R18

/** A handful tells enough of a change; the full proof is BYOC_AUDIT_KILLS=200. */
const KILLS = Number(process.env['BYOC_AUDIT_KILLS'] ?? 12);

const NOW = '2026-01-31T23:59:59.000Z';
const DAY = '2026-01-31.jsonl';

async function entriesOf(dir: string, file = DAY) {
  const text = await readFile(join(dir, CHAIN, file), 'utf8');
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).entry);
}

/** Opens, works and closes. */
async function withLog<T>(dir: string, use: (log: AuditLog) => Promise<T>, ...times: string[]): Promise<T> {
  const log = await openAuditLog(optionsFor(dir, ...times));
  try {
    return await use(log);
  } finally {
    await log.close();
  }
}

const appendMany = (log: AuditLog, ids: readonly string[]) => Promise.all(ids.map((id) => log.append(eventOf(id))));
const failing = (code: string) => expect.objectContaining({ code });

describe('appending', () => {
  it('writes a chain that verifies and goes on after a restart', async () => {
    await withFolder(async (dir) => {
      const first = await withLog(dir, (log) => appendMany(log, ['a', 'b', 'c']), NOW);
      const second = await withLog(dir, (log) => log.append(eventOf('d')), NOW);
      expect([...first, second].map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
      expect(await verifyFolder(dir)).toMatchObject({ ok: true, chains: [{ entries: 4, head: second.hash }] });
    });
  });

  it('writes an event once, however often and whenever it is appended', async () => {
    await withFolder(async (dir) => {
      const receipts = await withLog(dir, (log) => appendMany(log, ['a', 'a', 'b']), NOW);
      const again = await withLog(dir, (log) => log.append(eventOf('a')), NOW);
      expect(receipts.map(({ seq }) => seq)).toEqual([1, 1, 2]);
      expect(again).toEqual(receipts[0]);
      expect(await entriesOf(dir)).toHaveLength(2);
    });
  });

  it('takes 64 writers at once, in groups, each acknowledged with its own place', async () => {
    await withFolder(async (dir) => {
      await withLog(dir, async (log) => {
        const ids = Array.from({ length: 64 }, (_, n) => `w${n}`);
        const rounds = [1, 2, 3, 4].map((round) =>
          appendMany(
            log,
            ids.map((id) => id + round),
          ),
        );
        const receipts = (await Promise.all(rounds)).flat();
        expect(new Set(receipts.map(({ seq }) => seq)).size).toBe(256);
        expect(log.head().seq).toBe(256);
      });
      expect(await verifyFolder(dir)).toMatchObject({ ok: true, chains: [{ entries: 256 }] });
    });
  });

  it('begins a file for each UTC day', async () => {
    await withFolder(async (dir) => {
      const times = [NOW, '2026-02-01T00:00:00.000Z'];
      await withLog(dir, (log) => appendMany(log, ['a', 'b']), ...times);
      expect(await filesOf(dir)).toEqual([DAY, '2026-02-01.jsonl']);
      expect(await verifyFolder(dir)).toMatchObject({ ok: true, chains: [{ entries: 2 }] });
    });
  });

  it('records a clock that goes back, even over midnight, and keeps the order', async () => {
    await withFolder(async (dir) => {
      const times = ['2026-02-01T00:00:01.000Z', NOW];
      await withLog(dir, (log) => appendMany(log, ['a', 'b']), ...times);
      expect(await filesOf(dir)).toEqual(['2026-02-01.jsonl']);
      const entries = await entriesOf(dir, '2026-02-01.jsonl');
      expect(entries.map(({ type }) => type)).toEqual(['call.refused', 'audit.clock-stepped-back', 'call.refused']);
      expect(entries[1].detail).toEqual({ from: times[0], to: NOW });
      expect(await verifyFolder(dir)).toMatchObject({ ok: true });
    });
  });

  it('refuses a malformed event alone', async () => {
    await withFolder((dir) =>
      withLog(dir, async (log) => {
        const huge = log.append(eventOf('huge', 'x'.repeat(1024 * 1024)));
        const fine = log.append(eventOf('fine'));
        await expect(huge).rejects.toEqual(failing('INTERNAL'));
        expect(await fine).toMatchObject({ seq: 1 });
      }),
    );
  });

  it('is over once the log is closed', async () => {
    await withFolder(async (dir) => {
      const log = await openAuditLog(optionsFor(dir));
      const last = log.append(eventOf('a'));
      await log.close();
      expect(await last).toMatchObject({ seq: 1 });
      await expect(log.append(eventOf('b'))).rejects.toEqual(failing('AUDIT_UNAVAILABLE'));
    });
  });
});

describe('a chain', () => {
  it('has one writer at a time', async () => {
    await withFolder((dir) =>
      withLog(dir, async () => {
        await expect(openAuditLog(optionsFor(dir))).rejects.toEqual(failing('AUDIT_UNAVAILABLE'));
        const other = startWriter(dir, { writers: 1, run: 'other' });
        await other.exited;
        expect(other.lines).toEqual(['error AUDIT_UNAVAILABLE']);
      }),
    );
  });

  it('cannot have a name that leads out of its folder', async () => {
    await withFolder(async (dir) => {
      for (const chain of ['', '..', '../x', 'a/b', '.hidden']) {
        await expect(openAuditLog({ ...optionsFor(dir), chain })).rejects.toEqual(failing('CONFIG_INVALID'));
      }
    });
  });
});

describe('after a crash', () => {
  const write = (dir: string, ids: readonly string[]) => withLog(dir, (log) => appendMany(log, ids), NOW);

  it.each([
    ['a piece of a line', '{"entry":{"actor":{"id":"al'],
    ['a whole line without its newline', '{"entry":{},"hash":"x"}'],
    ['a block that never got its bytes', '\0'.repeat(5000)],
    ['such a block before the end of a group', `${'\0'.repeat(50)}"}\n`],
  ])('%s at the end is set aside and recorded', async (_, torn) => {
    await withFolder(async (dir) => {
      await write(dir, ['a', 'b']);
      await appendFile(join(dir, CHAIN, DAY), torn);
      await write(dir, ['c']);
      const [, aside = ''] = await filesOf(dir);
      expect(aside).toMatch(/^2026-01-31\.torn-\d+$/);
      expect(await readFile(join(dir, CHAIN, aside), 'utf8')).toBe(torn);
      const entries = await entriesOf(dir);
      expect(entries.map(({ eventId }) => eventId)).toEqual(['a', 'b', `${CHAIN}/tail-repaired/3`, 'c']);
      expect(entries[2].detail).toMatchObject({ aside, bytes: torn.length });
      expect(await verifyFolder(dir)).toMatchObject({ ok: true });
    });
  });

  it('the very first entry may be the torn one', async () => {
    await withFolder(async (dir) => {
      await mkdir(join(dir, CHAIN));
      await writeFile(join(dir, CHAIN, DAY), '{"entry"');
      await write(dir, ['a']);
      expect(await verifyFolder(dir)).toMatchObject({ ok: true, chains: [{ entries: 2 }] });
    });
  });

  it('an acknowledged entry that was changed is never taken for a torn one', async () => {
    await withFolder(async (dir) => {
      await write(dir, ['a', 'b', 'c']);
      const path = join(dir, CHAIN, DAY);
      const text = await readFile(path, 'utf8');
      const changes = [
        ['"eventId":"c"', '"eventId":"x"'],
        ['{"entry":', '{"Entry":'],
      ] as const;
      const last = text.split('\n').at(-2) ?? '';
      for (const changed of changes.map(([from, to]) => text.replace(last, last.replace(from, to)))) {
        expect(changed).not.toBe(text);
        await writeFile(path, changed);
        await expect(openAuditLog(optionsFor(dir))).rejects.toEqual(failing('AUDIT_BROKEN'));
        expect(await readFile(path, 'utf8')).toBe(changed);
      }
    });
  });

  it(`no acknowledged entry is lost, whenever 64 writers are killed (${KILLS} times)`, async () => {
    await withFolder(async (dir) => {
      const acknowledged = [];
      for (let round = 0; round < KILLS; round += 1) {
        const writer = startWriter(dir, { writers: 64, run: `run${round}` });
        // After some progress rather than some time, so that a busy machine shows as much as an idle one.
        while (writer.lines.length <= 1 + (round % 12) * 20) await sleep(1);
        await sleep(Math.random() * 10);
        writer.child.kill('SIGKILL');
        await writer.exited;
        expect(writer.lines[0]).toBe('ready');
        acknowledged.push(...writer.lines.slice(1));
      }
      await withLog(dir, async () => undefined);
      expect(await verifyFolder(dir)).toMatchObject({ ok: true });
      const days = (await filesOf(dir)).filter((name) => name.endsWith('.jsonl'));
      const ids = (await Promise.all(days.map((day) => entriesOf(dir, day)))).flat().map(({ eventId }) => eventId);
      const written = new Set(ids);
      expect(acknowledged.length).toBeGreaterThan(500);
      expect(acknowledged.filter((id) => !written.has(id))).toEqual([]);
      expect(ids).toHaveLength(written.size);
    });
  }, 1_800_000);
});

describe('when the disk does not take it', () => {
  it('a write that ends midway, as on a full disk, is refused, and later the chain goes on without a gap', async () => {
    await withFolder(async (dir) => {
      // A limit on the size of files makes the kernel end a write midway, as a full disk does.
      const prefix = ['sh', '-c', 'ulimit -f 40; exec "$@"', 'sh'];
      const limited = startWriter(dir, { writers: 8, run: 'limited', prefix });
      await limited.exited;
      expect(limited.lines.at(-1)).toBe('error AUDIT_UNAVAILABLE');
      await withLog(dir, (log) => log.append(eventOf('room again')));
      const [day = ''] = await filesOf(dir);
      const written = new Set((await entriesOf(dir, day)).map(({ eventId }) => eventId));
      expect(limited.lines.slice(1, -1).filter((id) => !written.has(id))).toEqual([]);
      expect(limited.lines.length).toBeGreaterThan(10);
      expect(await verifyFolder(dir)).toMatchObject({ ok: true });
    });
  });

  it('a day whose file cannot be made refuses each append until it can', async () => {
    await withFolder(async (dir) => {
      await withLog(
        dir,
        async (log) => {
          await log.append(eventOf('a'));
          await symlink('/dev/full', join(dir, CHAIN, '2026-02-01.jsonl'));
          await expect(log.append(eventOf('b'))).rejects.toEqual(failing('AUDIT_UNAVAILABLE'));
          await expect(log.append(eventOf('c'))).rejects.toEqual(failing('AUDIT_UNAVAILABLE'));
          expect(log.head().seq).toBe(1);
          await rm(join(dir, CHAIN, '2026-02-01.jsonl'));
          expect(await log.append(eventOf('b'))).toMatchObject({ seq: 2 });
        },
        ...[NOW, '2026-02-01T00:00:00.000Z'],
      );
      expect(await verifyFolder(dir)).toMatchObject({ ok: true, chains: [{ entries: 2 }] });
    });
  });

  it('a folder that cannot be made refuses to open', async () => {
    await withFolder(async (dir) => {
      const file = join(dir, 'file');
      await writeFile(file, '');
      // Not even root can make a folder inside a file.
      await expect(openAuditLog(optionsFor(join(file, 'audit'), NOW))).rejects.toEqual(failing('AUDIT_UNAVAILABLE'));
    });
  });

  it('a file that is deleted while it is open is put back whole, and that is recorded', async () => {
    await withFolder(async (dir) => {
      await withLog(
        dir,
        async (log) => {
          await appendMany(log, ['a', 'b']);
          await rm(join(dir, CHAIN, DAY));
          await appendMany(
            log,
            Array.from({ length: 100 }, (_, n) => `c${n}`),
          );
          await log.append(eventOf('d'));
        },
        NOW,
      );
      const ids = (await entriesOf(dir)).map(({ eventId }) => eventId);
      expect(ids).toHaveLength(104);
      expect(ids.slice(0, 2)).toEqual(['a', 'b']);
      expect((await entriesOf(dir)).filter(({ type }) => type === 'audit.file-restored')).toHaveLength(1);
      expect(await verifyFolder(dir)).toMatchObject({ ok: true });
    });
  });

  it.each([
    ['deleted and replaced', (path: string) => rm(path).then(() => writeFile(path, 'x'))],
    ['cut', (path: string) => truncate(path, 10)],
    ['written by somebody else', (path: string) => appendFile(path, 'x')],
  ])('a file that is %s while it is open ends the log', async (_, harm) => {
    await withFolder(async (dir) => {
      const log = await openAuditLog(optionsFor(dir, NOW));
      await log.append(eventOf('a'));
      await harm(join(dir, CHAIN, DAY));
      await expect(log.append(eventOf('b'))).rejects.toEqual(failing('AUDIT_BROKEN'));
      await expect(log.append(eventOf('c'))).rejects.toEqual(failing('AUDIT_BROKEN'));
      await log.close();
    });
  });
});

describeOnSmallDisk('a disk that is full', () => {
  it('refuses what does not fit and keeps what it acknowledged; with room again the chain goes on', async () => {
    const disk = new SmallDisk(256);
    try {
      const acknowledged: string[] = [];
      const log = await openAuditLog(optionsFor(disk.path, NOW));
      const until = async (round: string) => {
        for (let n = 0; ; n += 1) {
          const ids = Array.from({ length: 8 }, (_, writer) => `${round}/${n}/${writer}`);
          const settled = await Promise.allSettled(ids.map((id) => log.append(eventOf(id, 'x'.repeat(300)))));
          acknowledged.push(...ids.filter((_, index) => settled[index]?.status === 'fulfilled'));
          const refused = settled.find((one) => one.status === 'rejected');
          if (refused) return refused.reason;
        }
      };
      expect(await until('first')).toEqual(failing('AUDIT_UNAVAILABLE'));
      await expect(log.append(eventOf('still full', 'x'.repeat(5000)))).rejects.toEqual(failing('AUDIT_UNAVAILABLE'));
      execFileSync('mount', ['-o', 'remount,size=512k', disk.path]);
      await log.append(eventOf('room again'));
      expect(await until('second')).toEqual(failing('AUDIT_UNAVAILABLE'));
      await log.close();
      execFileSync('mount', ['-o', 'remount,size=1024k', disk.path]);
      await withLog(disk.path, (again) => again.append(eventOf('last')), NOW);
      const written = new Set((await entriesOf(disk.path)).map(({ eventId }) => eventId));
      expect(acknowledged.length).toBeGreaterThan(200);
      expect(acknowledged.filter((id) => !written.has(id))).toEqual([]);
      expect(await verifyFolder(disk.path)).toMatchObject({ ok: true });
    } finally {
      disk.unmount();
    }
  });
});

describeOnSmallDisk('a disk that may only be read', () => {
  it('refuses to open, and goes on where it was once it can be written again', async () => {
    const disk = new SmallDisk(1024);
    try {
      const times = [NOW, '2026-02-01T00:00:00.000Z'];
      await withLog(disk.path, (log) => log.append(eventOf('a')), NOW);
      disk.makeReadOnly();
      await expect(openAuditLog(optionsFor(disk.path, NOW))).rejects.toEqual(failing('AUDIT_UNAVAILABLE'));
      disk.makeWritable();
      await withLog(disk.path, (log) => appendMany(log, ['b', 'c']), ...times);
      expect(await verifyFolder(disk.path)).toMatchObject({ ok: true, chains: [{ entries: 3 }] });
    } finally {
      disk.unmount();
    }
  });
});
