import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

// R14

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-redact-'));
  await writeFile(join(folder, 'key'), Buffer.alloc(32, 1));
  await writeFile(join(folder, 'short'), 'secret');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function redact(input: string | Uint8Array, ...args: string[]) {
  const child = spawn(process.execPath, [BYOC, 'redact', ...args], { cwd: folder, env: { PATH: process.env['PATH'] } });
  child.stdin.on('error', () => undefined); // it may end before it has read all
  child.stdin.end(input);
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { stdout, stderr, code };
}

describe('byoc redact', () => {
  it('copies stdin to stdout without what is personal or secret, and says nothing else', async () => {
    const input = 'ä joe@example.com\r\nfrom 10.0.0.1, password=hunter2';
    expect(await redact(input)).toEqual({
      stdout: 'ä [email]\r\nfrom [ip], password=[secret]',
      stderr: '',
      code: 0,
    });
  });

  it('tells on stderr what it found, for people and for programs', async () => {
    const input = 'a@example.com b@example.com 531-21-7351';
    expect((await redact(input, '--report')).stderr).toBe('KIND   REDACTED\nemail  2\nssn    1\n');
    expect(JSON.parse((await redact(input, '--report', 'json')).stderr)).toEqual({ email: 2, ssn: 1 });
  });

  it('hashes with a key from a file, the same way each time', async () => {
    const [first, second] = [
      await redact('joe@example.com', '--key-file', 'key'),
      await redact('JOE@example.com', '--key-file', 'key'),
    ];
    expect(first.stdout).toMatch(/^\[email#[a-p]{16}\]$/);
    expect(second.stdout).toBe(first.stdout);
  });

  it('keeps private addresses where it is told to', async () => {
    expect((await redact('10.0.0.1 8.8.8.8', '--private-ips', 'keep')).stdout).toBe('10.0.0.1 [ip]');
  });

  it('copies megabytes as they are where there is nothing in them, also characters that are cut between pieces', async () => {
    const input = 'plain wörds of a sentence €\n'.repeat(150_000);
    const { stdout, code } = await redact(input);
    expect(code).toBe(0);
    expect(stdout === input).toBe(true);
  });

  it.each<[string, string[], RegExp]>([
    ['a key that can be guessed', ['--key-file', 'short'], /32 bytes/],
    ['a country that is none', ['--phone-countries', 'usa'], /two capital letters/],
  ])('refuses %s, with exit code 2, before it has copied anything', async (_, args, message) => {
    const { stdout, stderr, code } = await redact('joe@example.com', ...args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(message);
  });
});
