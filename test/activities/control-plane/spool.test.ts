import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Spool } from '../../../activities/control-plane/spool.ts';

// R24: alerts wait for a control plane that is away

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-spool-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const parse = (value: unknown) => (typeof value === 'string' ? value : undefined);
const open = (maxItems = 10) => Spool.open({ folder, maxItems, parse });

async function delivered(spool: Spool<string>): Promise<string[]> {
  const seen: string[] = [];
  await spool.deliver(async (value) => {
    seen.push(value);
    return 'delivered';
  });
  return seen;
}

describe('what waits', () => {
  it('is delivered in order, also by the next process, and then gone', async () => {
    const spool = await open();
    for (const value of ['a', 'b', 'c']) await spool.add(value, value);
    const next = await open();
    expect(next.counts).toEqual({ waiting: 3, dropped: 0 });
    expect(await delivered(next)).toEqual(['a', 'b', 'c']);
    expect([await readdir(folder), await delivered(next)]).toEqual([[], []]);
  });

  it('stays where its delivery fails, with all that comes after it', async () => {
    const spool = await open();
    for (const value of ['a', 'b', 'c']) await spool.add(value, value);
    const failing = spool.deliver(async (value) => {
      if (value === 'b') throw new Error('away');
      return 'delivered';
    });
    await expect(failing).rejects.toThrow('away');
    expect(await delivered(spool)).toEqual(['b', 'c']);
  });

  it('is dropped and counted where it will never be taken', async () => {
    const spool = await open();
    await spool.add('a', 'a');
    await spool.deliver(() => Promise.resolve('drop'));
    expect(spool.counts).toEqual({ waiting: 0, dropped: 1 });
  });

  it('makes room for what is newer, and what went is counted', async () => {
    const spool = await open(2);
    for (const value of ['a', 'b', 'c']) await spool.add(value, value);
    expect(spool.counts).toEqual({ waiting: 2, dropped: 1 });
    expect(await readdir(folder)).toHaveLength(2);
    expect(await delivered(spool)).toEqual(['b', 'c']);
  });

  it('is delivered by one at a time, however often that is asked for', async () => {
    const spool = await open();
    await spool.add('a', 'a');
    const seen = await Promise.all([delivered(spool), delivered(spool)]);
    expect(seen.flat()).toEqual(['a']);
  });
});

describe('a disk', () => {
  it('with a file that is no alert costs that file only', async () => {
    await writeFile(join(folder, '000000000000001-x.json'), '{"torn');
    const spool = await open();
    await spool.add('a', 'a');
    expect(spool.counts).toEqual({ waiting: 1, dropped: 1 });
    expect(await delivered(spool)).toEqual(['a']);
  });

  it('that takes nothing keeps nothing from being delivered', async () => {
    const spool = await open();
    await rm(folder, { recursive: true });
    await expect(spool.add('a', 'a')).rejects.toThrow('ENOENT');
    expect(await delivered(spool)).toEqual(['a']);
  });
});
