import { readdir, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startWorker } from '../../dev/connector.ts';
import type { ClusterDetails } from '../../dev/control-plane/overview.ts';
import { clusterAt, headsAt, order } from '../../dev/servers/control-plane.ts';
import type { Stack } from '../../dev/stack.ts';
import { AUDIT_CATALOGUE } from '../../domain/audit-catalogue.ts';
import { leaseNameOf, scheduleIdOf, VERSION } from '../../domain/names.ts';
import { TestConnector } from '../support/connector.ts';
import { ownStack } from '../support/stack.ts';
import { until } from '../support/until.ts';

// R12, R13, R24, R25, R36

/** In this order: the control plane goes away last. */
describe('the link to the control plane', () => {
  let stack: Stack;
  let connector: TestConnector;

  beforeAll(async () => {
    stack = await ownStack(['temporal', 'vault', 's3', 'kubernetes', 'controlPlane']);
    connector = await TestConnector.start({
      clothes: 'development', // all roles in one process; a process for each is in roles.test.ts
      services: stack,
      linked: true,
      env: { BYOC_LABELS: 'team=shop,stage=test', BYOC_CONTROL_PLANE_LOST_SECONDS: '1' },
    });
  }, 120_000);
  afterAll(async () => {
    await connector.stop();
    await stack.stop();
  });

  const known = () => clusterAt(stack.controlPlane, connector.clusterId);
  const knownAs = (what: string, is: (cluster: ClusterDetails) => unknown, timeoutMs?: number) =>
    until(
      what,
      async () => {
        const cluster = await known();
        return cluster && is(cluster) ? cluster : undefined;
      },
      timeoutMs,
    );
  const trigger = (name: string) =>
    connector.client.client.schedule.getHandle(scheduleIdOf(connector.clusterId, name)).trigger();
  /** Beats until something is so; one beat may be skipped because another one runs. */
  const beatUntil = (what: string, is: (cluster: ClusterDetails) => unknown) =>
    until(what, async () => {
      await trigger('heartbeat');
      const cluster = await known();
      return cluster && (await is(cluster)) ? cluster : undefined;
    });
  const submitDenied = () => connector.submit({ clusterId: 'another-cluster' });
  const waiting = () => readdir(join(connector.prepared.folder, 'data', 'alerts'));

  it('registers within 5 s of a worker being ready, with who and what the cluster is', async () => {
    await knownAs('the first registration', () => true);
    await connector.stopWorker();
    await order(stack.controlPlane, connector.clusterId, 'forget');
    const startedAt = Date.now();
    await connector.startWorker();
    const { registration, registeredAt } = await knownAs('the registration', () => true);
    const ready = (await connector.log()).find(({ message }) => message === 'ready');
    const tookMs = Date.parse(registeredAt) - Date.parse(String(ready?.['time']));
    const coldMs = Date.parse(registeredAt) - startedAt;
    console.log(`registered ${coldMs} ms after its process was started, ${tookMs} ms after the worker was ready`);
    expect(registration).toMatchObject({
      clusterId: connector.clusterId,
      clusterUid: await connector.kubectl('get', 'namespace', 'kube-system', '-o', 'jsonpath={.metadata.uid}'),
      labels: { team: 'shop', stage: 'test' },
      capabilities: {
        kubernetesVersion: expect.stringMatching(/^v1\./),
        nodes: 2,
        architectures: [expect.any(String)],
        roles: ['registration', 'execution'],
      },
      versions: { connector: VERSION },
      policyDigest: expect.stringMatching(/^sha256:/),
      auditKeys: [expect.stringContaining('PUBLIC KEY')],
    });
    expect(tookMs).toBeLessThan(5_000);
  });

  it('beats with phases, heads of the audit log, versions and components', async () => {
    const { wpkId } = await connector.submitAndPlan();
    await connector.untilListed(wpkId);
    const { lastBeat, liveness, alarms } = await beatUntil(
      'a beat with the package',
      ({ lastBeat }) => lastBeat?.packages?.['awaiting-approval'] === 1 && lastBeat.clockOffsetMs !== undefined,
    );
    expect(liveness).toBe('alive');
    expect(lastBeat).toMatchObject({ writer: 'worker-0' });
    const states = new Map(lastBeat?.components.map(({ name, state }) => [name, state]));
    for (const part of ['control-plane', 'kubernetes', 'temporal'])
      expect([part, states.get(part)]).toEqual([part, 'ok']);
    expect(Math.abs(lastBeat?.clockOffsetMs ?? Infinity)).toBeLessThan(1_000);
    expect(alarms).toEqual([]);
    const heads = JSON.parse(await headsAt(stack.controlPlane, connector.clusterId)) as { head: { chain: string } }[];
    expect(heads.map(({ head }) => head.chain)).toEqual([`${connector.clusterId}.worker-0`]);
  });

  it('is two schedules that everybody can see, with overlap and catch-up set', async () => {
    const { schedule } = connector.client.client;
    for (const [name, every, catchupWindow] of [
      ['registration', 300_000, 60_000],
      ['heartbeat', 30_000, 10_000],
    ] as const) {
      const { spec, policies } = await schedule.getHandle(scheduleIdOf(connector.clusterId, name)).describe();
      expect(spec.intervals).toMatchObject([{ every }]);
      expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow });
    }
  });

  it('beats once for the whole cluster however many pods run, with the heads of all writers', async () => {
    const folder = join(connector.prepared.folder, 'second');
    const env = { ...connector.prepared.env, BYOC_WRITER: 'worker-1', BYOC_DATA_DIR: join(folder, 'data') };
    const second = await startWorker({ ...connector.prepared, folder, env });
    try {
      const chains = ['worker-0', 'worker-1'].map((writer) => `${connector.clusterId}.${writer}`);
      await beatUntil('the heads of both', async () => {
        const heads = JSON.parse(await headsAt(stack.controlPlane, connector.clusterId)) as {
          head: { chain: string };
        }[];
        return chains.every((chain) => heads.some(({ head }) => head.chain === chain));
      });
      const first = (await known())?.beats.length ?? 0;
      const writers = new Set<string | undefined>();
      for (let beats = first; beats < first + 6;) {
        await trigger('heartbeat'); // skipped where one runs, so that it may take another
        const isNext = (one: ClusterDetails) => one.beats.length > beats;
        const cluster = await knownAs('the next beat', isNext, 5_000).catch(() => undefined);
        if (!cluster) continue;
        writers.add(cluster.lastBeat?.writer);
        beats = cluster.beats.length;
      }
      await sleep(1_000);
      // The schedule itself may have had one or two meanwhile; two pods that beat for themselves would have made twelve.
      expect((await known())?.beats.length).toBeLessThanOrEqual(first + 8);
      console.log(`the beats of two pods were sent by ${[...writers].join(' and ')}`);
    } finally {
      await second.stop();
    }
  }, 90_000);

  it('tells of a denied package as soon as it is, with nothing that came from outside', async () => {
    const { wpkId } = await submitDenied();
    const { alerts } = await knownAs('the alert', (cluster) => cluster.alerts.length > 0);
    expect(alerts).toMatchObject([{ type: 'package-denied', code: 'WPK_WRONG_CLUSTER', writer: 'worker-0' }]);
    expect(alerts[0]?.workflowId).toContain(wpkId);
    expect(await until('nothing to wait', async () => (await waiting()).length === 0)).toBe(true);
  });

  it('registers again at once where the control plane has forgotten the cluster', async () => {
    await order(stack.controlPlane, connector.clusterId, 'forget');
    expect(await known()).toBeUndefined();
    await beatUntil('the cluster to be known again', ({ lastBeat }) => lastBeat !== undefined);
  });

  it('tells in log and audit that its token is refused, once, and goes on with one that is not', async () => {
    await order(stack.controlPlane, connector.clusterId, 'revoke');
    await until('the refusal to be recorded', async () => {
      await trigger('heartbeat');
      return (await connector.audit()).some(({ type }) => type === 'authentication.failed');
    });
    const refusals = (await connector.audit()).filter(({ type }) => type === 'authentication.failed');
    expect(refusals.map(({ detail }) => detail)).toEqual([{ at: 'control-plane', code: 'CONTROL_PLANE_DENIED' }]);

    await connector.stopWorker(); // its token is its own
    await connector.startWorker();
    await beatUntil('the alert of it', ({ alerts }) => alerts.some(({ type }) => type === 'authentication-failed'));
  }, 90_000);

  it('keeps alerts while the control plane is away, over a restart too, and delivers them in order', async () => {
    const lostAt = Date.now();
    await stack.kill('control-plane');
    await submitDenied();
    await until('the first alert to wait', async () => (await waiting()).length > 0);
    await until('the loss to be recorded', async () => {
      await trigger('heartbeat');
      return (await connector.audit()).some(({ type }) => type === 'link.lost');
    });
    await connector.stopWorker();
    await connector.startWorker();
    const kept = await until('both alerts to wait', async () => {
      const files = await waiting();
      return files.length >= 2 ? files : undefined;
    });
    expect(kept.length).toBeLessThan(10);

    await stack.restart('control-plane');
    const { alerts } = await beatUntil('the alerts', (cluster) =>
      cluster.alerts.some(({ type }) => type === 'control-plane-lost'),
    );
    // The worker that was started meanwhile found it lost too.
    const [first, ...others] = alerts.filter(({ at }) => Date.parse(at) > lostAt).map(({ type }) => type);
    expect([first, new Set(others)]).toEqual(['package-denied', new Set(['control-plane-lost'])]);
    expect(await until('nothing to wait', async () => (await waiting()).length === 0)).toBe(true);
  }, 120_000);

  it('has the control plane notice that a log was cut off and its head published anew', async () => {
    await connector.stopWorker();
    // By somebody who has the disk and the cluster: what was published goes too.
    const file = join(connector.prepared.auditDir, `${connector.clusterId}.worker-0`, `${today()}.jsonl`);
    const lines = (await readFile(file, 'utf8')).split('\n');
    await truncate(file, Buffer.byteLength(`${lines.slice(0, 5).join('\n')}\n`));
    await connector.kubectl(
      'delete',
      'lease',
      leaseNameOf(connector.clusterId, 'worker-0'),
      '-n',
      connector.headsNamespace,
    );
    // From the bucket a worker would learn of it, and begin another chain.
    const { folder, env } = connector.prepared;
    const cut = { ...connector.prepared, folder: join(folder, 'cut'), env: { ...env, S3_BUCKET: '' } };
    const worker = await startWorker(cut);
    try {
      const { alarms } = await beatUntil('the alarm', (cluster) => cluster.alarms.length > 0);
      expect(alarms).toMatchObject([{ kind: 'truncated', chain: `${connector.clusterId}.worker-0` }]);
    } finally {
      await worker.stop();
    }
  }, 90_000);

  it('records nothing that the catalogue does not have', async () => {
    for (const { type } of await connector.audit()) expect(AUDIT_CATALOGUE).toHaveProperty([type]);
  });
});

function today(): string {
  return new Date().toISOString().slice(0, 10);
}
