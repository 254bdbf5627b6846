import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');

const HARMLESS = 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\n';
const SECRET = 'apiVersion: v1\nkind: Secret\nmetadata: { name: database }\n';
const PRIVILEGED = `---
apiVersion: v1
kind: List
items:
  - apiVersion: batch/v1
    kind: CronJob
    metadata: { name: nightly, namespace: shop }
    spec: { jobTemplate: { spec: { template: { spec: { hostPID: true, containers: [{ name: main, image: 'x:1' }] } } } } }
---
${SECRET}`;

/** `byoc risk`, as somebody runs it who has no cluster. */
describe('byoc risk', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-risk-'));
    const files = {
      'harmless.yaml': HARMLESS,
      'secret.json': JSON.stringify({ ...JSON_SECRET }),
      'list.yml': PRIVILEGED,
    };
    await Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(folder, name), text)));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const risk = (args: readonly string[], stdin = '') =>
    new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
      const env = { PATH: '/usr/bin:/bin', HOME: folder, NO_COLOR: '1' };
      const child = execFile(process.execPath, [BYOC, 'risk', ...args], { env, cwd: folder }, (error, stdout, stderr) =>
        resolve({ code: error ? error.code : 0, stdout, stderr }),
      );
      child.stdin?.end(stdin);
    });

  it('tells of one file its level and what every rule found, in JSON', async () => {
    const { code, stdout, stderr } = await risk(['list.yml', '-o', 'json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { level, findings, ...others } = JSON.parse(stdout) as { level: string; findings: object[] };
    expect({ level, others }).toEqual({ level: 'high', others: {} });
    expect(findings[0]).toEqual({
      rule: 'pod-security/host-namespaces',
      level: 'high',
      object: { apiVersion: 'batch/v1', kind: 'CronJob', namespace: 'shop', name: 'nightly' },
      message: 'CronJob shop/nightly shares namespaces of its node (hostPID)',
    });
    expect(findings).toContainEqual({
      rule: 'secret',
      level: 'medium',
      object: { apiVersion: 'v1', kind: 'Secret', namespace: 'default', name: 'database' },
      message: 'Secret default/database is a Secret',
    });
  });

  it('tells of several files, and of a folder, one after the other', async () => {
    const several = await risk(['secret.json', 'harmless.yaml', '-o', 'json']);
    expect(JSON.parse(several.stdout)).toMatchObject([
      { file: 'secret.json', level: 'medium', findings: [{ rule: 'secret' }] },
      { file: 'harmless.yaml', level: 'low', findings: [] },
    ]);
    const all = JSON.parse((await risk(['.', '-o', 'json'])).stdout) as { file: string }[];
    expect(all.map(({ file }) => file)).toEqual(['harmless.yaml', 'list.yml', 'secret.json']);
  });

  it('reads stdin, and says the namespace that manifests leave out', async () => {
    const { stdout } = await risk(['-', '-n', 'shop'], SECRET);
    expect(stdout).toBe('stdin  medium\n  medium  Secret shop/database is a Secret (secret)\n');
  });

  it('ends with 1 where a level is reached that must not be', async () => {
    const failOn = (level: string) => risk(['harmless.yaml', 'secret.json', '--fail-on', level]);
    const [reached, not] = await Promise.all([failOn('medium'), failOn('high')]);
    expect([reached.code, not.code]).toEqual([1, 0]);
  });

  it('says where each file is wrong, and judges nothing', async () => {
    const broken = await risk(['nowhere.yaml', 'harmless.yaml', '-', '--fail-on', 'high'], 'kind: A\nkind: B\n');
    expect(broken).toEqual({
      ...{ code: 2, stdout: '' },
      stderr:
        'byoc: FILE_UNREADABLE: A file cannot be read. nowhere.yaml: it does not exist.\n' +
        'byoc: MANIFEST_INVALID: A manifest cannot be used. stdin: Map keys must be unique. (line 2, column 1)\n',
    });
  });

  it('takes no empty input for a harmless one', async () => {
    const { code, stderr } = await risk(['-'], '# nothing\n');
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: 'byoc: MANIFEST_INVALID: A manifest cannot be used. stdin: There is none in it.\n',
    });
  });

  it('says what is wrong with how it was asked', async () => {
    const wrong = [['nowhere.yaml'], ['--fail-on', 'none', 'harmless.yaml'], []];
    const [missing, ...others] = await Promise.all(wrong.map((args) => risk(args)));
    expect(missing).toMatchObject({
      code: 2,
      stderr: 'byoc: FILE_UNREADABLE: A file cannot be read. nowhere.yaml: it does not exist.\n',
    });
    expect(others).toMatchObject([{ code: 2 }, { code: 2 }]);
  });

  it('shows names as text, whatever a terminal makes of them', async () => {
    const { stdout } = await risk(['-'], JSON.stringify({ ...JSON_SECRET, metadata: { name: '\u001b[2Jlow' } }));
    expect(stdout).toContain('Secret default/\\u001b[2Jlow is a Secret');
  });
});

const JSON_SECRET = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'database' } };
