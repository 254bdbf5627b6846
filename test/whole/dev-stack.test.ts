import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { connectorFolder } from '../../dev/connector.ts';
import { temporalSettings } from '../../dev/environment.ts';
import { devDown, devStatus, devUp, stateDirOf } from '../../dev/stack-command.ts';
import { isUnsealed } from '../../dev/servers/openbao.ts';
import { get } from '../../dev/servers/https.ts';
import { s3ClientOf } from '../../dev/servers/seaweedfs.ts';
import { startStack, type Services } from '../../dev/stack.ts';

const run = promisify(execFile);
const STACK_MODULE = new URL('../../dev/stack.ts', import.meta.url).href;

/** Processes that have the folder on their command line: the servers of its stack, their watchers and its keeper. */
async function processesOf(stateDir: string): Promise<string[]> {
  if (process.platform !== 'linux') {
    const lines = execFileSync('ps', ['-Ao', 'args='], { encoding: 'utf8' }).split('\n');
    return lines.filter((line) => line.includes(stateDir));
  }
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(stateDir));
}

async function untilNoProcess(stateDir: string): Promise<string[]> {
  for (let tries = 0; tries < 50 && (await processesOf(stateDir)).length > 0; tries += 1) await sleep(100);
  return processesOf(stateDir);
}

describe('the development stack', () => {
  let root: string;
  let stateDir: string;
  let services: Services;
  const kubectl = async (...args: string[]) =>
    (await run(services.kubernetes.kubectl, ['--kubeconfig', services.kubernetes.kubeconfig, ...args])).stdout;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'byoc-dev-stack-'));
    stateDir = stateDirOf(root, { name: 'first' });
    ({ services } = await devUp({ stateDir, env: process.env, persist: true }));
  });

  afterAll(async () => {
    await devDown({ stateDir });
    await rm(root, { recursive: true, force: true });
  });

  it('is up and says that every service is healthy', async () => {
    const status = await devStatus({ stateDir });
    expect(status).toMatchObject({
      state: 'up',
      healthy: { temporal: true, vault: true, s3: true, kubernetes: true, controlPlane: true },
    });
  });

  it('keeps its secrets from other users', async () => {
    expect((await stat(stateDir)).mode & 0o777).toBe(0o700);
    expect((await stat(join(stateDir, 'stack.json'))).mode & 0o777).toBe(0o600);
  });

  it('is left as it is by a second `up`', async () => {
    expect(await devUp({ stateDir, env: process.env })).toEqual({ services, started: false });
  });

  it.each([
    ['and the stack that is up does not', { persist: false, code: 'PART_UNAVAILABLE' }],
    ['and its data is to be kept, which has no key afterwards', { persist: true, code: 'USAGE' }],
  ])('is not started where it is to encrypt %s', async (_, { persist, code }) => {
    const env = { ...process.env, BYOC_PAYLOAD_CODEC: 'vault' };
    await expect(devUp({ stateDir, env, persist })).rejects.toMatchObject({ code });
  });

  it('has a Temporal service that the temporal command finds healthy, with our search attributes', async () => {
    const { bin } = services.temporal;
    const env = temporalSettings(services.temporal);
    const health = await run(bin, ['operator', 'cluster', 'health'], { env });
    expect(health.stdout).toContain('SERVING');
    const attributes = await run(bin, ['operator', 'search-attribute', 'list'], { env });
    for (const name of ['Cluster', 'Phase', 'Risk', 'Playbook']) expect(attributes.stdout).toContain(`Byoc${name}`);
  });

  it('has an unsealed Vault that accepts the token', async () => {
    const { address, caFile, token } = services.vault;
    const ca = await readFile(caFile, 'utf8');
    const health = JSON.parse((await get(`${address}/v1/sys/health`, { ca })).text) as unknown;
    expect(health).toMatchObject({ initialized: true, sealed: false });
    expect((await get(`${address}/v1/auth/token/lookup-self`, { ca, token })).status).toBe(200);
    expect((await get(`${address}/v1/auth/token/lookup-self`, { ca })).status).toBe(403);
    await expect(fetch(`${address}/v1/sys/health`)).rejects.toThrow(); // nobody else vouches for it
  });

  it('has an S3 bucket whose locked objects cannot be deleted', async () => {
    const { bucket: Bucket } = services.s3;
    const s3 = await s3ClientOf(services.s3);
    const lock = { ObjectLockMode: 'COMPLIANCE', ObjectLockRetainUntilDate: new Date(Date.now() + 60_000) } as const;
    const { VersionId } = await s3.send(new PutObjectCommand({ Bucket, Key: 'locked', Body: 'x', ...lock }));
    expect(VersionId).toEqual(expect.any(String));
    const deletion = s3.send(new DeleteObjectCommand({ Bucket, Key: 'locked', VersionId }));
    await expect(deletion).rejects.toMatchObject({ name: 'AccessDenied' });
    s3.destroy();
  });

  it('has a cluster where Deployments become available, Jobs complete and RBAC holds', async () => {
    await kubectl('create', 'deployment', 'web', '--image=example.com/web:1', '--replicas=3');
    await kubectl('create', 'job', 'once', '--image=example.com/once:1', '--', 'true');
    await kubectl('wait', 'deployment/web', '--for=condition=Available', '--timeout=20s');
    await kubectl('wait', 'job/once', '--for=condition=Complete', '--timeout=20s');
    const denied = kubectl('get', 'secrets', '--as=system:serviceaccount:default:default');
    await expect(denied).rejects.toThrow(/Forbidden/);
  });

  it('stands beside a second one, which leaves no process when its owner is killed by SIGKILL', async () => {
    const other = stateDirOf(root, { name: 'second' });
    const script = `
      import { startStack } from ${JSON.stringify(STACK_MODULE)};
      await startStack({ stateDir: process.argv[1], env: process.env });
      process.stdout.write('up');`;
    const args = ['--input-type=module', '-e', script, other];
    const owner = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve, reject) => {
      owner.stdout.once('data', resolve);
      owner.once('exit', () => reject(new Error('the second stack did not come up')));
    });
    expect(await devStatus({ stateDir: other })).toMatchObject({ state: 'up', healthy: { kubernetes: true } });
    const commands = (await processesOf(other)).join('\n');
    const ports = [...commands.matchAll(/\.port\.grpc=(\d+)/g)].map(([, port]) => port);
    const ours = (name: string) => ports.some((port) => name.endsWith(`-grpc-${port}.sock`));
    const socketsLeft = async () => (await readdir('/tmp')).filter(ours);
    expect(await socketsLeft()).toHaveLength(4);
    // Eight servers, each with a watcher beside it, and the owner.
    expect((await processesOf(other)).length).toBeGreaterThan(8);

    owner.kill('SIGKILL');
    expect(await untilNoProcess(other)).toEqual([]);
    expect(await socketsLeft()).toEqual([]);
    expect(await devStatus({ stateDir: other })).toMatchObject({ state: 'down' });
    expect(await devStatus({ stateDir })).toMatchObject({ state: 'up', healthy: { kubernetes: true } });
  });

  it('leaves no process when it is interrupted while it starts', async () => {
    const other = stateDirOf(root, { name: 'interrupted' });
    const interruption = new AbortController();
    // When the first part is up the others are about to be.
    const onProgress = (_part: string, message: string) => {
      if (message.startsWith('ready')) interruption.abort(new Error('interrupted'));
    };
    const starting = devUp({ stateDir: other, env: process.env, signal: interruption.signal, onProgress });
    await expect(starting).rejects.toThrow('interrupted');
    expect(await untilNoProcess(other)).toEqual([]);
  });

  it('is gone after `down`, and has its data again after the next `up`', async () => {
    expect(await devDown({ stateDir })).toBe(true);
    expect(await processesOf(stateDir)).toEqual([]);
    expect(await devStatus({ stateDir })).toEqual({ stateDir, state: 'down' });

    ({ services } = await devUp({ stateDir, env: process.env, persist: true }));
    expect(await kubectl('get', 'deployment', 'web', '-o', 'jsonpath={.spec.replicas}')).toBe('3');
  });
});

describe('a development stack that is to encrypt what it tells Temporal', () => {
  it('has a worker that does, and tells every command of its shell to', async () => {
    const root = await mkdtemp(join(tmpdir(), 'byoc-dev-encrypts-'));
    const stateDir = stateDirOf(root, {});
    try {
      const byoc = [join(import.meta.dirname, '../../client/cli/main.ts'), 'dev'];
      const options = { cwd: root, env: { ...process.env, BYOC_PAYLOAD_CODEC: 'vault' } };
      const up = await run(process.execPath, [...byoc, 'up'], options);
      const log = await readFile(join(connectorFolder(stateDir), 'worker.log'), 'utf8');
      expect(log).toContain('payloads are encrypted');
      const { stdout } = await run(process.execPath, [...byoc, 'env'], { cwd: root });
      expect(stdout).toContain('export BYOC_PAYLOAD_CODEC=vault\n');
      // The pages of the stack's UI may then ask a codec server that is started in this shell.
      const ui = /UI (http:\S+)/.exec(up.stdout + up.stderr)?.[1] ?? 'no UI';
      expect(stdout).toContain(`export BYOC_CODEC_ORIGINS=${ui}\n`);
    } finally {
      await devDown({ stateDir });
      await rm(root, { recursive: true, force: true });
    }
  });
});

describe('a stack of one service', () => {
  it('answers again at the same address after the server was killed and restarted', async () => {
    const stateDir = await mkdtemp(join(tmpdir(), 'byoc-dev-part-'));
    const stack = await startStack({ stateDir, env: process.env, services: ['vault'] });
    try {
      await stack.kill('openbao');
      expect(await stack.check()).toMatchObject([{ part: 'openbao', healthy: false }]);
      await stack.restart('openbao');
      expect(await isUnsealed(stack.vault)).toBe(true);
      expect(() => stack.kubernetes).toThrow(expect.objectContaining({ code: 'PART_UNAVAILABLE' }));
    } finally {
      await stack.stop();
      await rm(stateDir, { recursive: true });
    }
  });
});
