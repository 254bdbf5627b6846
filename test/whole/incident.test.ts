import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { generateKeyPair } from '../../client/sign.ts';
import { scheduleIdOf } from '../../domain/names.ts';
import type { Stack } from '../../dev/stack.ts';
import { CHART } from '../support/chart.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap, sign } from '../support/packages.ts';
import type { CommandBlock } from '../support/page-commands.ts';
import { commandBlocks, readPage, Terminal } from '../support/page-commands.ts';
import { ownStack, sharedServices } from '../support/stack.ts';
import { until } from '../support/until.ts';

/** Nobody's name before the incident. */
const DANA = 'dana@example.com';
/** Signed votes only, as in production. */
const POLICY = `
apiVersion: neuralops.io/v1
kind: Policy
approvals: { acceptAsserted: false }
`;

/**
 * R27: docs/incident.md, step by step, each command as it stands there, on an installation of the chart: its accounts, its
 * NetworkPolicies, its ConfigMaps. What comes after a step leans on it.
 */
describe('the incident runbook', () => {
  let own: Stack;
  let connector: TestConnector;
  let blocks: readonly CommandBlock[];
  let terminal: Terminal;
  let executed: string;
  let waiting: WaitingPackage;
  const news = { signing: generateKeyPair(), approver: generateKeyPair() };
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
      clothes: 'production',
      policy: POLICY,
    });
    blocks = commandBlocks(await readPage('incident.md'));
    terminal = await Terminal.open(connector, {
      ...{
        CLUSTER: connector.clusterId,
        NS: connector.installation.namespace,
        STATE: connector.installation.stateNamespace,
        RELEASE: connector.installation.name,
        CHART,
        ME: 'alice@example.com',
      },
      ...{ AUDIT: `s3://${s3.bucket}/byoc/${connector.clusterId}`, SINCE: '1h' },
      ...{ CONTROL_PLANE_URL: controlPlane.url, CONTROL_PLANE_CA: controlPlane.caFile },
      ...{ CONTROL_PLANE_TOKEN: controlPlane.operatorToken },
      ...{ SIGNING_KEY: 'development', APPROVER: 'development' },
      ...{ NEW_SIGNING_KEY: 'after', NEW_APPROVER: 'dana', NEW_APPROVER_IDENTITY: DANA },
    });
    const { name, namespace } = connector.installation;
    await terminal.run(`helm get values ${name} -n ${namespace} -o yaml > my-values.yaml`);
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
    await connector.stop();
    await own.stop();
  });

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
    const { name, namespace } = connector.installation;
    const issue = ['create', 'token', `${name}-apply`, '-n', namespace];
    const token = (await connector.kubectl(...issue)).trim();
    const who = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}', `--token=${token}`];
    const { server, caFile } = connector.services.kubernetes;
    const asApply = [...who, `--server=${server}`, `--certificate-authority=${caFile}`, '--kubeconfig=/dev/null'];
    expect(await connector.kubectl(...asApply)).toContain(`${name}-apply`);
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
    const { name } = connector.installation;
    expect(said).toContain(`"${name}-execution" deleted`);
    const left = said.split('deleted').at(-1) ?? '';
    expect(left).toContain('byoc-incident');
    expect(left).not.toContain(name);
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
    const { VAULT_ROLE_ID: roleId, VAULT_SECRET_ID_FILE: file = '' } = connector.prepared.env;
    const secretId = await readFile(file, 'utf8');
    const login = `vault write -field=token auth/approle/login role_id=${roleId} secret_id=${secretId}`;
    const before = await terminal.run(login);
    expect(before.code).toBe(0);
    await follow('5 Revoke');
    expect((await terminal.run(login)).code).not.toBe(0);
    const { stdout, stderr } = await terminal.run(`VAULT_TOKEN=${before.stdout} vault token lookup 2>&1 || true`);
    expect(stdout + stderr).toContain('403');
    const { name, namespace } = connector.installation;
    expect(await connector.kubectl('get', 'serviceaccounts', '-n', namespace, '-o', 'name')).not.toContain(name);
  });
  /** How many starts of workers the bucket tells. */
  async function started(): Promise<number> {
    const { stdout } = await terminal.run('byoc audit search --type worker.started --since 1h "$AUDIT"');
    return stdout.split('worker.started').length - 1;
  }

  it('begins anew with another identity, and is frozen still', async () => {
    await writeFile(join(terminal.folder, 'new-signing-key.pub'), news.signing.publicKeyPem);
    await writeFile(join(terminal.folder, 'new-approver.pub'), news.approver.publicKeyPem);
    const [prepare, redeploy, upload, look] = blocks.filter(({ heading, isRun }) => heading === '6 Redeploy' && isRun);
    if (!prepare || !redeploy || !upload || !look) throw new Error('the page has four blocks there');
    const drained = connector.stopWorker(); // as the upgrade's new pods let their kubelet do
    await terminal.followOne(prepare);
    const made = await terminal.followOne(redeploy);
    await drained;
    for (const name of ['execution', 'apply', 'registration']) {
      expect(made).toContain(`serviceaccount/${connector.installation.name}-${name}`);
    }
    expect(made).toContain(`networkpolicy.networking.k8s.io/${connector.installation.name}-execution`);
    const starts = await started();
    const pods = dirname(connector.prepared.folder);
    for (const pod of await readdir(pods)) await rm(join(pods, pod, 'data'), { recursive: true }); // new ones have empty disks
    await connector.startWorker();
    await terminal.followOne(upload);
    await until('the new worker to be in the bucket', async () => (await started()) > starts);
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
    await vote(one, DANA, await connector.save('dana.key', news.approver.privateKeyPem));
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
  });

  it('exports what there is to learn from', async () => {
    await follow('8 Learn');
    expect(await readFile(join(terminal.folder, 'evidence.jsonl'), 'utf8')).toContain(executed);
    expect(await readFile(join(terminal.folder, 'incident-report.md'), 'utf8')).toContain(DANA);
  });
});
