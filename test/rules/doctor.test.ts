import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createAuthority } from '../../dev/authority.ts';
import { generateKeyPair } from '../../client/sign.ts';
import { FINDINGS } from '../../worker/doctor/catalogue.ts';
import { sharedChecks } from '../../worker/doctor/certificates.ts';
import type { Check, CheckGroup, Finding } from '../../worker/doctor/check.ts';
import { exitCodeOf, found, ok, runChecks, summaryOf } from '../../worker/doctor/check.ts';
import { diskChecks } from '../../worker/doctor/disk.ts';
import { examine } from '../../worker/doctor/doctor.ts';
import { Evidence } from '../../worker/doctor/evidence.ts';
import { processChecks } from '../../worker/doctor/process.ts';
import { trustChecks } from '../../worker/doctor/trust.ts';
import { checkConfig, readConfig } from '../../worker/config.ts';
import { workerSettingNames } from '../../worker/settings/catalogue.ts';
import { errorOf } from '../support/expect-code.ts';
import { describeOnSmallDisk, SmallDisk } from '../support/small-disk.ts';

// R23, R26, R29

const NOW = new Date();
const DAY_MS = 86_400_000;
const codesOf = (findings: readonly Finding[]) => findings.map(({ code, status }) => code ?? status);
const saysOf = (findings: readonly Finding[]) => findings.map(({ says }) => says).join('\n');
const run = ({ checks }: CheckGroup) => runChecks(checks);

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-doctor-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const save = async (name: string, text: string) => {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
};

describe('the findings of byoc doctor', () => {
  it('are what docs/doctor.md shows, row by row', async () => {
    const document = await readFile(join(import.meta.dirname, '../../docs/doctor.md'), 'utf8');
    const shown = document.split('\n').flatMap((line) => {
      const [, code, severity, todo] = /^\| `([A-Z0-9_]+)` \| (\S+) \| .+ \| (.+) \|$/.exec(line) ?? [];
      return code ? [[code, { severity, todo: todo?.replaceAll('\\|', '|') }]] : [];
    });
    expect(Object.fromEntries(shown)).toEqual(FINDINGS);
    expect(shown).toHaveLength(Object.keys(FINDINGS).length);
  });
});

describe('the run of checks', () => {
  const check = (name: string, more: Partial<Check> = {}): Check => ({
    name,
    run: async () => [ok('fine')],
    ...more,
  });

  it('tells in the order of the checks, whichever was first', async () => {
    const slow = check('slow', { run: async () => (await sleep(30), [ok('at last')]) });
    expect((await runChecks([slow, check('quick')])).map(({ check }) => check)).toEqual(['slow', 'quick']);
  });

  it('skips what stands on something that failed, and names the one that it began with', async () => {
    const findings = await runChecks([
      check('ground', { run: async () => [found('VAULT_SEALED', 'It is sealed.')] }),
      check('wall', { needs: ['ground'] }),
      check('roof', { needs: ['wall'] }),
      check('garden', { after: ['ground'] }),
    ]);
    expect(findings.slice(1)).toEqual([
      { check: 'wall', status: 'skipped', says: 'because ground is unreachable' },
      { check: 'roof', status: 'skipped', says: 'because ground is unreachable' },
      { check: 'garden', status: 'ok', says: 'fine' },
    ]);
  });

  it('goes on after a warning', async () => {
    const warned = check('warned', { run: async () => [found('PLAIN_HTTP', 'It is plain.')] });
    expect(codesOf(await runChecks([warned, check('next', { needs: ['warned'] })]))).toEqual(['PLAIN_HTTP', 'ok']);
  });

  it('ends one that hangs, and tells it to give up', async () => {
    let gaveUp = false;
    const hanging = check('hanging', {
      timeoutMs: 20,
      run: (signal) => new Promise(() => signal.addEventListener('abort', () => (gaveUp = true))),
    });
    expect(codesOf(await runChecks([hanging, check('next')]))).toEqual(['CHECK_TIMED_OUT', 'ok']);
    expect(gaveUp).toBe(true);
  });

  it('tells of a check that fails by the kind of error alone, because its text may quote anything', async () => {
    const failing = check('failing', { run: () => Promise.reject(new TypeError('token s.canary')) });
    const findings = await runChecks([failing]);
    expect(codesOf(findings)).toEqual(['CHECK_FAILED']);
    expect(saysOf(findings)).toBe('The check itself failed (TypeError).');
  });

  it.each([
    [['ok', 'PLAIN_HTTP'], 0],
    [['ok', 'VAULT_SEALED'], 3],
    [['VAULT_SEALED', 'FROZEN'], 1],
    [['SETTING_WRONG'], 1],
  ] as const)('exits for %j with %i', async (told, code) => {
    const all = told.map((one) => (one === 'ok' ? ok('') : found(one, '')));
    expect(exitCodeOf(summaryOf(await runChecks([check('x', { run: async () => all })])))).toBe(code);
  });
});

describe('settings', () => {
  const look = (env: NodeJS.ProcessEnv, nodeVersion = '24.1.0') => {
    const checked = checkConfig(env);
    const problems = 'problems' in checked ? checked.problems : [];
    return run(processChecks({ env, nodeVersion, problems, known: workerSettingNames() }));
  };
  const GOOD = { BYOC_CLUSTER_ID: 'prod', BYOC_DATA_DIR: '/data', COSIGN_KEY: 'key' };

  it('that are good are told as such', async () => {
    expect(codesOf(await look(GOOD))).toEqual(['ok', 'ok', 'ok', 'ok']);
  });

  it('that are wrong are all told, also what does not go together', async () => {
    const findings = await look({
      NODE_ENV: 'production',
      BYOC_ROLES: 'metrics,execution',
      BYOC_CLUSTER_ID: 'Not A Label',
      VAULT_ADDR: 'http://vault.example.com',
      VAULT_ROLE_ID: 'half-a-login',
      PROM_URL: 'https://prometheus.example.com',
      PROM_USERNAME: 'one-half',
      S3_BUCKET: 'audit',
      BYOC_S3_KMS_KEY_ID: 'a-key',
      BYOC_AGENT_PORT: '8005',
      BYOC_AGENT_HOST: '0.0.0.0',
      BYOC_AGENT_CLIENT_CA: '/ca.pem',
    });
    const wrong = findings.filter(({ check }) => check === 'settings').map(({ says }) => says.split(' ')[0]);
    expect(new Set(wrong)).toEqual(
      new Set([
        'BYOC_CLUSTER_ID',
        'BYOC_DATA_DIR',
        'VAULT_ADDR',
        'INSIGHT_URL',
        'PROM_PASSWORD',
        'BYOC_S3_KMS_KEY_ID',
        'BYOC_AGENT_CLIENT_CA',
      ]),
    );
  });

  it('that are wrong are told by the worker together with those that are none: one may be what was meant', () => {
    const error = errorOf(() => readConfig({ BYOC_CLUSTER_ID: 'prod', COSIGN_KEY: 'key', BYOC_DATADIR: '/data' }));
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      detail: 'BYOC_DATA_DIR is missing. BYOC_DATADIR is no setting; did you mean BYOC_DATA_DIR?',
    });
  });

  it('are told by the worker in the same words', () => {
    const error = errorOf(() => readConfig({ BYOC_CLUSTER_ID: 'prod', BYOC_AUDIT_LOCAL_DAYS: 'x' }));
    const checked = checkConfig({ BYOC_CLUSTER_ID: 'prod', BYOC_AUDIT_LOCAL_DAYS: 'x' });
    const says = 'problems' in checked ? checked.problems.map((one) => one.says) : [];
    expect(says.length).toBeGreaterThan(2);
    for (const one of says) expect(error.detail).toContain(one);
  });

  it.each([
    ['BYOC_DATADIR', 'BYOC_DATA_DIR'],
    ['BYOC_POLCY', 'BYOC_POLICY'],
    ['byoc_data_dir', 'BYOC_DATA_DIR'],
    ['BYOC_AGNT_PORT', 'BYOC_AGENT_PORT'],
    ['TEMPORAL_ADRESS', 'TEMPORAL_ADDRESS'],
    ['VAULT_ADDRESS', undefined],
    ['VAULT_ADR', 'VAULT_ADDR'],
    ['PROM_URLS', 'PROM_URL'],
  ])('that are misspelt are told with what was meant: %s', async (name, meant) => {
    const findings = (await look({ ...GOOD, [name]: 'x' })).filter(({ check }) => check === 'settings.unknown');
    if (meant === undefined) expect(codesOf(findings)).toEqual(['ok']);
    else expect(saysOf(findings)).toBe(`${name} is no setting; did you mean ${meant}?`);
  });

  it('that are misspelt and were to have payloads encrypted are wrong: the worker does not start with them', async () => {
    const env = { ...GOOD, BYOC_PAYLOAD_CODEK: 'vault' };
    const findings = (await look(env)).filter(({ check }) => check === 'settings.unknown');
    expect(codesOf(findings)).toEqual(['SETTING_WRONG']);
    expect(errorOf(() => readConfig(env)).detail).toContain(saysOf(findings));
  });

  it.each(['BYOC_CONNECTOR_SERVICE_HOST', 'BYOC_CONNECTOR_PORT_8005_TCP_ADDR', 'BYOC_KUBECTL_BIN', 'VAULT_FORMAT'])(
    'of others are none of ours: %s',
    async (name) => {
      expect(codesOf(await look({ ...GOOD, [name]: 'x' }))).toEqual(['ok', 'ok', 'ok', 'ok']);
    },
  );

  it.each([
    ['BYOC_AGENTS_PORT', 'tcp://10.0.0.7:8005'], // a Service named byoc-agents
    ['AWS_ENDPOINT_URL_STS', 'https://sts.example.com'],
    ['TEMPORAL_GRPC_META_TENANT', 'shop'],
    ['VAULT_SECRET_ID_FILE_REGISTRATION', '/file'],
  ])('of others, or of a family, are none of the misspelt ones: %s', async (name, value) => {
    expect(saysOf((await look({ ...GOOD, [name]: value })).filter(({ check }) => check === 'settings.unknown'))).toBe(
      'None is misspelt.',
    );
  });

  it('of the table in docs/settings.md are all known', async () => {
    const document = await readFile(join(import.meta.dirname, '../../docs/settings.md'), 'utf8');
    const cells = document.split('\n').flatMap((line) => /^\| (`[^|]+) \|/.exec(line)?.[1] ?? []);
    const names = cells.flatMap((cell) => cell.match(/[A-Z][A-Z0-9_]+\b(?!…)/g) ?? []);
    expect(names.length).toBeGreaterThan(40);
    const findings = await look({ ...GOOD, ...Object.fromEntries(names.map((name) => [name, ''])) });
    expect(saysOf(findings.filter(({ check }) => check === 'settings.unknown'))).toBe('None is misspelt.');
  });

  it('that Kubernetes has overwritten for a Service are told with what to do', async () => {
    const findings = await look({ ...GOOD, BYOC_AGENT_PORT: 'tcp://10.0.0.7:8005' });
    expect(saysOf(findings)).toContain('enableServiceLinks');
  });

  it.each([
    [{ VAULT_SKIP_VERIFY: 'false' }, 'VERIFICATION_OFF'],
    [{ NODE_TLS_REJECT_UNAUTHORIZED: '0' }, 'VERIFICATION_OFF'],
    [{ AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9000', NODE_ENV: 'production' }, 'PLAIN_HTTP'],
    [{ AWS_ENDPOINT_URL_S3: 'http://s3.example.com' }, 'PLAIN_HTTP'],
  ])('that weaken TLS are told: %j', async (env, code) => {
    expect(codesOf(await look({ ...GOOD, ...env }))).toContain(code);
  });

  it('of a simulation are told as such, and nothing that is made up is looked at', async () => {
    const env = { SIMULATION: 'true', BYOC_DATA_DIR: folder, TEMPORAL_ADDRESS: '127.0.0.1:1' };
    const looked = await examine({ env, nodeVersion: '24.0.0', expectsWorker: true, now: () => NOW });
    expect(looked.simulated).toBe(true);
    expect(codesOf(looked.findings)).toContain('SIMULATED');
    expect(looked.findings.some(({ check }) => /^(vault|kubernetes|s3|prometheus)/.test(check))).toBe(false);
    const wrong = { ...env, VAULT_ADDR: 'https://vault.example.com', NODE_ENV: 'production' };
    const refused = await examine({ env: wrong, nodeVersion: '24.0.0', expectsWorker: true, now: () => NOW });
    expect(saysOf(refused.findings.filter(({ code }) => code === 'SETTING_WRONG'))).toContain(
      'SIMULATION is true, and',
    );
  });

  it('and an old Node.js are told', async () => {
    expect(codesOf(await look(GOOD, '22.4.0'))[0]).toBe('NODE_TOO_OLD');
  });

  it('that are wrong or do not go together are set aside, and the rest is looked at', async () => {
    const { findings } = await examine({
      env: {
        ...GOOD,
        COSIGN_KEY: generateKeyPair().publicKeyPem,
        BYOC_PROM_CERT: '/x',
        PROM_URL: 'https://p.example.com',
      },
      nodeVersion: '24.0.0',
      expectsWorker: false,
      now: () => NOW,
    });
    expect(findings.filter(({ check }) => check === 'settings')).toHaveLength(3);
    expect(findings.find(({ check }) => check === 'signing-keys')).toMatchObject({ status: 'ok' });
  });

  it('that say too little leave the parts alone, and the exit code is 1', async () => {
    const { clusterId, findings } = await examine({
      env: { BYOC_CLUSTER_ID: 'prod' },
      nodeVersion: '24.0.0',
      expectsWorker: true,
      now: () => NOW,
    });
    expect(clusterId).toBeUndefined();
    expect(findings.filter(({ check }) => check === 'vault')).toEqual([
      { check: 'vault', status: 'skipped', says: 'because settings is wrong' },
    ]);
    expect(exitCodeOf(summaryOf(findings))).toBe(1);
  });
});

describe('the disk', () => {
  const look = (dataDir: string, wantedBytes = 1) => run(diskChecks({ dataDir, wantedBytes }));

  it('is well where a file can be written and made durable; nothing of it stays', async () => {
    const dataDir = join(folder, 'data');
    await mkdir(join(dataDir, 'audit'), { recursive: true, mode: 0o700 });
    expect(codesOf(await look(dataDir))).toEqual(['ok']);
    expect(await readdir(dataDir)).toEqual(['audit']);
  });

  it('is told where others can read the log, where there is little room, and where it is a file', async () => {
    const dataDir = join(folder, 'open');
    await mkdir(join(dataDir, 'audit'), { recursive: true });
    await chmod(join(dataDir, 'audit'), 0o755);
    expect(codesOf(await look(dataDir, Number.MAX_SAFE_INTEGER))).toEqual(['DISK_SMALL', 'DISK_OPEN']);
    expect(codesOf(await look(await save('file', '')))).toEqual(['DISK_UNWRITABLE']);
  });

  it('need not be there before the first start', async () => {
    expect(saysOf(await look(join(folder, 'a', 'b')))).toContain('the worker makes it');
  });
});

describeOnSmallDisk('a disk of its own', () => {
  it('is told where it is full, and where it is read-only', async () => {
    const disk = new SmallDisk(64);
    try {
      const look = () => run(diskChecks({ dataDir: disk.path, wantedBytes: 1 }));
      expect(codesOf(await look())).toEqual(['DISK_FULL']); // less than a package needs
      await writeFile(join(disk.path, 'all'), Buffer.alloc(64 * 1024)).catch(() => undefined);
      expect(saysOf(await look())).toContain('ENOSPC');
      disk.makeReadOnly();
      expect(codesOf(await look())).toEqual(['DISK_UNWRITABLE']);
    } finally {
      disk.unmount();
    }
  });
});

describe('what is trusted', () => {
  const POLICY = 'apiVersion: neuralops.io/v1\nkind: Policy\n';
  const inDays = (days: number) => new Date(NOW.getTime() + days * DAY_MS).toISOString();
  const key = (name: string, more: object = {}) => ({
    name,
    identity: `${name}@example.com`,
    pem: generateKeyPair().publicKeyPem,
    ...more,
  });
  const look = async (policy: string, approvers: readonly object[], cosignKey = generateKeyPair().publicKeyPem) =>
    run(
      trustChecks({
        clusterId: 'prod',
        policyPath: await save('policy.yaml', policy),
        trustedRootPath: undefined,
        cosignKey,
        approversPath: await save('approvers.yaml', JSON.stringify(approvers)), // YAML takes JSON as it is
        payloadCodec: 'off',
        isProduction: false,
        vault: undefined,
        now: () => NOW,
      }),
    );

  it('is well with a policy, a key, and people enough', async () => {
    expect(codesOf(await look(POLICY, [key('bob'), key('carol')]))).toEqual(['ok', 'ok', 'ok', 'ok']);
  });

  it.each<[string, string, object[], string]>([
    ['a broken policy', 'apiVersion: x', [key('bob'), key('carol')], 'POLICY_INVALID'],
    [
      'votes that prove nothing',
      `${POLICY}approvals: { acceptAsserted: true }`,
      [key('bob'), key('carol')],
      'POLICY_ASSERTED',
    ],
    [
      'kube-system unprotected',
      `${POLICY}protectedNamespaces: [kube-public]`,
      [key('bob'), key('carol')],
      'POLICY_UNPROTECTED',
    ],
    [
      'an entry that allows nothing',
      `${POLICY}allow: { kinds: [deployment] }`,
      [key('bob'), key('carol')],
      'POLICY_IDLE',
    ],
    ['nobody who can approve', POLICY, [], 'APPROVERS_NONE'],
    ['one person where two are wanted', POLICY, [key('bob')], 'APPROVERS_TOO_FEW'],
    [
      'nobody of a group',
      `${POLICY}approvals: { high: { quorum: 2, groups: [sre] } }`,
      [key('bob'), key('carol')],
      'APPROVERS_TOO_FEW',
    ],
    ['a key that was revoked', POLICY, [key('bob'), key('carol', { revokedAt: inDays(-1) })], 'APPROVERS_TOO_FEW'],
    ['a key that ends soon', POLICY, [key('bob'), key('carol', { notAfter: inDays(5) })], 'APPROVER_EXPIRING'],
    ['one person with two keys', POLICY, [key('bob'), key('bob')], 'APPROVERS_TOO_FEW'],
    ['a misspelt field', POLICY, [key('bob', { revoked: inDays(-1) })], 'APPROVERS_UNREADABLE'],
  ])('tells of %s', async (_what, policy, approvers, code) => {
    expect(codesOf(await look(policy, approvers))).toContain(code);
  });

  it('tells of a key that is none, without showing it', async () => {
    const findings = await look(POLICY, [key('bob'), key('carol')], generateKeyPair().privateKeyPem);
    expect(codesOf(findings)).toContain('SIGNING_KEYS_UNREADABLE');
    expect(saysOf(findings)).toContain('PRIVATE KEY');
    expect(saysOf(findings)).not.toContain('-----BEGIN');
  });
});

describe('certificates and clocks', () => {
  const look = (evidence: Evidence, files: { setting: string; path: string }[] = []) =>
    run(sharedChecks({ evidence, files, after: [], now: () => NOW }));

  it('are told before they run out', async () => {
    const evidence = new Evidence();
    evidence.certificates.set('vault', new Date(NOW.getTime() + 40 * DAY_MS));
    expect(saysOf(await look(evidence))).toContain('1 are good; the next to expire is that of vault, in 40 days.');
    evidence.certificates.set('temporal', new Date(NOW.getTime() + 5.5 * DAY_MS));
    evidence.certificates.set('prometheus', new Date(NOW.getTime() - DAY_MS));
    const findings = await look(evidence);
    expect(codesOf(findings).slice(0, 2)).toEqual(['CERTIFICATE_EXPIRING', 'CERTIFICATE_EXPIRED']);
    expect(saysOf(findings)).toContain('temporal expires in 5 days');
  });

  it('are read from files, of which the first to expire counts', async () => {
    const authority = await createAuthority();
    const { cert } = await authority.issue('agent', { notAfter: new Date(Date.now() + DAY_MS) });
    const findings = await look(new Evidence(), [
      { setting: 'BYOC_AGENT_TLS_CERT', path: await save('chain.pem', cert + authority.ca) },
      { setting: 'VAULT_CACERT', path: await save('none.pem', 'nothing') },
    ]);
    expect(codesOf(findings).slice(0, 2)).toEqual(['CERTIFICATE_UNREADABLE', 'CERTIFICATE_EXPIRING']);
  });

  it.each([
    [{ vault: 400, s3: -900 }, 'ok', 'within 0.9 s'],
    [{ vault: 31_000, s3: 100 }, 'CLOCK_OFF', 'The clock of vault is 31 s ahead of ours.'],
    [{ vault: -3_600_000, s3: -3_600_100 }, 'CLOCK_OFF', 'behind ours, as all are: ours is wrong'],
  ])('are compared: %j', async (offsets, code, says) => {
    const evidence = new Evidence();
    for (const [part, ms] of Object.entries(offsets)) evidence.clocks.set(part, ms);
    const findings = (await look(evidence)).filter(({ check }) => check === 'clock');
    expect(codesOf(findings)).toContain(code);
    expect(saysOf(findings)).toContain(says);
  });
});
