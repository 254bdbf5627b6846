import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { PROJECT } from '../../dev/image/commit.ts';
import { contextOf } from '../../dev/image/context.ts';

// R22: what an image is built from, by .dockerignore.

describe('the build of an image', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-context-'));
    await copyFile(join(PROJECT, '.dockerignore'), join(folder, '.dockerignore'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const seen = async (...paths: string[]) => {
    for (const path of paths) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), '');
    }
    return contextOf(folder);
  };

  it('sees the sources and what packages are installed by', async () => {
    const wanted = ['LICENSE', 'dev/build.ts', 'package-lock.json', 'package.json', 'worker/main.ts'];
    expect(await seen(...wanted)).toEqual(wanted);
  });

  it.each([
    ['.env', 'worker/.env', 'dev/.env.local', 'client/.npmrc'],
    ['cosign.key', 'dev/carol.key', 'worker/tls/server.pem', 'worker/tls/tls.crt', 'client/login.p12'],
    ['.byoc/state.json', 'dev/.byoc/root-token', 'dev/kubeconfig', 'dev/admin.kubeconfig'],
    ['.git/config', 'node_modules/zod/package.json', 'client/node_modules/zod/package.json'],
    [
      'dist/worker/main.js',
      'test/rules/agent.test.ts',
      'bench/roles.ts',
      'helm/connector/values.yaml',
      'docs/audit.md',
    ],
    ['README.md', 'domain/notes.md', 'worker/debug.log', 'worker/.main.ts.swp'],
  ])('does not see %s, %s and the like', async (...paths) => {
    expect(await seen(...paths)).toEqual([]);
  });

  it('sees nothing of this checkout that is not in git, nor misses anything of these folders that is', async () => {
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', PROJECT, 'ls-files', ...args], { encoding: 'utf8' })
        .trim()
        .split('\n');
    const folders = ['domain', 'workflows', 'activities', 'worker', 'client', 'dev'];
    const known = git('--cached', '--others', '--exclude-standard');
    const context = await contextOf(PROJECT);
    expect(context.filter((path) => !known.includes(path))).toEqual([]);
    const tracked = git(...folders).filter((path) => !path.endsWith('.md'));
    expect(tracked.filter((path) => !context.includes(path))).toEqual([]);
  });
});
