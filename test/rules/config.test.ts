import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { readArguments } from '../../worker/arguments.ts';
import { MAX_WAITING } from '../../worker/alerts.ts';
import { readConfig } from '../../worker/config.ts';
import { errorOf } from '../support/expect-code.ts';

// R12, R16, R23, R28, R29

const read = (env: NodeJS.ProcessEnv) => readConfig({ BYOC_DATA_DIR: '/data', COSIGN_KEY: 'key', ...env });

const MAIN = join(import.meta.dirname, '../../worker/main.ts');

const VAULT = { VAULT_ADDR: 'https://vault.example.com', VAULT_ROLE_ID: 'role', VAULT_SECRET_ID: 'secret' };

describe('the name of the cluster', () => {
  it('is the one that is set', () => {
    expect(read({ BYOC_CLUSTER_ID: 'prod-eu-1', NODE_NAME: 'node-7' }).clusterId).toBe('prod-eu-1');
  });

  it.each([
    ['node-7', 'node-7'],
    ['IP-10-0-0-7.eu.Internal', 'ip-10-0-0-7-eu-internal'],
    [`${'x'.repeat(62)}.y`, 'x'.repeat(62)],
  ])('is in development the name of the node: %s', (nodeName, clusterId) => {
    expect(read({ NODE_NAME: nodeName }).clusterId).toBe(clusterId);
  });

  it('must be set in production', () => {
    const error = errorOf(() => read({ NODE_NAME: 'node-7', NODE_ENV: 'production', BYOC_ROLES: 'execution' }));
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      detail: expect.stringContaining('BYOC_CLUSTER_ID is missing'),
    });
  });
});

describe('the control plane', () => {
  it('is none where none is set', () => {
    expect(read({}).controlPlane).toBeUndefined();
  });

  it('is told labels', () => {
    const { controlPlane } = read({
      ...VAULT,
      CONTROL_PLANE_URL: 'https://cp.example.com',
      BYOC_LABELS: 'team=shop, stage=prod',
    });
    expect(controlPlane).toMatchObject({ labels: { team: 'shop', stage: 'prod' }, lostAfterMs: 90_000 });
  });

  it.each([
    [
      { ...VAULT, CONTROL_PLANE_URL: 'http://cp.example.com' },
      'CONTROL_PLANE_URL must be https, except on this machine.',
    ],
    [
      { CONTROL_PLANE_URL: 'https://cp.example.com' },
      'CONTROL_PLANE_URL is set; VAULT_ADDR must be too, because the control plane knows a cluster by what its Vault says.',
    ],
    [{ BYOC_PAYLOAD_CODEK: 'vault' }, 'BYOC_PAYLOAD_CODEK is no setting; did you mean BYOC_PAYLOAD_CODEC?'],
    [{ BYOC_LABELS: 'team' }, 'BYOC_LABELS holds "team"; labels are name=value, with commas between.'],
  ])('is refused with %j', (env, detail) => {
    expect(errorOf(() => read(env))).toMatchObject({ code: 'CONFIG_INVALID', detail });
  });
});

describe('a worker that starts', () => {
  it('warns of variables that are no settings, with those that were meant, and starts all the same', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'byoc-start-'));
    // Where there is no Temporal it ends by itself, after it has read its settings.
    const env = { SIMULATION: 'true', BYOC_DATA_DIR: dataDir, BYOC_POLCY: 'x', TEMPORAL_ADDRESS: '127.0.0.1:1' };
    const { status, stderr } = spawnSync(process.execPath, [MAIN], {
      env: { PATH: process.env['PATH'], HOME: dataDir, ...env },
      encoding: 'utf8',
    });
    await rm(dataDir, { recursive: true, force: true });
    expect(stderr).toMatch(/"level":"warn".*"message":"BYOC_POLCY is no setting; did you mean BYOC_POLICY\?"/);
    expect(stderr).toContain('TEMPORAL_UNAVAILABLE');
    expect(status).toBe(3);
  }, 60_000);
});

describe('in development', () => {
  const named = { ...VAULT, BYOC_ROLES: 'registration,metrics', PROM_URL: 'http://localhost:9090' };

  it('control plane and Insight Engine are looked for on this machine, where a role needs them', () => {
    const { controlPlane, metrics } = read(named);
    expect(controlPlane?.url).toBe('http://localhost:8004');
    expect(metrics?.insight.address).toBe('http://localhost:8002');
  });

  it('what is set counts, and without a role or a Vault nothing is made up', () => {
    const set = { CONTROL_PLANE_URL: 'https://cp.example.com', INSIGHT_URL: 'https://insight.example.com' };
    expect(read({ ...named, ...set })).toMatchObject({
      controlPlane: { url: set.CONTROL_PLANE_URL },
      metrics: { insight: { address: set.INSIGHT_URL } },
    });
    expect(read(VAULT)).toMatchObject({ controlPlane: undefined, metrics: undefined });
  });

  it('only: in production both must be set', () => {
    const error = errorOf(() => read({ ...named, NODE_ENV: 'production', BYOC_CLUSTER_ID: 'c' }));
    expect(error.detail).toContain('CONTROL_PLANE_URL is missing');
    expect(error.detail).toContain('INSIGHT_URL is missing');
  });
});

describe('what a worker keeps on its disk', () => {
  it('is less than 100 MB in normal use: the log once it is uploaded, metrics, and alerts that wait', () => {
    const { audit, metrics } = read({
      ...VAULT,
      PROM_URL: 'https://prometheus.example.com',
      INSIGHT_URL: 'https://insight.example.com',
    });
    const bytesOfAlert = 4_096; // a block; what an alert may hold is half of it
    const alerts = MAX_WAITING * bytesOfAlert;
    expect(metrics).toBeDefined();
    expect(audit.localBytes + (metrics?.insight.maxBytes ?? Infinity) + alerts).toBeLessThan(100_000_000);
  });
});

describe('the roles of a process', () => {
  const ALL = {
    ...VAULT,
    CONTROL_PLANE_URL: 'https://cp.example.com',
    PROM_URL: 'https://prometheus.example.com',
    INSIGHT_URL: 'https://insight.example.com',
  };

  it.each<[string[], NodeJS.ProcessEnv]>([
    [['execution'], {}],
    [['registration', 'execution'], { ...VAULT, CONTROL_PLANE_URL: ALL.CONTROL_PLANE_URL }],
    [['registration', 'metrics', 'execution'], ALL],
  ])('are in development those that there are settings for: %j', (roles, env) => {
    expect(read(env)).toMatchObject({ roles, relaysAlerts: false });
  });

  it('are those that the command line names, each once', () => {
    const named = readArguments(['--role', 'metrics', '--role=registration', '--role', 'metrics']);
    expect(read({ ...ALL, ...named }).roles).toEqual(['registration', 'metrics']);
    expect(readArguments([])).toEqual({});
  });

  it('that are not there have no settings and no login, whatever is in the environment', () => {
    const logins = { VAULT_ROLE_ID_REGISTRATION: 'r', VAULT_SECRET_ID_REGISTRATION: 'registration’s own' };
    const execution = read({ ...ALL, ...logins, BYOC_ROLES: 'execution' });
    expect(execution).toMatchObject({ controlPlane: undefined, registrationVault: undefined });
    expect(execution).toMatchObject({ metrics: undefined, metricsVault: undefined });
    expect(JSON.stringify(execution)).not.toContain('registration’s own');
    const registration = read({ ...ALL, ...logins, BYOC_ROLES: 'registration', COSIGN_KEY: '' });
    expect(registration.registrationVault).toMatchObject({ auth: { roleId: 'r' } });
    expect(registration).toMatchObject({ vault: undefined, metricsVault: undefined });
  });

  it('without registration give their alerts to one that has it', () => {
    expect(read({ ...ALL, BYOC_ROLES: 'execution' }).relaysAlerts).toBe(true);
    expect(read({ ...ALL, BYOC_ROLES: 'execution,registration' }).relaysAlerts).toBe(false);
    expect(read({ ...ALL, BYOC_ROLES: 'execution', BYOC_ALERT_RELAY: 'off' }).relaysAlerts).toBe(false);
  });

  it('need a signing key only where packages are executed', () => {
    const none = { COSIGN_KEY: '', VAULT_ADDR: '' };
    expect(errorOf(() => read({ ...none, BYOC_ROLES: 'execution' }))).toMatchObject({
      detail: 'VAULT_ADDR is missing, and so is COSIGN_KEY: one of them must say where the signing keys are.',
    });
  });

  it.each<[NodeJS.ProcessEnv, string]>([
    [{ BYOC_ROLES: 'admin' }, 'BYOC_ROLES holds "admin"; the roles are registration, metrics, execution.'],
    [
      { BYOC_ROLES: 'registration' },
      'CONTROL_PLANE_URL is missing; the role registration is told by it whom to register with',
    ],
    [{ BYOC_ROLES: 'metrics' }, 'PROM_URL is missing; the role metrics is told by it what to read'],
    [
      { NODE_ENV: 'production', BYOC_CLUSTER_ID: 'c' },
      'BYOC_ROLES is missing, and so is --role: in production each role is a process with an account of its own.',
    ],
  ])('are refused with %j', (env, detail) => {
    const error = errorOf(() => read(env)) as { code?: string; detail?: string };
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', detail: expect.stringContaining(detail) });
  });

  it('are refused where the command line is not understood', () => {
    expect(errorOf(() => readArguments(['--rolle', 'metrics']))).toMatchObject({
      code: 'USAGE',
      detail: expect.stringContaining('worker [--role registration|metrics|execution]'),
    });
  });
});

describe('where Kubernetes is used', () => {
  it('is one namespace and one account unless it is said otherwise', () => {
    expect(read({})).toMatchObject({
      stateNamespace: 'byoc-system',
      headsNamespace: 'byoc-system',
      applyAccount: undefined,
    });
  });

  it('may be told apart', () => {
    const env = { BYOC_STATE_NAMESPACE: 'state', BYOC_APPLY_SERVICE_ACCOUNT: 'byoc/apply' };
    const applyAccount = { namespace: 'byoc', name: 'apply' };
    expect(read(env)).toMatchObject({ stateNamespace: 'state', headsNamespace: 'state', applyAccount });
    expect(read({ ...env, BYOC_HEADS_NAMESPACE: 'byoc' })).toMatchObject({ headsNamespace: 'byoc' });
  });

  it.each<[NodeJS.ProcessEnv, string]>([
    [{ BYOC_STATE_NAMESPACE: 'a/b' }, 'BYOC_STATE_NAMESPACE must be the name of a namespace.'],
    [{ BYOC_APPLY_SERVICE_ACCOUNT: 'apply' }, 'BYOC_APPLY_SERVICE_ACCOUNT must be namespace/name of a ServiceAccount.'],
    [
      { BYOC_APPLY_SERVICE_ACCOUNT: 'byoc/../apply' },
      'BYOC_APPLY_SERVICE_ACCOUNT must be namespace/name of a ServiceAccount.',
    ],
  ])('is refused with %j', (env, detail) => {
    expect(errorOf(() => read(env))).toMatchObject({ code: 'CONFIG_INVALID', detail });
  });
});
