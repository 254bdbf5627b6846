import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { CreateBucketCommand, ListMultipartUploadsCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { parse as parseYaml } from 'yaml';
import { applyVaultSetup } from '../../activities/vault/setup.ts';
import { createAuthority } from '../../dev/authority.ts';
import { generateKeyPair } from '../../client/sign.ts';
import type { ServerName } from '../../dev/host.ts';
import { send } from '../../dev/servers/https.ts';
import { s3ClientOf } from '../../dev/servers/seaweedfs.ts';
import type { Stack } from '../../dev/stack.ts';
import { freezeNameOf } from '../../domain/freeze.ts';
import { scheduleIdOf, STATE_NAMESPACE } from '../../domain/names.ts';
import { policyOf, vaultNameOf, vaultSetup } from '../../domain/vault-setup.ts';
import type { FindingCode } from '../../worker/doctor/catalogue.ts';
import type { Finding } from '../../worker/doctor/check.ts';
import { examine } from '../../worker/doctor/doctor.ts';
import type { CommandResult } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import type { TestServer } from '../support/http-server.ts';
import { json, startServer, status } from '../support/http-server.ts';
import { installRights } from '../support/chart-rights.ts';
import { describeOnSmallDisk, SmallDisk } from '../support/small-disk.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';
import { callVault } from '../support/vault.ts';

// R4 to R29 as far as they stand on a part or a setting

const POLICY = `
apiVersion: neuralops.io/v1
kind: Policy
approvals: { high: 1 }
`;
const METRICS = 'queries: [{ name: up, promql: up }]\n';

let stack: Stack;
let connector: TestConnector;
let settings: Record<string, string> = {};
const before = { ...process.env };

beforeAll(async () => {
  stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes', 'controlPlane', 'prometheus']);
  const { address, ca, username, password } = stack.prometheus;
  const { controlPlane, vault, kubernetes } = stack;
  execFileSync(kubernetes.kubectl, ['--kubeconfig', kubernetes.kubeconfig, 'create', 'serviceaccount', 'packages']);
  connector = await TestConnector.start({
    clothes: 'development', // all roles in one process; a process for each is in roles.test.ts
    services: stack,
    linked: true,
    policy: POLICY,
    files: { 'prom-ca.pem': ca, 'metrics.yaml': METRICS },
    env: {
      PROM_URL: address,
      PROM_USERNAME: username,
      PROM_PASSWORD: password,
      BYOC_PROM_CA: 'prom-ca.pem',
      BYOC_METRICS: 'metrics.yaml',
      INSIGHT_URL: controlPlane.url,
      BYOC_INSIGHT_CA: controlPlane.caFile,
      BYOC_S3_SSE: 'AES256',
      BYOC_APPLY_SERVICE_ACCOUNT: 'default/packages',
      BYOC_AGENT_PORT: '0',
      BYOC_AGENT_JWT_ISSUER: vault.address,
      BYOC_AGENT_JWT_KEYS: `${vault.address}/v1/identity/oidc/.well-known/keys`,
      BYOC_AGENT_JWT_CA: vault.caFile,
    },
  });
  settings = connector.prepared.env;
}, 180_000);
afterAll(async () => {
  process.env = before;
  await connector.stop();
  await stack.stop();
});

/** As the worker would meet everything with other settings; an empty one is as good as none. */
async function doctor(changed: Record<string, string> = {}): Promise<readonly Finding[]> {
  // Libraries of S3 and Kubernetes read the environment themselves.
  process.env = { ...before, ...settings, ...changed };
  const env = { ...settings, ...changed };
  return (await examine({ env, nodeVersion: process.versions.node, expectsWorker: true, now: () => new Date() }))
    .findings;
}

/** What is told besides that all is well. */
const troubles = (findings: readonly Finding[]) => findings.filter(({ status: one }) => one !== 'ok');
const told = (findings: readonly Finding[]) =>
  troubles(findings).flatMap(({ check, code }) => (code ? [`${check} ${code}`] : []));
const skipped = (findings: readonly Finding[]) =>
  findings.filter(({ status: one }) => one === 'skipped').map(({ check, says }) => `${check} ${says}`);
const saysOf = (findings: readonly Finding[], code: FindingCode) =>
  findings
    .filter((one) => one.code === code)
    .map(({ says }) => says)
    .join('\n');

async function command(changed: Record<string, string>, ...args: string[]): Promise<CommandResult> {
  const lines = Object.entries({ ...settings, ...changed }).map(([name, value]) => `${name}="${value}"`);
  return connector.byoc('doctor', '--env-file', await connector.save('doctor.env', lines.join('\n')), ...args);
}

const everySecret = async () => [
  stack.vault.token,
  stack.s3.secretAccessKey,
  stack.prometheus.password,
  await readFile(settings['VAULT_SECRET_ID_FILE_EXECUTION'] ?? '', 'utf8'),
];

describe('byoc doctor on the embedded stack', () => {
  it('finds everything well, tells each part in a line, and exits with 0', async () => {
    await until('the worker to have beaten', async () => told(await doctor()).length === 0, 60_000).catch(
      () => undefined,
    );
    const { code, stdout, stderr } = await command({});
    expect(stdout.split('\n').filter((line) => line !== '' && !line.startsWith('ok '))).toEqual([]);
    expect(code).toBe(0);
    for (const check of ['settings', 'disk', 'vault.rights.execution', 'signing-keys', 'kubernetes.rights', 'freeze']) {
      expect(stdout).toMatch(new RegExp(`^ok +${check} `, 'm'));
    }
    for (const check of [
      'temporal.queues',
      's3.object-lock',
      's3.write',
      'prometheus.queries',
      'control-plane',
      'clock',
    ]) {
      expect(stdout).toMatch(new RegExp(`^ok +${check} `, 'm'));
    }
    expect(stderr).toMatch(/^\d+ ok \(\d+\.\d s\)\n$/);
    for (const secret of await everySecret()) expect(stdout).not.toContain(secret);
    console.log(stdout + stderr);
  }, 120_000);

  it('says the same as JSON and as YAML', async () => {
    const asJson = JSON.parse((await command({}, '-o', 'json')).stdout) as { clusterId: string; findings: Finding[] };
    const asYaml = parseYaml((await command({}, '-o', 'yaml')).stdout) as { clusterId: string; findings: Finding[] };
    expect(asJson.clusterId).toBe(connector.clusterId);
    const names = (from: { findings: Finding[] }) => from.findings.map(({ check, status: one }) => [check, one]);
    expect(names(asYaml)).toEqual(names(asJson));
    expect(names(asJson).length).toBeGreaterThan(25);
  }, 60_000);

  it('leaves nothing behind: no object, no upload, no token', async () => {
    const client = await s3ClientOf(stack.s3);
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: stack.s3.bucket }));
    const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket: stack.s3.bucket }));
    client.destroy();
    expect(Uploads).toEqual([]);
    expect(Versions.filter(({ Key }) => Key?.includes('doctor'))).toEqual([]);
    const accessors = async () => {
      const found = (await callVault(stack.vault, 'GET', 'auth/token/accessors?list=1')) as {
        data: { keys: string[] };
      };
      return found.data.keys.length;
    };
    const tokens = await accessors();
    await doctor();
    expect(await accessors()).toBe(tokens);
  }, 60_000);
});

describe('byoc doctor, where a setting is wrong', () => {
  it.each<[string, () => Promise<Record<string, string>>, string[]]>([
    [
      'a role that Vault does not know',
      async () => ({ VAULT_ROLE_ID_EXECUTION: 'nobody' }),
      ['vault.login.execution VAULT_LOGIN_REFUSED'],
    ],
    [
      'a wrong secret_id',
      async () => ({ VAULT_SECRET_ID_FILE_METRICS: await connector.save('wrong', 'canary-secret-id') }),
      ['vault.login.metrics VAULT_LOGIN_REFUSED'],
    ],
    [
      'no file with the secret_id',
      async () => ({ VAULT_SECRET_ID_FILE_REGISTRATION: '/nowhere' }),
      ['vault.login.registration VAULT_SECRET_ID_UNREADABLE'],
    ],
    [
      'a wrong authority for Vault',
      async () => ({ VAULT_CACERT: await otherAuthority() }),
      ['vault VAULT_CERTIFICATE'],
    ],
    [
      'a wrong authority for Temporal',
      async () => ({ TEMPORAL_TLS_SERVER_CA_CERT_PATH: await otherAuthority() }),
      ['temporal TEMPORAL_CERTIFICATE'],
    ],
    ['a wrong authority for S3', async () => ({ AWS_CA_BUNDLE: await otherAuthority() }), ['s3 S3_CERTIFICATE']],
    [
      'no TLS for Temporal',
      async () => ({ TEMPORAL_ADDRESS: 'temporal.example.com:7233', ...withoutTemporalTls() }),
      ['temporal TEMPORAL_SETTINGS'],
    ],
    [
      'a wrong authority for Prometheus',
      async () => ({ BYOC_PROM_CA: await otherAuthority() }),
      ['prometheus PROMETHEUS_CERTIFICATE'],
    ],
    [
      'a wrong authority for the control plane',
      async () => ({ BYOC_CONTROL_PLANE_CA: await otherAuthority() }),
      ['control-plane CONTROL_PLANE_CERTIFICATE'],
    ],
    [
      'a wrong authority for the Insight Engine',
      async () => ({ BYOC_INSIGHT_CA: await otherAuthority() }),
      ['insight INSIGHT_CERTIFICATE'],
    ],
    [
      'a wrong authority for the keys of callers',
      async () => ({ BYOC_AGENT_JWT_CA: await otherAuthority() }),
      ['agent.caller-keys CALLER_KEYS_UNREADABLE'],
    ],
    [
      'a wrong password of Prometheus',
      async () => ({ PROM_PASSWORD: 'canary-password' }),
      ['prometheus.queries PROMETHEUS_DENIED'],
    ],
    [
      'a query that is none',
      async () => ({ BYOC_METRICS: await connector.save('bad.yaml', 'queries: [{ name: bad, promql: "sum(" }]') }),
      ['prometheus.queries PROMETHEUS_QUERY'],
    ],
    [
      'queries that are no YAML',
      async () => ({ BYOC_METRICS: await connector.save('worse.yaml', '{') }),
      ['metrics METRICS_CONFIG'],
    ],
    [
      'a namespace of Temporal that is not there',
      async () => ({ TEMPORAL_NAMESPACE: 'nowhere' }),
      ['temporal.namespace TEMPORAL_NAMESPACE_MISSING'],
    ],
    ['a bucket that is not there', async () => ({ S3_BUCKET: 'nowhere' }), ['s3 BUCKET_MISSING']],
    ['keys that S3 does not know', async () => ({ AWS_ACCESS_KEY_ID: 'nobody' }), ['s3 S3_CREDENTIALS']],
    ['a wrong secret key of S3', async () => ({ AWS_SECRET_ACCESS_KEY: 'canary-key' }), ['s3 S3_CREDENTIALS']],
    ['no bucket', async () => ({ S3_BUCKET: '' }), ['s3 BUCKET_UNSET']],
    ['a context that is not there', async () => ({ BYOC_KUBE_CONTEXT: 'nowhere' }), ['kubernetes KUBERNETES_SETTINGS']],
    [
      'a kubeconfig that does not verify',
      async () => ({
        KUBECONFIG: await kubeconfig(({ clusters: [one] }) => (one.cluster['insecure-skip-tls-verify'] = true)),
      }),
      ['kubernetes KUBERNETES_SETTINGS'],
    ],
    [
      'a token that the API server does not know',
      async () => ({ KUBECONFIG: await withToken('canary-token') }),
      ['kubernetes KUBERNETES_DENIED'],
    ],
    [
      'a broken policy',
      async () => ({ BYOC_POLICY: await connector.save('broken.yaml', 'kind: Policy') }),
      ['policy POLICY_INVALID'],
    ],
    ['a misspelt setting', async () => ({ BYOC_POLICI: 'x' }), ['settings.unknown SETTING_UNKNOWN']],
    [
      'the root token of Vault',
      async () => ({ ...withoutLogins(), VAULT_TOKEN: stack.vault.token }),
      ['vault.login.execution VAULT_TOKEN_POWERFUL'],
    ],
    [
      'a token that Vault does not know',
      async () => ({ ...withoutLogins(), VAULT_TOKEN: 'canary-token' }),
      ['vault.login.execution VAULT_LOGIN_REFUSED'],
    ],
    [
      'a part that is somebody else',
      async () => ({
        CONTROL_PLANE_URL: stack.controlPlane.url,
        VAULT_ADDR: stack.controlPlane.url,
        VAULT_CACERT: stack.controlPlane.caFile,
      }),
      ['vault VAULT_NOT_VAULT'],
    ],
  ])(
    'tells of %s',
    async (_what, change, expected) => {
      const findings = await doctor(await change());
      expect(told(findings)).toEqual(expect.arrayContaining(expected));
      for (const { says, todo } of troubles(findings)) expect(`${says} ${todo}`).not.toContain('canary');
    },
    60_000,
  );

  it('does not stop at the first: the rest is looked at, and what stands on it is skipped', async () => {
    const findings = await doctor({
      VAULT_ROLE_ID_EXECUTION: 'nobody',
      PROM_PASSWORD: 'wrong',
      BYOC_AUDIT_LOCAL_DAYS: 'x',
    });
    expect(told(findings)).toEqual([
      'settings SETTING_WRONG',
      'vault.login.execution VAULT_LOGIN_REFUSED',
      'prometheus.queries PROMETHEUS_DENIED',
    ]);
    expect(skipped(findings)).toEqual([
      'vault.rights.execution because vault.login.execution is wrong',
      'signing-keys because vault.login.execution is wrong',
      'approvers because vault.login.execution is wrong',
    ]);
  }, 60_000);

  it('exits with 1, prints no secret, and shows what was meant', async () => {
    const { code, stdout } = await command({ PROM_PASSWORD: 'canary-password', BYOC_POLCY: 'x' });
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^wrong +prometheus.queries +Prometheus does not let us in. It answered 401. → Set PROM_TOKEN/m,
    );
    expect(stdout).toContain('did you mean BYOC_POLICY?');
    for (const secret of ['canary', ...(await everySecret())]) expect(stdout).not.toContain(secret);
  }, 60_000);

  it('verifies certificates whatever the environment says, and says so', async () => {
    const { code, stdout } = await command({ NODE_TLS_REJECT_UNAUTHORIZED: '0', BYOC_PROM_CA: await otherAuthority() });
    expect(code).toBe(1);
    expect(stdout).toMatch(/^wrong +settings.tls +NODE_TLS_REJECT_UNAUTHORIZED is set so/m);
    expect(stdout).toMatch(/^wrong +prometheus +The certificate of Prometheus/m);
  }, 60_000);
});

describe('byoc doctor, where a part is not as it should be', () => {
  const restores: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const restore of restores.splice(0)) await restore();
  });
  const vault = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) =>
    callVault(stack.vault, method, path, body);
  const mendVault = () => applyVaultSetup(stack.vault, vaultSetup(connector.clusterId));
  const schedule = (name: string) =>
    connector.client.client.schedule.getHandle(scheduleIdOf(connector.clusterId, name));

  it('Vault: a role that may do more than it should, or less', async () => {
    restores.push(mendVault);
    const name = vaultNameOf(connector.clusterId, 'registration');
    const more = `path "secret/data/byoc/${connector.clusterId}/*" { capabilities = ["create", "read"] }`;
    const all = 'path "sys/capabilities-self" { capabilities = ["update"] }';
    await vault('POST', `sys/policies/acl/${name}`, {
      policy: `${policyOf(connector.clusterId, 'registration')}${more}\n${all}`,
    });
    const findings = await doctor();
    expect(told(findings)).toContain('vault.rights.registration VAULT_RIGHT_EXCESS');
    expect(saysOf(findings, 'VAULT_RIGHT_EXCESS')).toContain(`secret/data/byoc/${connector.clusterId}/signing-keys`);
    expect(saysOf(findings, 'VAULT_RIGHT_EXCESS')).toContain('It may write');

    const execution = vaultNameOf(connector.clusterId, 'execution');
    await vault('POST', `sys/policies/acl/${execution}`, {
      policy: 'path "auth/token/*" { capabilities = ["read", "update"] }',
    });
    expect(saysOf(await doctor(), 'VAULT_RIGHT_MISSING')).toContain('signing-keys');
  }, 60_000);

  it('Vault: JWTs for somebody else', async () => {
    restores.push(mendVault);
    const entity = `identity/entity/name/${vaultNameOf(connector.clusterId, 'metrics')}`;
    await vault('POST', entity, { metadata: { cluster_id: 'another', role: 'metrics' } });
    expect(told(await doctor())).toEqual(['vault.jwt.metrics VAULT_JWT_WRONG']);
  }, 60_000);

  it('Vault: a wrapped secret_id is looked at and left for the worker', async () => {
    const path = `auth/approle/role/${vaultNameOf(connector.clusterId, 'metrics')}/secret-id`;
    const ca = await readFile(stack.vault.caFile, 'utf8');
    const { text } = await send(
      'POST',
      `${stack.vault.address}/v1/${path}`,
      { ca, token: stack.vault.token, wrapTtl: '60s' },
      '{}',
    );
    const { token } = (JSON.parse(text) as { wrap_info: { token: string } }).wrap_info;
    const wrapped = {
      VAULT_SECRET_ID_FILE_METRICS: await connector.save('wrapped', token),
      VAULT_SECRET_ID_WRAPPED_AT_METRICS: path,
    };
    expect(told(await doctor(wrapped))).toEqual([]);
    expect(told(await doctor({ ...wrapped, VAULT_SECRET_ID_WRAPPED_AT_METRICS: 'elsewhere' }))).toEqual([
      'vault.login.metrics VAULT_WRAPPED_ELSEWHERE',
    ]);
    // It is still good.
    await callVault({ ...stack.vault, token }, 'POST', 'sys/wrapping/unwrap', {});
    expect(told(await doctor(wrapped))).toEqual(['vault.login.metrics VAULT_WRAPPED_USED']);
  }, 60_000);

  it('keys: revoked, broken, ending', async () => {
    const pem = await readFile(connector.prepared.publicKeyPath, 'utf8');
    const put = (data: object) => connector.putVaultEntry('signing-keys/development', data);
    restores.push(() => put({ pem }));
    await put({ pem, revokedAt: '2026-01-31T12:00:00Z' });
    const findings = await doctor();
    expect(told(findings)).toEqual(['signing-keys SIGNING_KEYS_NONE_VALID']);
    expect(saysOf(findings, 'SIGNING_KEYS_NONE_VALID')).toBe('No signing key counts: 0 of 1 key may sign, 1 revoked.');
    await put({ pem, notAfter: new Date(Date.now() + 86_400_000).toISOString() });
    expect(told(await doctor())).toEqual(['signing-keys SIGNING_KEY_EXPIRING']);
    await put({ pem, revoked: 'yes' });
    const broken = await doctor();
    expect(told(broken)).toEqual(['signing-keys SIGNING_KEYS_UNREADABLE']);
    expect(saysOf(broken, 'SIGNING_KEYS_UNREADABLE')).toContain('development');
    await connector.putVaultEntry('approvers/development', {
      pem: generateKeyPair().privateKeyPem,
      identity: 'bob@example.com',
    });
    restores.push(() =>
      connector.putVaultEntry('approvers/development', {
        pem: generateKeyPair().publicKeyPem,
        identity: 'bob@example.com',
      }),
    );
    const approvers = await doctor();
    expect(told(approvers)).toContain('approvers APPROVERS_UNREADABLE');
    expect(saysOf(approvers, 'APPROVERS_UNREADABLE')).not.toContain('BEGIN');
  }, 60_000);

  it('payload keys: there, broken, or none', async () => {
    const encrypted = { BYOC_PAYLOAD_CODEC: 'vault' };
    expect(told(await doctor(encrypted))).toEqual([]);
    const folder = `byoc/${connector.clusterId}/payload-keys`;
    await connector.putVaultEntry('payload-keys/broken', { key: 'canary-payload-key' });
    const broken = await doctor(encrypted);
    expect(told(broken)).toEqual(['payload-keys PAYLOAD_KEYS_UNREADABLE']);
    expect(saysOf(broken, 'PAYLOAD_KEYS_UNREADABLE')).not.toContain('canary');
    await vault('DELETE', `secret/metadata/${folder}/broken`);
    await vault('DELETE', `secret/metadata/${folder}/first`);
    restores.push(mendVault);
    expect(told(await doctor(encrypted))).toEqual(['payload-keys PAYLOAD_KEYS_NONE']);
  }, 60_000);

  it('Temporal: a schedule that is paused, with why, or gone', async () => {
    await schedule('heartbeat').pause('maintenance of the network');
    restores.push(() => schedule('heartbeat').unpause('over'));
    const findings = await doctor();
    expect(told(findings)).toEqual(['temporal.schedules SCHEDULE_PAUSED']);
    expect(saysOf(findings, 'SCHEDULE_PAUSED')).toContain('heartbeat is paused: maintenance of the network');
    await schedule('reconcile').delete();
    restores.push(async () => {
      await connector.stopWorker();
      await connector.startWorker();
    });
    expect(told(await doctor())).toContain('temporal.schedules SCHEDULE_MISSING');
  }, 90_000);

  it('Temporal: a namespace without search attributes, where nobody works', async () => {
    await connector.temporal('operator', 'namespace', 'create', '-n', 'empty', '--address', stack.temporal.address);
    const findings = await until('the namespace', async () => {
      const now = await doctor({ TEMPORAL_NAMESPACE: 'empty' });
      return told(now).includes('temporal.namespace TEMPORAL_NAMESPACE_MISSING') ? undefined : now;
    });
    expect(new Set(told(findings))).toEqual(
      new Set([
        'temporal.search-attributes SEARCH_ATTRIBUTES_MISSING',
        'temporal.queues QUEUE_UNPOLLED',
        'temporal.schedules SCHEDULE_MISSING',
      ]),
    );
    const env = { ...settings, TEMPORAL_NAMESPACE: 'empty' };
    const first = await examine({ env, nodeVersion: '24.0.0', expectsWorker: false, now: () => new Date() });
    expect(told(first.findings)).toEqual(['temporal.search-attributes SEARCH_ATTRIBUTES_MISSING']);
  }, 90_000);

  it('Kubernetes: an account that may do nothing, and a certificate by another authority', async () => {
    await connector.kubectl('create', 'serviceaccount', 'nobody', '-n', connector.namespace);
    const token = (await connector.kubectl('create', 'token', 'nobody', '-n', connector.namespace)).trim();
    const findings = await doctor({ KUBECONFIG: await withToken(token) });
    const account = `system:serviceaccount:${connector.namespace}:nobody`;
    expect(saysOf(findings, 'KUBERNETES_RIGHT_MISSING')).toContain(
      `${account} may not get secrets in ${STATE_NAMESPACE}.`,
    );
    expect(told(findings)).toContain('freeze KUBERNETES_RIGHT_MISSING');
    const { ca } = await createAuthority();
    const data = Buffer.from(ca).toString('base64');
    const other = await kubeconfig(({ clusters: [one] }) => (one.cluster['certificate-authority-data'] = data));
    expect(told(await doctor({ KUBECONFIG: other }))).toEqual(['kubernetes KUBERNETES_CERTIFICATE']);
  }, 60_000);

  it('Kubernetes: an account for packages that may lift the freeze, or is not there, or is ours', async () => {
    const binding = ['rolebinding', 'packages', '-n', STATE_NAMESPACE];
    restores.push(() => connector.kubectl('delete', ...binding));
    await connector.kubectl('create', ...binding, '--clusterrole=edit', '--serviceaccount=default:packages');
    expect(saysOf(await doctor(), 'APPLY_ACCOUNT_EXCESS')).toContain(
      `default/packages may patch configmaps in ${STATE_NAMESPACE}.`,
    );
    const gone = await doctor({ BYOC_APPLY_SERVICE_ACCOUNT: 'default/nobody' });
    expect(told(gone)).toEqual(['kubernetes.apply-account APPLY_ACCOUNT_UNUSABLE']);
    expect(told(await doctor({ BYOC_APPLY_SERVICE_ACCOUNT: '' }))).toEqual([
      'kubernetes.apply-account APPLY_ACCOUNT_SHARED',
    ]);
  }, 60_000);

  it.each(['registration', 'metrics', 'execution'] as const)(
    'Kubernetes: what the chart grants %s is what it needs',
    async (role) => {
      const { clusterId, namespace, prepared } = connector;
      const rights = await installRights(stack, prepared.folder, { clusterId, namespaces: [namespace] });
      restores.push(() => rights.remove());
      const findings = await doctor({ ...(await rights.settingsOf(role)), BYOC_ROLES: role });
      const ofRights = findings.filter(({ check }) => /^kubernetes(\.rights|\.apply-account)?$/.test(check));
      expect(told(ofRights)).toEqual([]);
      expect(ofRights.map(({ says }) => says).join('\n')).toContain(`${rights.nameOf(role)} has all`);
    },
    60_000,
  );

  it('the freeze: set, by whom and why, or gone', async () => {
    restores.push(() => connector.byoc('resume', '--reason', 'over'));
    await connector.byoc('stop', '--all', '--reason', 'checkout is down');
    const findings = await doctor();
    expect(told(findings)).toEqual(['freeze FROZEN']);
    expect(saysOf(findings, 'FROZEN')).toMatch(/^Execution is frozen by .+: checkout is down\.$/);
    await connector.kubectl('delete', 'configmap', freezeNameOf(connector.clusterId), '-n', STATE_NAMESPACE);
    expect(told(await doctor())).toEqual(['freeze FREEZE_MISSING']);
  }, 60_000);

  it('S3: a bucket without Object Lock, versions and encryption', async () => {
    const { s3 } = stack;
    const client = await s3ClientOf(s3);
    await client.send(new CreateBucketCommand({ Bucket: 'plain' }));
    client.destroy();
    expect(told(await doctor({ S3_BUCKET: 'plain', BYOC_S3_SSE: '' }))).toEqual([
      's3.object-lock OBJECT_LOCK_OFF',
      's3.versioning VERSIONING_OFF',
      's3.encryption ENCRYPTION_UNSET',
    ]);
  }, 60_000);

  it('the control plane: an error, a redirect, a clock an hour off, a certificate that ends tomorrow', async () => {
    const authority = await createAuthority();
    const pair = await authority.issue('other', { notAfter: new Date(Date.now() + 86_400_000) });
    const server: TestServer = await startServer(status(200), pair);
    restores.push(() => server.close());
    const other = {
      CONTROL_PLANE_URL: server.address,
      BYOC_CONTROL_PLANE_CA: await connector.save('cp.pem', authority.ca),
    };
    expect(told(await doctor(other))).toEqual(expect.arrayContaining(['certificates CERTIFICATE_EXPIRING']));
    server.answer = status(502);
    expect(told(await doctor(other))).toContain('control-plane CONTROL_PLANE_UNREACHABLE');
    server.answer = status(307, { location: 'https://elsewhere.example.com' });
    expect(told(await doctor(other))).toContain('control-plane CONTROL_PLANE_NOT_THERE');
    server.answer = status(200, { date: new Date(Date.now() + 3_600_000).toUTCString() });
    const findings = await doctor(other);
    expect(saysOf(findings, 'CLOCK_OFF')).toMatch(/^The clock of the control plane is 3[56]\d\d s ahead of ours\.$/);
    expect(
      server.requests.every(
        ({ method, headers, body }) => method === 'GET' && !headers.authorization && body.length === 0,
      ),
    ).toBe(true);
    server.answer = json({});
  }, 60_000);
});

describeOnSmallDisk('byoc doctor on a disk of its own', () => {
  it('tells that nothing can be written', async () => {
    const disk = new SmallDisk(8_192);
    try {
      expect(told(await doctor({ BYOC_DATA_DIR: disk.path }))).toEqual(['disk DISK_SMALL']);
      disk.makeReadOnly();
      expect(told(await doctor({ BYOC_DATA_DIR: disk.path }))).toEqual(['disk DISK_UNWRITABLE']);
    } finally {
      disk.unmount();
    }
  }, 60_000);
});

/** In this order: each is back before the next one goes. */
describe('byoc doctor, where a part is away', () => {
  it.each<[ServerName, string]>([
    ['prometheus', 'prometheus PROMETHEUS_UNREACHABLE'],
    ['control-plane', 'control-plane CONTROL_PLANE_UNREACHABLE'],
    ['seaweedfs', 's3 S3_UNREACHABLE'],
    ['kube-apiserver', 'kubernetes KUBERNETES_UNREACHABLE'],
    ['openbao', 'vault VAULT_UNREACHABLE'],
  ])(
    'tells that %s is',
    async (part, expected) => {
      await stack.kill(part);
      try {
        const findings = await doctor();
        expect(told(findings)).toContain(expected);
        const [check = ''] = expected.split(' ');
        for (const line of skipped(findings)) expect(line).toContain(`because ${check} is unreachable`);
      } finally {
        await stack.restart(part);
      }
    },
    120_000,
  );

  it('tells that Vault is sealed, and exits with 3: nothing is wrong here', async () => {
    await callVault(stack.vault, 'POST', 'sys/seal', {});
    try {
      const { code, stdout } = await command({});
      expect(stdout).toMatch(/^unreachable +vault +Vault at https:\S+ is sealed. → Unseal it/m);
      expect(stdout).toMatch(/^skipped +signing-keys +because vault is unreachable$/m);
      expect(code).toBe(3);
    } finally {
      await stack.restart('openbao'); // which unseals it
    }
  }, 120_000);

  it('tells that Temporal is', async () => {
    await stack.kill('temporal');
    const findings = await doctor();
    expect(told(findings)).toContain('temporal TEMPORAL_UNREACHABLE');
    expect(skipped(findings)).toContain('temporal.schedules because temporal is unreachable');
  }, 60_000);
});

function withoutTemporalTls(): Record<string, string> {
  const names = Object.keys(settings).filter((name) => name.startsWith('TEMPORAL_TLS'));
  return Object.fromEntries(names.map((name) => [name, '']));
}

async function otherAuthority(): Promise<string> {
  return connector.save('other-ca.pem', (await createAuthority()).ca);
}

function withoutLogins(): Record<string, string> {
  const names = Object.keys(settings).filter((name) => /^VAULT_(ROLE_ID|SECRET_ID)/.test(name));
  return Object.fromEntries(names.map((name) => [name, '']));
}

interface Kubeconfig {
  readonly clusters: [{ cluster: Record<string, unknown> }];
  readonly users: [{ user: Record<string, unknown> }];
}

async function kubeconfig(change: (config: Kubeconfig) => void): Promise<string> {
  const config = parseYaml(await readFile(stack.kubernetes.kubeconfig, 'utf8')) as Kubeconfig; // the stack's own form
  change(config);
  return connector.save('other.kubeconfig', JSON.stringify(config));
}

function withToken(token: string): Promise<string> {
  return kubeconfig(({ users: [one] }) => (one.user = { token }));
}
