import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Stack } from '../../dev/stack.ts';
import type { ServerName } from '../../dev/host.ts';
import { clusterAt } from '../../dev/servers/control-plane.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { CommandResult } from '../support/connector.ts';
import { trustingPolicy } from '../support/policies.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';
import { WatchedConnector } from '../support/watched-connector.ts';

// R25: a pod that starts while a part is away. That of Vault is in parts-down.test.ts.

const MAIN = join(import.meta.dirname, '../../worker/main.ts');

/** The stack and what is linked to it outlive each test; the worker is started anew in each. */
describe('a worker that starts while', () => {
  let stack: Stack;
  let watched: WatchedConnector;

  beforeAll(async () => {
    stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes', 'controlPlane'], { persist: true });
    watched = await WatchedConnector.start(stack, { policy: trustingPolicy() });
    await watched.connector.stopWorker();
  }, 180_000);
  afterAll(async () => {
    await watched.connector.stop();
    await stack.stop();
  });

  /** Starts it as the kubelet does, and waits until it has ended. */
  function startInVain(env: Record<string, string> = {}): Promise<CommandResult & { readonly tookMs: number }> {
    const { folder, env: own } = watched.connector.prepared;
    const startedAt = Date.now();
    return new Promise((resolve) => {
      const options = { env: { PATH: '/usr/bin:/bin', HOME: folder, ...own, ...env }, timeout: 60_000 };
      execFile(process.execPath, [MAIN], options, (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : error ? -1 : 0;
        resolve({ code, stdout, stderr, tookMs: Date.now() - startedAt });
      });
    });
  }

  it.each([
    ['Temporal', 'temporal', 'TEMPORAL_UNAVAILABLE'],
    ['the API server', 'kube-apiserver', 'KUBERNETES_UNAVAILABLE'],
  ] as const)(
    '%s is away ends soon, says why in a line, and loses nothing of the audit log',
    async (_, part: ServerName, code) => {
      const { connector } = watched;
      const before = await connector.audit();
      await stack.kill(part);
      for (let times = 0; times < 2; times += 1) {
        const ended = await startInVain();
        expect({ code: ended.code, line: JSON.parse(ended.stderr.trim()) }).toEqual({
          code: 3,
          line: expect.objectContaining({ level: 'error', code }),
        });
        console.log(`without ${part} a worker ended after ${(ended.tookMs / 1_000).toFixed(1)} s`);
      }
      await stack.restart(part);
      await connector.startWorker();
      expect((await connector.audit()).slice(0, before.length)).toEqual(before);
      await connector.stopWorker();
      expect(await connector.byoc('audit', 'verify', connector.prepared.auditDir)).toMatchObject({ code: 0 });
    },
    180_000,
  );

  it('S3 is away works, says so, and uploads what it wrote when it is back', async () => {
    const { connector } = watched;
    await stack.kill('seaweedfs');
    await connector.startWorker();
    const begun = (await connector.audit()).findLast(({ type }) => type === 'worker.started');
    expect(begun).toMatchObject({ detail: { objectLock: null } });
    await connector.submitAndPlan();
    await stack.restart('seaweedfs');
    await watched.trigger('audit-upload', 'worker-0');
    await until(
      'what was written to be uploaded',
      async () => {
        const { audit } = await watched.health();
        return (audit.bucket?.uploadedSeq ?? 0) >= (begun?.seq ?? Infinity);
      },
      60_000,
    );
    await connector.stopWorker();
  }, 180_000);

  it('the control plane is away works, and registers when it is back', async () => {
    const { connector } = watched;
    await stack.kill('control-plane');
    await connector.startWorker();
    expect(await watched.untilPart('control-plane', 'degraded')).toMatchObject({ code: 'CONTROL_PLANE_UNAVAILABLE' });
    await connector.submitAndPlan();
    const backAt = Date.now();
    await stack.restart('control-plane');
    await watched.trigger('registration').catch(() => undefined);
    const cluster = await until(
      'the registration',
      async () => {
        const found = await clusterAt(stack.controlPlane, connector.clusterId);
        return found && Date.parse(found.lastBeat?.sentAt ?? '') > backAt && found;
      },
      90_000,
    );
    expect(cluster.liveness).toBe('alive');
    await watched.untilPart('control-plane', 'ok');
    await connector.stopWorker();
  }, 180_000);

  it('no name but those of Temporal, Vault and the API server can be resolved works all the same', async () => {
    const nowhere = (name: string) => `https://${name}.invalid`;
    const other = await WatchedConnector.start(stack, {
      policy: trustingPolicy(),
      env: {
        CONTROL_PLANE_URL: nowhere('control-plane'),
        AWS_ENDPOINT_URL_S3: nowhere('s3'),
        PROM_URL: nowhere('prometheus'),
        INSIGHT_URL: nowhere('insight'),
      },
    });
    try {
      await other.connector.submitAndPlan();
      await other.trigger('metrics', 'worker-0');
      expect(await other.untilPart('prometheus', 'down')).toMatchObject({ code: 'PROMETHEUS_UNAVAILABLE' });
      expect(await other.untilPart('control-plane', 'degraded')).toMatchObject({ code: 'CONTROL_PLANE_UNAVAILABLE' });
      expect(await other.health()).toMatchObject({ status: 'degraded', ready: true });
    } finally {
      await other.connector.stop();
    }
  }, 180_000);

  it('a setting is wrong ends with another code, which no restart mends', async () => {
    const ended = await startInVain({ S3_BUCKET: 'x', AWS_ENDPOINT_URL_S3: 'http://s3.example.com' });
    expect(ended.code).toBe(new ConnectorError('CONFIG_INVALID').traits.exitCode);
    expect(ended.stderr).toContain('CONFIG_INVALID');
  }, 90_000);
});
