import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createHeadKey } from '../../activities/audit/head-key.ts';
import { signHead } from '../../domain/audit-head.ts';
import type { Digest } from '../../domain/digest.ts';
import { chainOf, textOf } from '../support/audit-chains.ts';

// R21

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');
const env = { PATH: process.env['PATH'] };
const run = promisify(execFile);

let dir: string;
let log: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'audit-command-'));
  log = join(dir, '2026-01-01.jsonl');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

interface Failed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function byoc(...args: string[]): Promise<Failed> {
  try {
    return { code: 0, ...(await run(process.execPath, [BYOC, 'audit', ...args], { env, timeout: 20_000 })) };
  } catch (error) {
    return error as Failed;
  }
}

describe('byoc audit tail -f', () => {
  it('shows what is written from then on, also by a clock that went back and by another chain', async () => {
    const timeOf = (n: number) => `2026-01-01T12:00:0${n > 2 ? 0 : n}.000Z`;
    const lines = chainOf(3, { timeOf, typeOf: (n) => (n === 3 ? 'audit.clock-stepped-back' : 'vote.recorded') });
    await writeFile(log, textOf(lines.slice(0, 2)));
    const child = spawn(process.execPath, [BYOC, 'audit', 'tail', '-f', dir, '-o', 'json'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      let shown = '';
      child.stdout.on('data', (text: Buffer) => (shown += text.toString()));
      const untilShown = async (ids: string[]) => {
        const seen = () => shown.split('\n').flatMap((line) => (line ? [JSON.parse(line) as { eventId: string }] : []));
        while (seen().length < ids.length) await once(child.stdout, 'data');
        expect(seen().map(({ eventId }) => eventId)).toEqual(ids);
      };
      await untilShown(['e/prod-eu-1.w1/1', 'e/prod-eu-1.w1/2']);
      await appendFile(log, textOf(lines.slice(2)));
      await untilShown(['e/prod-eu-1.w1/1', 'e/prod-eu-1.w1/2', 'e/prod-eu-1.w1/3']);
      const other = chainOf(1, { chain: 'b.w', timeOf: () => '2026-01-01T00:00:00.000Z' });
      await writeFile(join(dir, 'other.jsonl'), textOf(other));
      await untilShown(['e/prod-eu-1.w1/1', 'e/prod-eu-1.w1/2', 'e/prod-eu-1.w1/3', 'e/b.w/1']);
    } finally {
      child.kill();
    }
  }, 20_000);
});

describe('byoc audit search', () => {
  it('says that there are lines which it cannot show, and where', async () => {
    const lines = chainOf(3);
    await writeFile(log, textOf(lines.with(1, (lines[1] ?? '').replace('looks good', 'looks fine'))));
    const { code, stdout, stderr } = await byoc('search', dir);
    expect([code, stdout.trim().split('\n').length]).toEqual([1, 3]);
    expect(stderr).toContain(`1 line does not verify and cannot be shown, the first is ${log}:2.`);
  });
});

describe('a type of entries', () => {
  it('that there is not is refused, with the one that was meant', async () => {
    await writeFile(log, textOf(chainOf(3)));
    for (const [typed, meant] of [
      ['vote.record', 'vote.recorded'],
      ['package.deny', 'package.denied'],
      ['packge', 'package'],
    ] as const) {
      const { code, stderr } = await byoc('search', dir, '--type', typed);
      expect([code, stderr]).toEqual([2, expect.stringContaining(`Did you mean ${meant}?`)]);
    }
  });

  it('that there is, and of which none is here, gives no heading over nothing', async () => {
    await writeFile(log, textOf(chainOf(3)));
    const { code, stdout, stderr } = await byoc('search', dir, '--type', 'package');
    expect([code, stdout, stderr]).toEqual([0, '', 'No entry matches.\n']);
  });
});

describe('a time', () => {
  it('in no form that is known is refused with those that are', async () => {
    const { code, stderr } = await byoc('search', dir, '--since', 'yesterday');
    expect([code, stderr]).toEqual([2, expect.stringMatching(/2026-01-31.*\+01:00.*90m, 24h, 7d/)]);
  });

  it('is a day in UTC, or says its zone: what one reads into it must not depend on where one sits', async () => {
    await writeFile(log, textOf(chainOf(3)));
    const found = await byoc('export', dir, '--since', '2026-01-01', '--until', '2026-01-01T00:00:02Z');
    expect(found.stdout.trim().split('\n')).toHaveLength(1);
    for (const time of ['2026-01-01T00:00:00', 'yesterday', '1']) {
      expect([time, (await byoc('export', dir, '--since', time)).code]).toEqual([time, 2]);
    }
  });
});

describe('byoc audit verify', () => {
  it('says what it could not have noticed where there is no signed head', async () => {
    await writeFile(log, textOf(chainOf(3)));
    const { code, stdout } = await byoc('verify', dir);
    expect([code, stdout]).toEqual([0, expect.stringContaining('No signed head was compared')]);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('The audit log verifies, but its end is not proven (see --key).');
  });

  it('says of a head past the end that it is that, and whether its signature holds', async () => {
    const lines = chainOf(5);
    const key = createHeadKey(randomBytes(32));
    const { hash } = JSON.parse(lines.at(-1) ?? '') as { hash: Digest };
    const head = signHead({ chain: 'prod-eu-1.w1', seq: 5, hash }, '2026-01-01T12:00:00.000Z', key);
    const [keyFile, headFile] = [join(dir, 'audit.pub'), join(dir, 'kept.head.json')];
    await Promise.all([writeFile(keyFile, key.publicKeyPem), writeFile(headFile, JSON.stringify(head))]);
    await writeFile(log, textOf(lines));
    const whole = await byoc('verify', '--key', keyFile, '--head', headFile, log);
    expect([whole.code, whole.stdout]).toEqual([0, expect.stringContaining('The audit log verifies.')]);

    await writeFile(log, textOf(lines.slice(0, 3)));
    const checked = await byoc('verify', '--key', keyFile, '--head', headFile, log);
    expect([checked.code, checked.stdout]).toEqual([1, expect.stringContaining('its signature verifies.')]);
    expect(checked.stdout).toContain('head of 5 is past the end');
    expect(checked.stdout).not.toContain('(--key)');
    // An entry behind may be no more than a copy that is a moment older than the head.
    expect(checked.stdout).toContain('was cut off, or came after this copy was made');
    expect(whole.stdout).not.toContain('cut off');
    const unchecked = await byoc('verify', '--head', headFile, log);
    expect(unchecked.stdout).toContain('its signature was not checked (--key).');
  });

  it('does not wait for a pipe that somebody put among the files', async () => {
    await writeFile(log, textOf(chainOf(3)));
    await run('mkfifo', [join(dir, 'x.jsonl')]);
    const { code, stderr } = await byoc('verify', dir);
    expect([code, stderr]).toEqual([2, expect.stringContaining('x.jsonl is no regular file')]);
  });
});
