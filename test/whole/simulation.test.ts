import { execFile } from 'node:child_process';
import { glob, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse as parseYaml } from 'yaml';
import { developmentKey } from '../../activities/sigstore/development-keys.ts';
import { ConnectorClient } from '../../client/connector-client.ts';
import { generateKeyPair } from '../../client/sign.ts';
import { startWorker } from '../../dev/connector.ts';
import { clusterAt } from '../../dev/servers/control-plane.ts';
import { get } from '../../dev/servers/https.ts';
import type { SimulatedStack } from '../../dev/simulated-stack.ts';
import { simulatedEnvironment, startSimulatedStack } from '../../dev/simulated-stack.ts';
import type { AuditEntry } from '../../domain/audit.ts';
import { SIMULATED_CLUSTER, SIMULATION_NOTICE } from '../../domain/simulation.ts';
import type { Step } from '../../domain/wpk.ts';
import { freePorts } from '../../dev/ports.ts';
import { simulationFiles } from '../../worker/simulation/open.ts';
import { TestConnector } from '../support/connector.ts';
import { deployment } from '../support/kubernetes.ts';
import type { WpkOptions } from '../support/packages.ts';
import { buildWpk, configMap, sign } from '../support/packages.ts';
import { until } from '../support/until.ts';

// R17: a stack in simulation mode through its public commands; it stands beside the shared one, with a Temporal of its own.

const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');
const DEMO = join(import.meta.dirname, '../../dev/demo.ts');

let folder: string;
let stack: SimulatedStack;
let client: ConnectorClient;
let agent: string;
/** Of a package that waits for votes. */
let waiting: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'byoc-simulation-'));
  const { port } = await freePorts(['port']);
  agent = `http://127.0.0.1:${port}`;
  stack = await startSimulatedStack({ stateDir: folder, env: process.env, settings: { BYOC_AGENT_PORT: `${port}` } });
  client = await ConnectorClient.connect(SIMULATED_CLUSTER, stack.connector.env);
  waiting = await submitAndPlan();
});
afterAll(async () => {
  await client?.close();
  await stack?.stop();
  await rm(folder, { recursive: true, force: true });
});

function run(command: string, args: readonly string[], env: Record<string, string> = {}) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const set = { PATH: '/usr/bin:/bin', HOME: folder, ...simulatedEnvironment(stack, folder), ...env };
    const child = execFile(command, args, { env: set, cwd: folder }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr }),
    );
    child.stdin?.end();
  });
}

const byoc = (...args: string[]) => run(process.execPath, [BYOC, ...args]);

async function submitAndPlan(options: WpkOptions = {}): Promise<string> {
  const wpk = buildWpk({ clusterId: SIMULATED_CLUSTER, namespaces: ['default'], ...options });
  const { wpkId } = await client.submit(sign(wpk, developmentKey('packages').privateKeyPem));
  await until('the plan', async () => (await client.get(wpkId)).phase === 'awaiting-approval');
  return wpkId;
}

async function entries(): Promise<AuditEntry[]> {
  const all: AuditEntry[] = [];
  for await (const file of glob(join(stack.connector.auditDir, '*', '*.jsonl'))) {
    const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '');
    all.push(...lines.map((line) => (JSON.parse(line) as { entry: AuditEntry }).entry));
  }
  return all;
}

describe('a package in a simulation', () => {
  it('is verified, planned, approved by a signed vote and executed like any', async () => {
    const wpkId = await submitAndPlan();
    const { approverKeyPath } = stack.connector;
    const { planDigest = '' } = await client.get(wpkId);
    const as = ['--as', 'bob@example.com', '--key', approverKeyPath];
    const approved = await byoc('approve', wpkId, '--plan', planDigest, ...as);
    expect(approved).toMatchObject({ code: 0, stdout: 'approved\n' });
    expect(approved.stderr).toContain(SIMULATION_NOTICE);
    const { phase } = await client.result(wpkId);
    expect(phase).toBe('succeeded');
  });

  it('is rolled back where a step fails, each write by what it was before', async () => {
    const target = { kind: 'Deployment', name: 'web', namespace: 'default' };
    const wait = { for: 'ready', timeoutSeconds: 30 } as const;
    const steps: Step[] = [
      { id: 'make', action: 'apply', manifests: [deployment('default', 'web'), configMap('web', 'default', {})], wait },
      { id: 'scale', action: 'scale', target, replicas: 3 },
      { id: 'restart', action: 'restart', target },
      { id: 'never', action: 'wait', target: { ...target, name: 'nobody' }, for: 'ready', timeoutSeconds: 1 },
    ];
    const wpkId = await submitAndPlan({ steps, onFailure: 'rollback' });
    const { workflowId, planDigest } = await client.get(wpkId);
    const handle = client.client.workflow.getHandle(workflowId);
    await handle.signal('approve', { approver: 'bob@example.com', planDigest });
    const result = await client.result(wpkId);
    expect(result).toMatchObject({ phase: 'rolled-back', error: { code: 'NOT_READY' } });
    expect(result.report?.undo).toMatchObject({ complete: true });
    expect(result.report?.undo?.objects.map(({ step, outcome }) => [step, outcome])).toEqual([
      ['restart', 'undone'],
      ['scale', 'undone'],
      ['make', 'undone'],
      ['make', 'undone'],
    ]);
  });

  it('does not run where it is signed by another key', async () => {
    const wpk = buildWpk({ clusterId: SIMULATED_CLUSTER, namespaces: ['default'] });
    const { wpkId } = await client.submit(sign(wpk, generateKeyPair().privateKeyPem));
    expect(await client.result(wpkId)).toMatchObject({ phase: 'denied', error: { code: 'KEY_UNKNOWN' } });
  });
});

describe('every output of a command says that it is simulated', () => {
  const withData: [string, () => string[]][] = [
    ['list', () => ['list']],
    ['show', () => ['show', waiting]],
    ['audit verify', () => ['audit', 'verify', stack.connector.auditDir]],
    ['audit search', () => ['audit', 'search', stack.connector.auditDir]],
    ['audit tail', () => ['audit', 'tail', stack.connector.auditDir]],
    ['dev status', () => ['dev', 'status', '--state', folder]],
    ['stop of one package', () => ['stop', waiting]],
    ['stop --all', () => ['stop', '--all', '--reason', 'a test']],
  ];

  it.each(withData)('byoc %s: as a table, as JSON and as YAML', async (_, args) => {
    const table = await byoc(...args());
    expect(table.stdout).toContain(SIMULATION_NOTICE);
    for (const format of ['json', 'yaml'] as const) {
      const { stdout } = await byoc(...args(), '-o', format);
      const data: unknown = format === 'json' ? JSON.parse(stdout) : parseYaml(stdout);
      for (const one of [data].flat()) expect(one).toMatchObject({ simulated: true });
    }
  });

  const exact: [string, () => string[]][] = [
    ['resume', () => ['resume', '--reason', 'a test']],
    ['audit export', () => ['audit', 'export', stack.connector.auditDir]],
    ['audit head', () => ['audit', 'head', '-o', 'json']],
    ['audit head --public-key', () => ['audit', 'head', '--public-key']],
    ['dev env', () => ['dev', 'env', '--state', folder]],
  ];

  it.each(exact)('byoc %s: on stderr, for its stdout stays exact', async (_, args) => {
    const { code, stdout, stderr } = await byoc(...args());
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(SIMULATION_NOTICE) });
    expect(stdout).not.toContain(SIMULATION_NOTICE);
  });

  it('and those that pack, check, sign, verify, plan and submit a package', async () => {
    const manifest = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'default' }, data: {} };
    await writeFile(join(folder, 'a.yaml'), JSON.stringify(manifest));
    const { signingKeyPublic } = simulationFiles(stack.connector.env['BYOC_DATA_DIR'] ?? '');
    const file = 'a.wpk.json';
    const author = ['--author', 'alice@example.com', '--reason', 'a test'];
    const steps = [
      ['pack', 'a.yaml', '-o', file, '-n', 'default', ...author],
      ['check', file],
      ['dev', 'sign', file, '--state', folder],
      ['verify', '--key', signingKeyPublic, '--bundle', 'a.wpk.sigstore.json', file],
      ['plan', file],
      ['submit', file],
    ];
    for (const args of steps) {
      const { code, stderr } = await byoc(...args);
      expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: expect.stringContaining(SIMULATION_NOTICE) });
    }
    expect((await byoc('submit', file)).code).not.toBe(0);
  });

  it('and byoc doctor, which looks at what is real', async () => {
    const { code, stderr } = await byoc('doctor', '--dev', '--state', folder);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(SIMULATION_NOTICE) });
  });

  it('and the report for auditors', async () => {
    const { stdout } = await byoc('audit', 'report', stack.connector.auditDir);
    expect(stdout).toContain(`**${SIMULATION_NOTICE}.**`);
  });
});

describe('every answer of the agent says that it is simulated', () => {
  it.each(['/health', '/health/live', '/health/ready', '/metrics', '/nothing-here'])('%s', async (path) => {
    const answer = await fetch(`${agent}${path}`);
    expect(answer.headers.get('byoc-simulated')).toBe('true');
    const text = await answer.text();
    if (path === '/metrics') expect(text).toMatch(/^byoc_simulated 1$/m);
    else if (answer.status !== 404) expect(JSON.parse(text)).toMatchObject({ simulated: true });
  });
});

describe('whoever hears of a simulation is told what it is', () => {
  it('in every entry of the audit log', async () => {
    const all = await entries();
    expect(all.length).toBeGreaterThan(10);
    expect(all.filter(({ simulated }) => simulated !== true)).toEqual([]);
  });

  it('in every line of the log of the worker, after a banner', async () => {
    const text = await readFile(join(stack.connector.folder, 'worker.log'), 'utf8');
    expect(text).toContain(`# ${SIMULATION_NOTICE}`);
    const lines = text.split('\n').filter((line) => line.startsWith('{'));
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ simulated: true });
  });

  it('at the control plane, with registration, heartbeats, metrics and alerts', async () => {
    const { controlPlane } = stack;
    const details = await until('a heartbeat and signals', async () => {
      const found = await clusterAt(controlPlane, SIMULATED_CLUSTER);
      return found && JSON.stringify(found).includes('"simulated":true') && found;
    });
    expect(details).toMatchObject({ registration: { simulated: true } });
    const { text } = await get(`${controlPlane.url}/clusters/${SIMULATED_CLUSTER}`, {
      ca: controlPlane.ca,
      token: controlPlane.operatorToken,
    });
    expect(text).toContain('simulated-'); // the UID
  });

  it('in the Temporal UI, above the plan', async () => {
    const handle = client.client.workflow.getHandle(`wpk/${SIMULATED_CLUSTER}/${waiting}`);
    const details = await handle.query<string>('__temporal_workflow_metadata').catch(() => undefined);
    expect(JSON.stringify(details)).toContain(SIMULATION_NOTICE);
  });
});

describe('what is real takes nothing of a simulation', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    connector = await TestConnector.start({ clothes: 'development' }); // the mode that a simulation is of
  });
  afterAll(() => connector?.stop());

  /** Starts a second worker of the real connector with something of the simulation. */
  async function startWith(env: Record<string, string>, without: readonly string[] = []): Promise<string> {
    const kept = Object.entries(connector.prepared.env).filter(([name]) => !without.includes(name));
    const settings = { ...Object.fromEntries(kept), BYOC_WRITER: 'worker-1', ...env };
    const own = await mkdtemp(join(tmpdir(), 'byoc-refused-'));
    const started = startWorker({ ...connector.prepared, folder: own, env: settings });
    const error = await started.then((worker) => worker.stop()).catch((reason: unknown) => reason);
    const log = await readFile(join(own, 'worker.log'), 'utf8');
    await rm(own, { recursive: true, force: true });
    expect(error).toBeInstanceOf(Error);
    return log;
  }

  it('not its data folder', async () => {
    const log = await startWith({ BYOC_DATA_DIR: stack.connector.env['BYOC_DATA_DIR'] ?? '' });
    expect(log).toContain('holds the audit log simulated-dev.worker-0 of a simulation');
  });

  it('not its cluster', async () => {
    const { KUBECONFIG = '' } = simulatedEnvironment(stack, folder);
    expect(await startWith({ KUBECONFIG, BYOC_DATA_DIR: join(folder, 'fresh') })).toContain(
      'is simulated, and SIMULATION is false',
    );
  });

  it('not its signing key', async () => {
    const vault = Object.keys(connector.prepared.env).filter((name) => name.startsWith('VAULT_'));
    const COSIGN_KEY = developmentKey('packages').publicKeyPem;
    expect(await startWith({ COSIGN_KEY, BYOC_DATA_DIR: join(folder, 'fresh') }, vault)).toContain(
      'is a development key of simulation mode',
    );
  });

  it('not a package that was signed with it, nor one that is addressed to it', async () => {
    const signed = sign(connector.wpk(), developmentKey('packages').privateKeyPem);
    const { wpkId } = await connector.client.submit(signed);
    expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'denied', error: { code: 'KEY_UNKNOWN' } });
    const addressed = buildWpk({ clusterId: SIMULATED_CLUSTER, namespaces: ['default'] });
    const other = await connector.client.submit(sign(addressed, connector.prepared.privateKeyPem));
    expect(await connector.client.result(other.wpkId)).toMatchObject({ error: { code: 'WPK_WRONG_CLUSTER' } });
  });

  it('not a package signed with it even where its public half lies in Vault', async () => {
    await connector.putVaultEntry('signing-keys/simulated', { pem: developmentKey('packages').publicKeyPem });
    const signed = sign(connector.wpk(), developmentKey('packages').privateKeyPem);
    const { wpkId } = await connector.client.submit(signed);
    const { phase } = await until('a refusal', async () => {
      const view = await connector.client.get(wpkId).catch(() => undefined);
      return (view?.waiting ?? view?.error) ? view : undefined;
    });
    expect(phase).not.toBe('awaiting-approval');
  });
});

describe('npm run demo -- --simulate', () => {
  it('tells the whole story with Node and Temporal alone, and ends with what it did', async () => {
    const { code, stdout } = await run(process.execPath, [DEMO, '--simulate'], {
      ...(process.env['BYOC_CACHE'] && { BYOC_CACHE: process.env['BYOC_CACHE'] }),
      XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'] ?? join(process.env['HOME'] ?? '', '.cache'),
    });
    expect({ code, stdout }).toMatchObject({ code: 0 });
    const told = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as unknown;
    expect(told).toMatchObject({ ok: true, simulated: true, package: { phase: 'succeeded' } });
    expect(stdout.split(SIMULATION_NOTICE).length).toBeGreaterThan(2);
    expect(stdout).not.toMatch(/openbao|kubectl|etcd|seaweed/i);
  });
});
