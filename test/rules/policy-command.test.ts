import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parsePolicy } from '../../activities/policy/load-policy.ts';
import { sha256 } from '../../client/sha256.ts';
import { digestOfSteps, policyDigest } from '../../domain/policy.ts';
import type { Step } from '../../domain/wpk.ts';
import { buildRestart } from '../support/wpk.ts';
import { applyStep, buildWpk, configMap } from '../support/packages.ts';

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');
const HEAD = 'apiVersion: neuralops.io/v1\nkind: Policy\n';

describe('byoc policy', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-policy-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const save = async (name: string, content: string) => {
    await writeFile(join(folder, name), content);
    return name;
  };
  const byoc = (...args: string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      execFile(process.execPath, [BYOC, 'policy', ...args], { cwd: folder, env: {} }, (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
      });
    });

  describe('check', () => {
    it('prints the digest of a good policy', async () => {
      const digest = policyDigest(sha256, parsePolicy(HEAD));
      const good = await save('good.yaml', HEAD);
      expect(await byoc('check', good)).toEqual({ code: 0, stdout: `good.yaml ${digest}\n`, stderr: '' });
    });

    it('prints each problem of a bad one as an editor finds it', async () => {
      const bad = await save('bad.yaml', `${HEAD}aprovals: {}\nlimits:\n  maxSteps: 0\n`);
      expect(await byoc('check', bad)).toEqual({
        code: 1,
        stdout: `bad.yaml:3:1 POLICY_INVALID Unknown field "aprovals"; did you mean "approvals"? (/aprovals)
bad.yaml:5:13 POLICY_INVALID Must be at least 1. (/limits/maxSteps)
`,
        stderr: '',
      });
    });

    it('gives both as data', async () => {
      const bad = await byoc('check', await save('bad.yaml', `${HEAD}a: 1\n`), '-o', 'json');
      expect(JSON.parse(bad.stdout)).toEqual({
        file: 'bad.yaml',
        problems: [{ code: 'POLICY_INVALID', detail: 'Unknown field "a".', line: 3, column: 1, path: '/a' }],
      });
      const good = await byoc('check', await save('good.yaml', HEAD), '-o', 'json');
      expect(JSON.parse(good.stdout)).toMatchObject({ problems: [], policy: { approvals: { high: { quorum: 2 } } } });
    });

    it('says which entries allow nothing', async () => {
      const idle = await save('idle.yaml', `${HEAD}allow: { kinds: [deployment], images: ['https://x.com'] }\n`);
      expect(await byoc('check', idle)).toMatchObject({
        code: 0,
        stderr: `/allow/kinds/0 allows nothing: deployment is no kind, such as Deployment or Deployment.apps.
/allow/images/0 allows nothing: https://x.com is no registry, repository or image.
`,
      });
    });

    it('ends with 2 where there is no such file', async () => {
      expect(await byoc('check', 'none.yaml')).toMatchObject({ code: 2, stdout: '' });
    });
  });

  describe('explain', () => {
    const wpk = (steps: readonly Step[]) => buildWpk({ steps });
    const applying = wpk([applyStep(configMap('settings', 'shop', {}))]);

    it('tells what is decided, the steps digest with the lines to paste, and ends with 0 where it is allowed', async () => {
      const policy = await save('policy.yaml', HEAD);
      const { code, stdout } = await byoc('explain', policy, await save('a.json', JSON.stringify(applying)));
      const digest = digestOfSteps(sha256, applying);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^DECISION +SUBJECT +WHY +RULE\n/);
      expect(stdout).toMatch(
        /^needs-approval {2}its plan, at low risk +low risk needs .* approvals \/approvals\/low$/m,
      );
      expect(stdout).toContain('\nThe policy allows it.\nRisk low, computed from the manifests');
      expect(stdout).toContain(`\nautoApprove:\n  - playbook: settings\n    stepsDigest: ${digest}\n`);
    });

    it('approves by policy what is pasted from it', async () => {
      const file = await save('a.json', JSON.stringify(applying));
      const { stdout } = await byoc('explain', await save('policy.yaml', HEAD), file);
      const pasted = stdout.slice(stdout.indexOf('autoApprove:'));
      const again = await byoc('explain', await save('policy.yaml', HEAD + pasted), file, '-o', 'json');
      expect(JSON.parse(again.stdout).decisions).toContainEqual(
        expect.objectContaining({ decision: 'approve-by-policy', place: '/autoApprove/0' }),
      );
    });

    it('ends with 1 where it is denied', async () => {
      const policy = await save('policy.yaml', `${HEAD}allow: { kinds: [] }\n`);
      const { code, stdout } = await byoc('explain', policy, await save('a.json', JSON.stringify(applying)));
      expect(code).toBe(1);
      expect(stdout).toMatch(/^deny +step apply +the kind ConfigMap is not allowed +allow.kinds \/allow\/kinds$/m);
      expect(stdout).toContain('\nThe policy denies it.\n');
    });

    it('lists each level of risk where only a dry run can tell it', async () => {
      const file = await save('b.json', JSON.stringify(wpk([buildRestart()])));
      const { stdout } = await byoc('explain', await save('policy.yaml', HEAD), file, '-o', 'json');
      const { decisions, risk } = JSON.parse(stdout) as {
        decisions: { rule: string; place: string }[];
        risk?: unknown;
      };
      expect(risk).toBeUndefined();
      expect(decisions.filter(({ rule }) => rule === 'approvals')).toHaveLength(3);
    });

    it('judges windows at the time that is asked for', async () => {
      const window = '{ name: noon, effect: allow, timeZone: Europe/Berlin, days: [mon], from: "12:00", to: "13:00" }';
      const policy = await save('policy.yaml', `${HEAD}windows: [${window}]\n`);
      const file = await save('a.json', JSON.stringify(applying));
      const inside = await byoc('explain', policy, file, '--at', '2026-06-01T12:30:00+02:00');
      expect(inside).toMatchObject({ code: 0, stdout: expect.stringContaining('\nThe policy allows it.\n') });
      const outside = await byoc('explain', policy, file, '--at', '2026-06-01T12:30:00Z');
      expect(outside).toMatchObject({ code: 0, stdout: expect.stringContaining('but it may not begin at this time.') });
      expect(outside.stdout).toContain('It opens at 2026-06-08T10:00:00.000Z');
    });

    it.each([
      [
        'a time without its offset',
        ['policy.yaml', 'a.json', '--at', '2026-06-01T12:30:00'],
        2,
        'A time with its offset',
      ],
      ['a broken policy', ['bad.yaml', 'a.json'], 1, 'POLICY_INVALID'],
      ['a package that is none', ['policy.yaml', 'policy.yaml'], 1, 'WPK_SYNTAX'],
    ])('refuses %s', async (_, args, code, said) => {
      await save('policy.yaml', HEAD);
      await save('bad.yaml', 'kind: Policy\n');
      await save('a.json', JSON.stringify(applying));
      expect(await byoc('explain', ...args)).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(said) });
    });
  });
});
