import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openContinuedLog } from '../../activities/audit/continued-log.ts';
import { fileApproverSource } from '../../activities/sigstore/approver-keys.ts';
import { developmentKey } from '../../activities/sigstore/development-keys.ts';
import { cosignKeySource, parsePublicKeys } from '../../activities/sigstore/keys.ts';
import { verifyBundle } from '../../activities/sigstore/verify-signature.ts';
import { verifyAudit } from '../../client/audit-verify.ts';
import { sha256 } from '../../client/sha256.ts';
import { signWpk } from '../../client/sign.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { isSimulated } from '../../domain/simulation.ts';
import { readConfig } from '../../worker/config.ts';
import { openFolderBucket } from '../../worker/simulation/folder-bucket.ts';
import { madeUpMetrics } from '../../worker/simulation/made-up-metrics.ts';
import { refuseOtherKind } from '../../worker/simulation/refusals.ts';
import { readSimulation, SIMULATION_ALLOWED } from '../../worker/simulation/settings.ts';
import { chainOf, fileOf, textOf } from '../support/audit-chains.ts';
import { errorOf } from '../support/expect-code.ts';

// R17

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'simulation-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const ALLOWED = { [SIMULATION_ALLOWED.name]: SIMULATION_ALLOWED.value };
const read = (env: NodeJS.ProcessEnv) => readConfig({ BYOC_DATA_DIR: '/data', SIMULATION: 'true', ...env });

describe('simulation mode', () => {
  it('is off unless it is asked for', () => {
    expect(readSimulation({}, dir)).toBe(false);
    expect(readSimulation({ SIMULATION: 'false', VAULT_ADDR: 'https://vault' }, dir)).toBe(false);
  });

  it('needs no setting but its own', () => {
    expect(readSimulation({ SIMULATION: 'true' }, join(dir, 'none'))).toBe(true);
    expect(read({ ...ALLOWED })).toMatchObject({ simulated: true, clusterId: 'simulated-dev', roles: ['execution'] });
  });

  it('tells a control plane and an Insight Engine of this machine, with every role in one process', () => {
    const urls = { CONTROL_PLANE_URL: 'https://127.0.0.1:8004', INSIGHT_URL: 'https://127.0.0.1:8004' };
    expect(read({ ...ALLOWED, ...urls }).roles).toEqual(['registration', 'metrics', 'execution']);
  });

  it.each(['1', 'yes', 'TRUE', 'on'])('takes no other word than true: %s', (SIMULATION) => {
    const detail = 'SIMULATION must be true or false.';
    expect(errorOf(() => readSimulation({ SIMULATION }, dir))).toMatchObject({ code: 'CONFIG_INVALID', detail });
  });

  it.each([
    ['in production', { NODE_ENV: 'production' }, 'NODE_ENV is production'],
    ['inside a cluster', { KUBERNETES_SERVICE_HOST: '10.0.0.1' }, 'KUBERNETES_SERVICE_HOST is set'],
  ])('is refused %s, unless a sentence says otherwise that nobody types by accident', (_, env, why) => {
    const none = join(dir, 'none');
    const settings = { SIMULATION: 'true', ...env };
    const error = errorOf(() => readSimulation(settings, none)) as ConnectorError;
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', detail: expect.stringContaining(why) });
    for (const value of ['true', '1', 'yes'])
      expect(errorOf(() => readSimulation({ ...settings, [SIMULATION_ALLOWED.name]: value }, none))).toBeDefined();
    expect(readSimulation({ ...settings, ...ALLOWED }, none)).toBe(true);
  });

  it('is refused where the files of a service account are, as in every pod', () => {
    const detail = expect.stringContaining(`${dir} is there`);
    expect(errorOf(() => readSimulation({ SIMULATION: 'true' }, dir))).toMatchObject({
      code: 'CONFIG_INVALID',
      detail,
    });
  });

  it.each([
    ['VAULT_ADDR', 'https://vault.example.com'],
    ['VAULT_ROLE_ID', 'role'],
    ['S3_BUCKET', 'audit'],
    ['AWS_ENDPOINT_URL_S3', 'https://s3.example.com'],
    ['KUBECONFIG', '/home/me/.kube/config'],
    ['BYOC_KUBE_CONTEXT', 'prod'],
    ['COSIGN_KEY', '/keys/cosign.pub'],
    ['BYOC_APPROVERS', '/keys/approvers.yaml'],
    ['BYOC_TRUSTED_ROOT', '/keys/root.json'],
    ['PROM_URL', 'https://prometheus.example.com'],
    ['PROM_TOKEN', 'token'],
    ['BYOC_ROLES', 'execution'],
    ['BYOC_APPLY_SERVICE_ACCOUNT', 'byoc-apply/applier'],
  ])('is refused beside %s, which is for what is real', (name, value) => {
    const detail = `SIMULATION is true, and ${name} is set, for what is real. Unset one or the other.`;
    expect(errorOf(() => read({ ...ALLOWED, [name]: value }))).toMatchObject({ code: 'CONFIG_INVALID', detail });
  });

  it('names all of them at once', () => {
    const detail = expect.stringContaining('KUBECONFIG, S3_BUCKET, VAULT_ADDR are set');
    const env = { VAULT_ADDR: 'https://v', S3_BUCKET: 'b', KUBECONFIG: '/k' };
    expect(errorOf(() => read({ ...ALLOWED, ...env }))).toMatchObject({ code: 'CONFIG_INVALID', detail });
  });

  it.each(['CONTROL_PLANE_URL', 'INSIGHT_URL'])('tells nobody on another machine: %s', (name) => {
    const detail = expect.stringContaining(`${name} leads to another machine`);
    const env = { ...ALLOWED, [name]: 'https://cp.example.com' };
    expect(errorOf(() => read(env))).toMatchObject({ code: 'CONFIG_INVALID', detail });
  });
});

describe('the name of a simulated cluster', () => {
  it('begins with what it is', () => {
    const detail = expect.stringContaining('must begin with "simulated-"');
    const env = { ...ALLOWED, BYOC_CLUSTER_ID: 'prod-eu-1' };
    expect(errorOf(() => read(env))).toMatchObject({ code: 'CONFIG_INVALID', detail });
    expect(read({ ...ALLOWED, BYOC_CLUSTER_ID: 'simulated-mine' }).clusterId).toBe('simulated-mine');
  });

  it('is no name for a real one', () => {
    const detail = expect.stringContaining('must not begin with "simulated-"');
    const env = { BYOC_DATA_DIR: '/data', COSIGN_KEY: 'key', BYOC_CLUSTER_ID: 'simulated-dev' };
    expect(errorOf(() => readConfig(env))).toMatchObject({ code: 'CONFIG_INVALID', detail });
  });
});

describe('the development keys', () => {
  const known = { code: 'CONFIG_INVALID', detail: expect.stringContaining('is a development key of simulation mode') };

  it('sign as any key does', async () => {
    const { privateKeyPem, publicKeyPem, fingerprint } = developmentKey('packages');
    const payload = Buffer.from('{}');
    const keys = parsePublicKeys(publicKeyPem, 'development');
    const signed = await verifyBundle({ payload, bundle: signWpk(payload, privateKeyPem), keys, now: new Date() });
    expect(signed.fingerprint).toBe(fingerprint);
  });

  it.each(['packages', 'votes'] as const)('never count outside: %s, in COSIGN_KEY as text', (use) => {
    expect(errorOf(() => cosignKeySource(developmentKey(use).publicKeyPem))).toMatchObject(known);
  });

  it('never count outside, in a file with others', async () => {
    const file = join(dir, 'keys.pem');
    await writeFile(file, developmentKey('packages').publicKeyPem);
    await expect(cosignKeySource(file).load()).rejects.toMatchObject(known);
  });

  it('never count outside, as an approver', async () => {
    const file = join(dir, 'approvers.yaml');
    const pem = JSON.stringify(developmentKey('votes').publicKeyPem);
    await writeFile(file, `- identity: bob@example.com\n  pem: ${pem}\n`);
    const detail = expect.stringContaining('is a development key of simulation mode');
    await expect(fileApproverSource(file).load()).rejects.toMatchObject({ code: 'APPROVERS_UNAVAILABLE', detail });
  });
});

describe('the audit log of a simulation', () => {
  const chain = 'simulated-dev.w1';
  const verify = (lines: string[]) => verifyAudit([fileOf('log.jsonl', textOf(lines))]);
  const append = async (chain: string) => {
    const options = { dir, chain, now: () => new Date(), sha256 };
    const { log } = await openContinuedLog(options, undefined, () => Promise.resolve([]));
    const detail = { version: '0.1.0' };
    const actor = { id: 'w1', proof: 'system' } as const;
    await log.append({ eventId: 'e1', type: 'worker.stopped', actor, outcome: 'succeeded', detail });
    await log.close();
  };

  it('says so in every entry', async () => {
    await append(chain);
    const [day = ''] = (
      await readFile(join(dir, chain, `${new Date().toISOString().slice(0, 10)}.jsonl`), 'utf8')
    ).split('\n');
    expect(JSON.parse(day)).toMatchObject({ entry: { chain, simulated: true } });
  });

  it('says nothing of the kind where it is real', async () => {
    await append('prod-eu-1.w1');
    const text = await readFile(join(dir, 'prod-eu-1.w1', `${new Date().toISOString().slice(0, 10)}.jsonl`), 'utf8');
    expect(text).not.toContain('simulated');
  });

  it('verifies as what it is', async () => {
    const report = await verify(chainOf(3, { chain, simulatedOf: () => true }));
    expect(report).toMatchObject({ ok: true, chains: [{ chain, entries: 3, simulated: true }] });
  });

  it.each([
    ['an entry of it that does not say so', { chain, simulatedOf: (n: number) => n !== 2 }],
    ['a real one that says so', { simulatedOf: (n: number) => n === 2 }],
  ])('does not verify with %s', async (_, options) => {
    const report = await verify(chainOf(3, options));
    expect(report).toMatchObject({ ok: false, problems: [{ kind: 'mislabelled', line: 2 }] });
  });

  it('is not gone on with by a real connector, even under the name of a real chain', async () => {
    await append(chain);
    await rename(join(dir, chain), join(dir, 'prod-eu-1.w1'));
    await expect(append('prod-eu-1.w1')).rejects.toMatchObject({ code: 'AUDIT_BROKEN' });
  });
});

describe('what is real and what is simulated', () => {
  const at = (uid: string) => ({ server: 'https://127.0.0.1:6443', clusterUid: () => Promise.resolve(uid) });
  const REAL = at('2f5c…');
  const SIMULATED = at('simulated-2f5c…');

  it.each([
    ['a real connector in a simulated cluster', false, SIMULATED, 'is simulated, and SIMULATION is false'],
    ['a simulation in a real cluster', true, REAL, 'is a real one, and SIMULATION is true'],
  ])('do not go together: %s', async (_, simulated, api, detail) => {
    const refused = refuseOtherKind({ dataDir: dir, simulated }, api);
    await expect(refused).rejects.toMatchObject({ code: 'CONFIG_INVALID', detail: expect.stringContaining(detail) });
  });

  it.each([
    ['a real connector, the log of a simulation', false, REAL, 'simulated-dev.w1', 'of a simulation'],
    ['a simulation, the log of a real connector', true, SIMULATED, 'prod-eu-1.w1', 'of a real connector'],
  ])('do not go together: %s', async (_, simulated, api, chain, detail) => {
    await mkdir(join(dir, 'audit', chain), { recursive: true });
    const refused = refuseOtherKind({ dataDir: dir, simulated }, api);
    await expect(refused).rejects.toMatchObject({ code: 'CONFIG_INVALID', detail: expect.stringContaining(detail) });
  });

  it('an account that may not read the UID is one of a real cluster', async () => {
    const clusterUid = () => Promise.reject(new ConnectorError('KUBERNETES_FORBIDDEN'));
    const api = { server: 'https://127.0.0.1:6443', clusterUid };
    await expect(refuseOtherKind({ dataDir: dir, simulated: false }, api)).resolves.toBeUndefined();
  });

  it('are told apart by their names', () => {
    expect(['simulated-dev', 'simulated-dev.w1', 'prod', 'not-simulated-dev'].map(isSimulated)).toEqual([
      ...[true, true, false, false],
    ]);
  });
});

describe('the folder in the place of a bucket', () => {
  it('writes an object once, tells what is there, and promises nothing', async () => {
    const bucket = openFolderBucket(join(dir, 'bucket'));
    expect(await bucket.putOnce('byoc/a/1.jsonl', Buffer.from('one'))).toEqual({});
    expect(await bucket.putOnce('byoc/a/1.jsonl', Buffer.from('two'))).toBe('exists');
    const keys = [];
    for await (const { key } of bucket.versions('byoc/')) keys.push(key);
    expect(keys).toEqual(['byoc/a/1.jsonl']);
    const chunks = [];
    for await (const chunk of bucket.read('byoc/a/1.jsonl')) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe('one');
    expect(await bucket.hasObjectLock()).toBe(false);
  });

  it('says what is not there as the bucket does', async () => {
    const read = async () => {
      for await (const chunk of openFolderBucket(dir).read('none')) void chunk;
    };
    await expect(read()).rejects.toMatchObject({ code: 'S3_UNAVAILABLE' });
  });
});

describe('made-up metrics', () => {
  it('say that they are, and hold something to redact', async () => {
    const limits = { seriesPerQuery: 2, bytesPerQuery: 1_024, queryTimeoutSeconds: 1 };
    const { series } = await madeUpMetrics().query({ name: 'pods', promql: 'x' }, new Date(0), limits);
    expect(series).toHaveLength(2);
    expect(series[0]).toMatchObject({ labels: { simulated: 'true', owner: expect.stringContaining('@') } });
  });
});
