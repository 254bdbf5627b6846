import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { PROJECT } from '../../dev/image/commit.ts';
import { canIsolate } from '../../dev/image/sandbox.ts';
import { runTool } from '../support/tools.ts';

// R22: the commands by which an image is made, as a person types them.

const node = (...args: string[]) => runTool(process.execPath, args);

describe('dev/image/arguments.ts', () => {
  let checkout: string;
  const git = (...args: string[]) => {
    const as = ['-c', 'user.name=a', '-c', 'user.email=a@example.com', '-c', 'commit.gpgsign=false'];
    return execFileSync('git', ['-C', checkout, ...as, ...args], { encoding: 'utf8' }).trim();
  };
  const print = (...args: string[]) => node(join(checkout, 'dev/image/arguments.ts'), ...args);

  beforeEach(async () => {
    checkout = await mkdtemp(join(tmpdir(), 'byoc-checkout-'));
    await mkdir(join(checkout, 'dev/image'), { recursive: true });
    for (const file of ['package.json', ...['arguments', 'command', 'commit'].map((name) => `dev/image/${name}.ts`)])
      await copyFile(join(PROJECT, file), join(checkout, file));
  });
  afterEach(() => rm(checkout, { recursive: true, force: true }));

  it('names version, commit and its time, and two tags', async () => {
    git('init', '--quiet');
    git('add', '.');
    git('commit', '--quiet', '-m', 'first');
    const { version } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8')) as { version: string };
    const [revision, time] = git('log', '-1', '--format=%H %ct').split(' ');
    const { code, stdout, stderr } = await print('reg.example.com:5000/byoc');
    expect({ code, stderr, words: stdout.trim().split(' ') }).toEqual({
      code: 0,
      stderr: '',
      words: [
        '--file=Containerfile',
        `--build-arg=VERSION=${version}`,
        `--build-arg=REVISION=${String(revision)}`,
        `--build-arg=SOURCE_DATE_EPOCH=${String(time)}`,
        `--timestamp=${String(time)}`,
        `--tag=reg.example.com:5000/byoc:${version}-${String(revision).slice(0, 12)}`,
        `--tag=reg.example.com:5000/byoc:${version}`,
      ],
    });
  });

  it('says that a checkout with changes makes an image that nobody can make again, and tags it so', async () => {
    git('init', '--quiet');
    git('add', '.');
    git('commit', '--quiet', '-m', 'first');
    await writeFile(join(checkout, 'more.txt'), '');
    const { code, stdout, stderr } = await print('byoc');
    expect({ code, tags: stdout.match(/--tag=\S+/g) }).toEqual({ code: 0, tags: [expect.stringMatching(/-dirty$/)] });
    expect(stderr).toContain('changes that are not committed');
  });

  it('says in a line that it is no checkout', async () => {
    const { code, stdout, stderr } = await print('byoc');
    expect({ code, stdout, lines: stderr.trim().split('\n').length }).toEqual({ code: 1, stdout: '', lines: 1 });
    expect(stderr).toMatch(/an image is called after its commit, and git does not tell it: .*not a git repository/);
  });

  it.each([[], ['--help'], ['one', 'two'], ['byoc:latest'], ['UPPER/case'], ['a; b']])(
    'takes a repository, not %j',
    async (...args) => {
      const { code, stdout, stderr } = await print(...args.flat());
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(/^dev\/image\/arguments\.ts: .*such as registry\.example\.com\/neuralops\/byoc-connector/);
    },
  );
});

describe('dev/image/build.ts', () => {
  const build = (...args: string[]) => node(join(PROJECT, 'dev/image/build.ts'), ...args);

  it('takes one new folder, and clears nothing away in another', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'byoc-full-'));
    await mkdir(join(folder, 'build'));
    await writeFile(join(folder, 'build', 'mine'), '');
    const { code, stderr } = await build(folder);
    expect(code).toBe(2);
    expect(stderr).toContain(canIsolate() ? `${folder} is not empty` : 'must run as root');
    expect(await readFile(join(folder, 'build', 'mine'), 'utf8')).toBe('');
    await rm(folder, { recursive: true });
    for (const args of [[], ['--help'], ['a', 'b']]) {
      expect(await build(...args)).toMatchObject({ code: 2, stderr: expect.stringContaining('usage: ') });
    }
  });
});
