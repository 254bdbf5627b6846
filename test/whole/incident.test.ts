import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { generateKeyPair } from '../../client/sign.ts';
import { scheduleIdOf } from '../../domain/names.ts';
import { VAULT_LOGINS } from '../../domain/vault-setup.ts';
import type { Stack } from '../../dev/stack.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap, sign } from '../support/packages.ts';
import type { CommandBlock } from '../support/page-commands.ts';
import { commandBlocks, readPage, Terminal } from '../support/page-commands.ts';
import { ownStack, sharedServices } from '../support/stack.ts';
import { until } from '../support/until.ts';

const CAROL = 'carol@example.com';
/** Signed votes only, as in production. */
const POLICY = `
apiVersion: neuralops.io/v1
kind: Policy
approvals: { acceptAsserted: false }
`;

/** R27: docs/incident.md, step by step, each command as it stands there. What comes after a step leans on it. */
describe('the incident runbook', () => {
  let own: Stack;
  let connector: TestConnector;
  let blocks: readonly CommandBlock[];
  let terminal: Terminal;
  let executed: string;
  let waiting: WaitingPackage;
  const news = { signing: generateKeyPair(), approver: generateKeyPair() };
  const release = () => `${connector.clusterId}-release`;
  const follow = (heading: string) => terminal.follow(blocks, heading);
  const steps = (name: string) => [applyStep(configMap(name, connector.namespace, { colour: 'blue' }))];

  beforeAll(async () => {
    // All logins of this Vault end: others are at work in the shared one.
    own = await ownStack(['vault', 'controlPlane']);
    const { temporal, s3, kubernetes } = await sharedServices();
    const { vault, controlPlane } = own;
    connector = await TestConnector.start({
      services: { temporal, s3, kubernetes, vault, controlPlane },
      linked: true,
      policy: POLICY,
    });
    blocks = commandBlocks(await readPage('incident.md'));
    terminal = await Terminal.open(connector, {
      ...{
        CLUSTER: connector.clusterId,
        NS: release(),
        STATE: 'byoc-system',
        RELEASE: 'byoc',
        ME: 'alice@example.com',
      },
      ...{ AUDIT: `s3://${s3.bucket}/byoc/${connector.clusterId}`, SINCE: '1h' },
      ...{ CONTROL_PLANE_URL: controlPlane.url, CONTROL_PLANE_CA: controlPlane.caFile },
      ...{ CONTROL_PLANE_TOKEN: controlPlane.operatorToken },
      ...{ SIGNING_KEY: 'development', APPROVER: 'development' },
      ...{ NEW_SIGNING_KEY: 'after', NEW_APPROVER: 'carol', NEW_APPROVER_IDENTITY: CAROL },
    });
    await installRelease();
    const { stdout } = await connector.byoc('audit', 'head', '--public-key');
    await writeFile(join(terminal.folder, 'audit.pub'), stdout);
    const one = await connector.submitAndPlan({ steps: steps('before') });
    await vote(one, 'bob@example.com', connector.prepared.approverKeyPath);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
    executed = one.wpkId;
    waiting = await connector.submitAndPlan({ steps: steps('suspicious') });
    await beat();
  }, 120_000);
  afterAll(async () => {
    await connector.kubectl('delete', 'namespace', release(), '--wait=false');
    await connector.stop();
    await own.stop();
  });

  /** What the chart has in its namespace, as far as the runbook touches it. */
  async function installRelease(): Promise<void> {
    const label = 'app.kubernetes.io/instance=byoc';
    const inRelease = ['-n', release()];
    await connector.kubectl('create', 'namespace', release());
    for (const role of ['execution', 'apply']) {
      await connector.kubectl('create', 'serviceaccount', `byoc-connector-${role}`, ...inRelease);
      await connector.kubectl('label', 'serviceaccount', `byoc-connector-${role}`, ...inRelease, label);
    }
    const policy = await connector.save('allow.yaml', ALLOW_ALL);
    await connector.kubectl('apply', '-f', policy, ...inRelease);
  }
  async function vote({ wpkId, planDigest }: WaitingPackage, as: string, key: string): Promise<void> {
    expect(await connector.byoc('approve', wpkId, '--as', as, '--key', key, '--plan', planDigest)).toMatchObject({
      code: 0,
    });
  }
  /** The control plane has the newest heads. */
  async function beat(): Promise<void> {
    await connector.client.client.schedule.getHandle(scheduleIdOf(connector.clusterId, 'heartbeat')).trigger();
    await until('the control plane to have heads', async () => {
      const { stdout } = await terminal.run(
        'curl -sS --cacert "$CONTROL_PLANE_CA" -H "Authorization: Bearer $CONTROL_PLANE_TOKEN" "$CONTROL_PLANE_URL/clusters/$CLUSTER/heads"',
      );
      return stdout.includes('"seq"');
    });
  }

  it('freezes, and takes the right to write away', async () => {
    const issue = ['create', 'token', 'byoc-connector-apply', '-n', release()];
    const token = (await connector.kubectl(...issue)).trim();
    const who = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}', `--token=${token}`];
    const { server, caFile } = connector.services.kubernetes;
    const asApply = [...who, `--server=${server}`, `--certificate-authority=${caFile}`, '--kubeconfig=/dev/null'];
    expect(await connector.kubectl(...asApply)).toContain('byoc-connector-apply');
    expect(await follow('1 Freeze')).toContain('frozen');
    expect((await connector.byoc('list')).code).toBe(0);
    // The API server remembers for 10 s that it has accepted a token.
    await until('the token to end', () =>
      connector.kubectl(...asApply).then(
        () => false,
        (error: unknown) => String(error).includes('Unauthorized'),
      ),
    );
    await until('the freeze to be told in the bucket', async () => {
      const { stdout } = await terminal.run('byoc audit search --type freeze "$AUDIT"');
      return stdout.includes('freeze.set');
    });
  });

  it('cuts it off: nothing is allowed any more in the namespace of the release', async () => {
    const said = await follow('2 Cut it off');
    expect(said).toContain('byoc-incident');
    expect(said.split('deleted').at(-1)).not.toContain('allow');
  });

  it('keeps the evidence', async () => {
    await follow('3 Keep the evidence');
    for (const [file, what] of [
      ['packages.json', executed],
      ['runs.json', executed],
      ['heads-now.json', connector.clusterId],
      ['cluster-state.yaml', `wpk-${executed.toLowerCase()}`],
    ] as const) {
      expect(await readFile(join(terminal.folder, file), 'utf8')).toContain(what);
    }
  });

  it('assesses: the log is whole, and tells what ran, who allowed it, and what was written', async () => {
    const said = await follow('4 Assess');
    expect(said).toContain('The audit log verifies');
    expect(said).toContain('package.approved');
    expect(said).toContain('bob@example.com');
    expect(said).toContain('freeze.set');
    expect(await readFile(join(terminal.folder, 'written.txt'), 'utf8')).toContain(
      `ConfigMap ${connector.namespace}/before`,
    );
    expect(await readFile(join(terminal.folder, 'report.md'), 'utf8')).toContain(executed);
  });

  it('revokes: no login, no token, no key is worth anything any more', async () => {
    const [roleId, secretId] = await loginOf('execution');
    const login = `vault write -field=token auth/approle/login role_id=${roleId} secret_id=${secretId}`;
    const before = await terminal.run(login);
    expect(before.code).toBe(0);
    await follow('5 Revoke');
    expect((await terminal.run(login)).code).not.toBe(0);
    const { stdout, stderr } = await terminal.run(`VAULT_TOKEN=${before.stdout} vault token lookup 2>&1 || true`);
    expect(stdout + stderr).toContain('403');
    const accounts = await connector.kubectl('get', 'serviceaccounts', '-n', release(), '-o', 'name');
    expect(accounts).not.toContain('byoc-connector');
  });
  async function loginOf(role: string): Promise<[string, string]> {
    const { env } = connector.prepared;
    const file = env[`VAULT_SECRET_ID_FILE_${role.toUpperCase()}`] ?? '';
    return [env[`VAULT_ROLE_ID_${role.toUpperCase()}`] ?? '', await readFile(file, 'utf8')];
  }

  it('begins anew with another identity, and is frozen still', async () => {
    await writeFile(join(terminal.folder, 'new-signing-key.pub'), news.signing.publicKeyPem);
    await writeFile(join(terminal.folder, 'new-approver.pub'), news.approver.publicKeyPem);
    await connector.stopWorker();
    const { env, auditDir } = connector.prepared;
    await rm(auditDir, { recursive: true, force: true }); // a new pod
    const [prepare, upload, look] = blocks.filter(({ heading, isRun }) => heading === '6 Redeploy' && isRun);
    if (!prepare || !upload || !look) throw new Error('the page has three blocks there');
    await terminal.followOne(prepare);
    for (const role of VAULT_LOGINS.filter((login) => login !== 'codec')) {
      env[`VAULT_ROLE_ID_${role.toUpperCase()}`] = (
        await readFile(join(terminal.folder, `${role}.role-id`), 'utf8')
      ).trim();
      await copyFile(
        join(terminal.folder, `${role}.secret-id`),
        env[`VAULT_SECRET_ID_FILE_${role.toUpperCase()}`] ?? '',
      );
    }
    await connector.startWorker();
    await terminal.followOne(upload);
    await until('the new worker to be in the bucket', async () => {
      const { stdout } = await terminal.run('byoc audit search --type worker.started --since 1h "$AUDIT"');
      return stdout.split('worker.started').length > 2;
    });
    expect(await terminal.followOne(look)).toMatch(/^true$/m);
  }, 60_000);

  it('resumes: what was signed or approved with the old keys is dead, the new ones count', async () => {
    await vote(waiting, 'bob@example.com', connector.prepared.approverKeyPath).catch(() => undefined);
    await follow('7 Resume');
    const old = await connector.submit({ steps: steps('old-key') });
    expect(await connector.client.result(old.wpkId)).toMatchObject({
      phase: 'denied',
      error: { code: 'KEY_REVOKED' },
    });
    expect(await connector.client.get(waiting.wpkId)).toMatchObject({ phase: 'awaiting-approval' });
    const signed = sign(connector.wpk({ steps: steps('new-key'), sequence: 9 }), news.signing.privateKeyPem);
    const one = await connector.untilWaiting(await connector.client.submit(signed));
    await vote(one, CAROL, await connector.save('carol.key', news.approver.privateKeyPem));
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
  });

  it('exports what there is to learn from', async () => {
    await follow('8 Learn');
    expect(await readFile(join(terminal.folder, 'evidence.jsonl'), 'utf8')).toContain(executed);
    expect(await readFile(join(terminal.folder, 'incident-report.md'), 'utf8')).toContain(CAROL);
  });
});

const ALLOW_ALL = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: byoc-connector-allow, labels: { app.kubernetes.io/instance: byoc } }
spec: { podSelector: {}, ingress: [{}], egress: [{}], policyTypes: [Ingress, Egress] }
`;
