import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parsePolicy } from '../../activities/policy/load-policy.ts';
import { sha256 } from '../../client/sha256.ts';
import { digestOfSteps, policyDigest } from '../../domain/policy.ts';
import { applyStep, buildWpk, configMap } from '../support/packages.ts';
import { buildRestart } from '../support/wpk.ts';

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');
const HEAD = 'apiVersion: neuralops.io/v1\nkind: Policy\n';

const applying = buildWpk({ steps: [applyStep(configMap('settings', 'shop', {}))] });
const restarting = buildWpk({ steps: [buildRestart()] });

describe('byoc policy', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-policy-'));
    await writeFile(join(folder, 'apply.json'), JSON.stringify(applying));
    await writeFile(join(folder, 'restart.json'), JSON.stringify(restarting));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** Runs the command on a policy that begins as each does. */
  async function byoc(command: string, policy: string, ...args: string[]) {
    await writeFile(join(folder, 'policy.yaml'), HEAD + policy);
    return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const all = [BYOC, 'policy', command, 'policy.yaml', ...args];
      execFile(process.execPath, all, { cwd: folder, env: {} }, (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
      });
    });
  }

  describe('check', () => {
    it('prints the digest of a good policy, and says which entries allow nothing', async () => {
      const idle = `allow: { kinds: [deployment], images: ['https://x.com'] }\n`;
      expect(await byoc('check', idle)).toEqual({
        code: 0,
        stdout: `policy.yaml is valid: ${policyDigest(sha256, parsePolicy(HEAD + idle))}\n`,
        stderr: `/allow/kinds/0 allows nothing: deployment is no kind, such as Deployment or Deployment.apps.
/allow/images/0 allows nothing: https://x.com is no registry, repository or image.
`,
      });
    });

    it('prints each problem of a bad one as an editor finds it', async () => {
      expect(await byoc('check', 'aprovals: {}\nlimits:\n  maxSteps: 0\n')).toEqual({
        code: 1,
        stdout: `policy.yaml:3:1 POLICY_INVALID Unknown field "aprovals"; did you mean "approvals"? (/aprovals)
policy.yaml:5:13 POLICY_INVALID Must be at least 1. (/limits/maxSteps)
`,
        stderr: '',
      });
    });

    it('gives problems as data', async () => {
      const { code, stdout } = await byoc('check', 'a: 1\n', '-o', 'json');
      expect(code).toBe(1);
      expect(JSON.parse(stdout)).toEqual({
        file: 'policy.yaml',
        problems: [{ code: 'POLICY_INVALID', detail: 'Unknown field "a".', line: 3, column: 1, path: '/a' }],
      });
    });
  });

  describe('explain', () => {
    it('tells what is decided, with lines to paste that approve exactly these steps', async () => {
      const { code, stdout } = await byoc('explain', '', 'apply.json');
      expect(code).toBe(0);
      expect(stdout).toMatch(/^DECISION +SUBJECT +WHY +RULE\n/);
      expect(stdout).toMatch(
        /^needs-approval {2}its plan, at low risk +low risk needs .* approvals \/approvals\/low$/m,
      );
      expect(stdout).toContain('\nThe policy allows it.\nRisk low, computed from the manifests');
      const pasted = `autoApprove:\n  - playbook: settings\n    stepsDigest: ${digestOfSteps(sha256, applying)}\n`;
      expect(stdout.endsWith(`\n${pasted}`)).toBe(true);

      const again = await byoc('explain', pasted, 'apply.json', '-o', 'json');
      expect((JSON.parse(again.stdout) as { decisions: unknown }).decisions).toContainEqual(
        expect.objectContaining({ decision: 'approve-by-policy', place: '/autoApprove/0' }),
      );
    });

    it('ends with 1 where it is denied, and lists each level of risk where only a dry run can tell it', async () => {
      const { code, stdout } = await byoc('explain', 'allow: { kinds: [] }\n', 'restart.json');
      expect(code).toBe(1);
      expect(stdout).toMatch(
        /^deny +step restart +the kind Deployment.apps is not allowed +allow.kinds \/allow\/kinds$/m,
      );
      expect(stdout).toMatch(/its plan, at low risk[^]*its plan, at medium risk[^]*its plan, at high risk/);
      expect(stdout).toContain('\nThe policy denies it.\n');
      expect(stdout).not.toContain('autoApprove:');
    });

    it('judges windows at the time that is asked for', async () => {
      const noon = '{ name: noon, effect: allow, timeZone: Europe/Berlin, days: [mon], from: "12:00", to: "13:00" }';
      const outside = await byoc('explain', `windows: [${noon}]\n`, 'apply.json', '--at', '2026-06-01T12:30:00Z');
      expect(outside).toMatchObject({ code: 0, stdout: expect.stringContaining('but it may not begin at this time.') });
      expect(outside.stdout).toContain('It opens 2026-06-08T10:00:00Z');
    });

    it('names the file in which something is wrong', async () => {
      expect(await byoc('explain', 'a: 1\n', 'apply.json')).toMatchObject({
        ...{ code: 1, stderr: expect.stringContaining('policy.yaml: Unknown field "a". (line 3, column 1, at /a)') },
      });
      await writeFile(join(folder, 'broken.json'), '{ "kind": 7 }');
      expect(await byoc('explain', '', 'broken.json')).toMatchObject({
        ...{ code: 1, stderr: expect.stringMatching(/broken\.json: .* \(line 1, column \d+/) },
      });
    });

    it('takes no time without its offset, which would mean another on each machine', async () => {
      expect(await byoc('explain', '', 'apply.json', '--at', '2026-06-01T12:30:00')).toMatchObject({
        code: 2,
        stdout: '',
        stderr: expect.stringContaining('A date and time with its offset'),
      });
    });
  });
});
