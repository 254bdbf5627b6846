import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { parsePolicy, policySource } from '../../activities/policy/load-policy.ts';
import { sha256 } from '../../client/sha256.ts';
import { policyDigest } from '../../domain/policy.ts';
import type { PolicyNews, PolicyWatch } from '../../worker/policy-watch.ts';
import { watchPolicy } from '../../worker/policy-watch.ts';
import { policyText } from '../support/policies.ts';
import { until } from '../support/until.ts';

const text = (low: number) => policyText(`approvals: { low: ${low} }`);
const digest = (low: number) => policyDigest(sha256, parsePolicy(text(low)));
const BROKEN = `${text(1)}oops: 1\n`;

describe('watching the policy file', () => {
  let folder: string;
  let path: string;
  let watching: PolicyWatch | undefined;
  /** What was told: digests, and the reasons why there is none. */
  let told: string[];
  const news: PolicyNews = {
    onChanged: async (changed) => void told.push(changed),
    onBroken: async ({ detail }) => void told.push(detail),
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-policy-'));
    path = join(folder, 'policy.yaml');
    told = [];
  });
  afterEach(async () => {
    await watching?.close();
    await rm(folder, { recursive: true });
  });

  const start = async (options: { news?: PolicyNews; pollMs?: number; path?: string } = {}) => {
    const file = options.path ?? path;
    watching = await watchPolicy({ news, settleMs: 30, ...options, path: file, load: policySource(file, sha256) });
  };
  const untilTold = (count: number) => until(`${count} news`, () => told.length >= count);
  const aWhile = () => new Promise((resolve) => setTimeout(resolve, 300));

  it('tells the policy that is there at the start', async () => {
    await writeFile(path, text(1));
    await start();
    expect(told).toEqual([digest(1)]);
  });

  it('tells a policy that is written over, and one that is put in its place', async () => {
    await writeFile(path, text(1));
    await start();
    await writeFile(path, text(2));
    await untilTold(2);
    await writeFile(`${path}.new`, text(3));
    await rename(`${path}.new`, path);
    await untilTold(3);
    expect(told).toEqual([digest(1), digest(2), digest(3)]);
  });

  it('tells a change of a mounted ConfigMap, which swaps a link to a folder', async () => {
    // As kubelet does (pkg/volume/util/atomic_writer.go): policy.yaml → ..data/policy.yaml, ..data → ..<time>.
    const publish = async (version: string, low: number) => {
      await mkdir(join(folder, version));
      await writeFile(join(folder, version, 'policy.yaml'), text(low));
      await symlink(version, join(folder, '..data_tmp'));
      await rename(join(folder, '..data_tmp'), join(folder, '..data'));
    };
    await publish('..2026_01_01', 1);
    await symlink(join('..data', 'policy.yaml'), path);
    await start();
    await publish('..2026_01_02', 2);
    await untilTold(2);
    expect(told).toEqual([digest(1), digest(2)]);
  });

  it('tells a broken policy once for each reason, and a repaired one, also where it is as it was', async () => {
    await writeFile(path, text(1));
    await start({ pollMs: 20 });
    await writeFile(path, BROKEN);
    await untilTold(2);
    await aWhile();
    await rm(path);
    await untilTold(3);
    await writeFile(path, text(1));
    await untilTold(4);
    expect(told).toEqual([digest(1), 'Unknown field "oops".', 'The file cannot be read.', digest(1)]);
  });

  it('tells a policy that is broken at the start', async () => {
    await start();
    expect(told).toEqual(['The file cannot be read.']);
  });

  it('tells nothing where the policy stays what it is', async () => {
    await writeFile(path, text(1));
    await start({ pollMs: 20 });
    await writeFile(path, `# a comment\n${text(1)}`);
    await aWhile();
    expect(told).toEqual([digest(1)]);
  });

  it('tells a change while other files of the folder are written all the time', async () => {
    await writeFile(path, text(1));
    await start({ pollMs: 10_000 });
    const log = setInterval(() => void writeFile(join(folder, 'worker.log'), String(Date.now())), 5);
    await writeFile(path, text(2));
    await untilTold(2);
    clearInterval(log);
    expect(told).toEqual([digest(1), digest(2)]);
  });

  it('does not take a file that is being written for a broken one', async () => {
    await writeFile(path, text(1));
    await start({ pollMs: 10_000 });
    await writeFile(path, '');
    await writeFile(path, text(2));
    await untilTold(2);
    expect(told).toEqual([digest(1), digest(2)]);
  });

  it('finds a file whose folder cannot be watched, because it came later', async () => {
    const late = join(folder, 'late', 'policy.yaml');
    await start({ path: late, pollMs: 20 });
    await mkdir(join(folder, 'late'));
    await writeFile(late, text(1));
    await untilTold(2);
    expect(told).toEqual(['The file cannot be read.', digest(1)]);
  });

  it('tells again what could not be told', async () => {
    await writeFile(path, text(1));
    let failures = 2;
    const flaky: PolicyNews = {
      ...news,
      onChanged: (changed) => (failures-- > 0 ? Promise.reject(new Error('away')) : news.onChanged(changed)),
    };
    await start({ news: flaky, pollMs: 20 });
    await untilTold(1);
    await aWhile();
    expect(told).toEqual([digest(1)]);
  });

  it('tells nothing after it is closed', async () => {
    await writeFile(path, text(1));
    await start({ pollMs: 20 });
    await watching?.close();
    await writeFile(path, text(2));
    await aWhile();
    expect(told).toEqual([digest(1)]);
  });

  it('without a file tells the built-in policy, once', async () => {
    watching = await watchPolicy({ path: undefined, load: policySource(undefined, sha256), news, pollMs: 20 });
    await aWhile();
    expect(told).toHaveLength(1);
  });
});
