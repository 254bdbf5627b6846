import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { vaultNameOf } from '../../domain/vault-setup.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { until } from '../support/until.ts';
import { callVault } from '../support/vault.ts';

// R11, R20, R24, R25, R26

describe("a connector's login to Vault", () => {
  let connector: TestConnector;
  let file = '';
  let secretId = '';
  const submit = (name: string) => connector.submit({ steps: [applyStep(configMap(name, connector.namespace, {}))] });
  const log = () => readFile(join(connector.prepared.folder, 'worker.log'), 'utf8');
  const auditOf = async (type: string) => (await connector.audit()).filter((entry) => entry.type === type);

  /** Not all of AppRole's: other tests are logged in too. */
  async function revokeTokensOf(appRole: string): Promise<void> {
    const root = (method: 'GET' | 'POST', path: string, body?: object) =>
      callVault(connector.services.vault, method, `auth/token/${path}`, body);
    const { data } = (await root('GET', 'accessors?list=true')) as { data: { keys: string[] } };
    for (const accessor of data.keys) {
      const found = await root('POST', 'lookup-accessor', { accessor }).catch(() => undefined); // it may have ended
      const { meta } = (found as { data: { meta: { role_name?: string } | null } } | undefined)?.data ?? {};
      if (meta?.role_name === appRole) await root('POST', 'revoke-accessor', { accessor });
    }
  }

  beforeAll(async () => {
    connector = await TestConnector.start({ clothes: 'development' }); // its login is changed in the file that it has
    file = join(connector.prepared.folder, 'vault', 'execution.secret-id');
    secretId = await readFile(file, 'utf8');
  }, 120_000);
  afterAll(() => connector.stop());

  it('is by the role of execution, whose secret is in no log, history or audit entry', async () => {
    const { wpkId, workflowId } = await connector.submitAndPlan({
      steps: [applyStep(configMap('by-role', connector.namespace, {}))],
    });
    expect(await auditOf('vault.logged-in')).toMatchObject([
      {
        actor: { proof: 'system' },
        outcome: 'succeeded',
        detail: { role: 'execution', why: 'start', ttlSeconds: 3600 },
      },
    ]);
    const history = await connector.temporal('workflow', 'show', '--workflow-id', workflowId, '--output', 'json');
    expect(history).toContain(wpkId);
    const { token } = connector.services.vault;
    for (const secret of [secretId, token]) {
      for (const text of [await log(), history, JSON.stringify(await connector.audit())]) {
        expect(text).not.toContain(secret);
      }
    }
  }, 60_000);

  it('that is refused is an alert and in the audit log, nothing is verified meanwhile, and the right secret ends it', async () => {
    await connector.stopWorker();
    await writeFile(file, 'canary-secret-id');
    await connector.startWorker();
    const { wpkId } = await submit('refused');
    await until('the package to wait for the keys', async () => {
      const { waiting } = await connector.client.get(wpkId);
      return waiting?.failure.includes('KEYS_UNAVAILABLE');
    });
    expect(await log()).toContain('"alert":"vault-login-refused"');
    expect((await auditOf('vault.login-failed'))[0]).toMatchObject({
      outcome: 'refused',
      detail: { role: 'execution', refused: true, said: 'it refused the role_id or the secret_id' },
    });
    await writeFile(file, secretId);
    await until('the package to be planned', async () => (await connector.client.get(wpkId)).planDigest);
    const told = [await log(), JSON.stringify(await connector.audit())].join('\n');
    expect(told).not.toContain('canary-secret-id');
    expect(told).not.toContain(secretId);
  }, 120_000);

  it('is had anew where its token was revoked, as after an incident', async () => {
    await revokeTokensOf(vaultNameOf(connector.clusterId, 'execution'));
    const { wpkId, workflowId, planDigest } = await connector.submitAndPlan({
      steps: [applyStep(configMap('revoked', connector.namespace, {}))],
    });
    await connector.signalApproval(workflowId, { approver: 'bob@example.com', planDigest }); // keys are asked for afresh
    expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
    expect((await auditOf('vault.logged-in')).at(-1)).toMatchObject({ detail: { why: 'refused' } });
  }, 60_000);

  describe('byoc vault setup', () => {
    it('prints the commands, and as JSON the same steps', async () => {
      const printed = await connector.byoc('vault', 'setup', '--cluster', 'prod-eu-1');
      expect(printed).toMatchObject({ code: 0, stderr: '' });
      expect(printed.stdout).toContain('\nvault policy write byoc-prod-eu-1-execution - <<');
      const { stdout } = await connector.byoc('vault', 'setup', '--cluster', 'prod-eu-1', '-o', 'json');
      const steps = JSON.parse(stdout) as { why: string }[];
      for (const { why } of steps) expect(printed.stdout).toContain(`\n# ${why}\n`);
    });

    it('does it with --apply, and leaves alone what is as it should be', async () => {
      const args = ['vault', 'setup', '--cluster', connector.clusterId, '--apply'];
      const { code, stdout, stderr } = await connector.byoc(...args);
      expect(code).toBe(0);
      expect(stdout).toContain(`unchanged  auth/approle/role/byoc-${connector.clusterId}-execution\n`);
      expect(stdout).not.toContain('made');
      expect(stderr).toContain(`/secret-id`);
    });

    it('takes no name that would be more than one cluster in a policy', async () => {
      expect(await connector.byoc('vault', 'setup', '--cluster', 'prod-*')).toMatchObject({ code: 2, stdout: '' });
    });
  });
});
