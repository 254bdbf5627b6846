import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ulid } from 'ulid';
import { request } from 'undici';
import { ConnectorClient } from '../../client/connector-client.ts';
import { createAuthority } from '../../dev/authority.ts';
import type { PreparedConnector } from '../../dev/connector.ts';
import { prepareConnector, startWorker } from '../../dev/connector.ts';
import type { ClusterDetails } from '../../dev/control-plane/overview.ts';
import { embeddedCluster } from '../../dev/demo/cluster.ts';
import { Stage } from '../../dev/demo/stage.ts';
import { setScene, tellMainStory } from '../../dev/demo/story.ts';
import { environmentOf } from '../../dev/environment.ts';
import type { Program } from '../../dev/process.ts';
import { run } from '../../dev/process.ts';
import { clusterAt } from '../../dev/servers/control-plane.ts';
import type { Services, Stack } from '../../dev/stack.ts';
import type { HealthReport } from '../../domain/agent-api.ts';
import type { Role } from '../../domain/names.ts';
import { scheduleIdOf, taskQueueOf } from '../../domain/names.ts';
import type { InstalledRights } from '../support/chart-rights.ts';
import { installRights } from '../support/chart-rights.ts';
import type { TestServer } from '../support/http-server.ts';
import { startServer, status } from '../support/http-server.ts';
import { callKubernetes } from '../support/kubernetes-admin.ts';
import { applyStep, buildWpk, configMap, sign } from '../support/packages.ts';
import { ownStack, sharedServices } from '../support/stack.ts';
import { TokenIssuer } from '../support/token-issuer.ts';
import { until } from '../support/until.ts';
import { workflowBundle } from '../support/workflow-bundle.ts';

// R7, R15, R16, R22, R24, R25

const ROLES = ['registration', 'metrics', 'execution'] as const;
const BYOC = join(import.meta.dirname, '../../client/cli/main.ts');

/** In this order: processes are taken away, and the last one is there again. */
describe('a process for each role, with the chart’s accounts and a login of its own', () => {
  const clusterId = `test-${ulid().toLowerCase()}`;
  const namespace = `shop-${ulid().toLowerCase()}`;
  let services: Services;
  let prometheus: Stack;
  let insight: TestServer;
  let folder: string;
  let issuer: TokenIssuer;
  let rights: InstalledRights;
  let prepared: PreparedConnector;
  let client: ConnectorClient;
  const workers = new Map<Role, Program>();

  const folderOf = (role: Role) => join(folder, role);
  const logOf = async (role: Role) => readFile(join(folderOf(role), 'worker.log'), 'utf8');

  /** The settings of a role's pod: of Vault only its own login, of Kubernetes only its own account. */
  async function settingsOf(role: Role): Promise<Record<string, string>> {
    const others = ROLES.filter((other) => other !== role).map((other) => `_${other.toUpperCase()}`);
    const own = Object.entries(prepared.env).filter(([name]) => !others.some((other) => name.endsWith(other)));
    return {
      ...Object.fromEntries(own),
      ...(await rights.settingsOf(role)),
      BYOC_ROLES: role,
      BYOC_WRITER: role,
      BYOC_DATA_DIR: join(folderOf(role), 'data'),
      BYOC_AGENT_PORT: '0',
    };
  }
  async function start(role: Role): Promise<void> {
    await rm(join(folderOf(role), 'worker.log'), { force: true });
    workers.set(role, await startWorker({ ...prepared, folder: folderOf(role), env: await settingsOf(role) }));
  }

  beforeAll(async () => {
    services = await sharedServices();
    prometheus = await ownStack(['prometheus']);
    folder = await mkdtemp(join(tmpdir(), 'byoc-roles-'));
    const authority = await createAuthority();
    insight = await startServer(status(202), await authority.issue('insight'));
    const { address, ca, username, password } = prometheus.prometheus;
    const caFiles = { prometheus: join(folder, 'prometheus.pem'), insight: join(folder, 'insight.pem') };
    await writeFile(caFiles.prometheus, ca);
    await writeFile(caFiles.insight, authority.ca);
    issuer = await TokenIssuer.create();
    await writeFile(join(folder, 'jwks.json'), await issuer.jwks());
    prepared = await prepareConnector({
      services,
      folder,
      keep: true,
      clusterId,
      controlPlane: services.controlPlane,
      env: {
        BYOC_WORKFLOW_BUNDLE: await workflowBundle(),
        PROM_URL: address,
        PROM_USERNAME: username,
        PROM_PASSWORD: password,
        BYOC_PROM_CA: caFiles.prometheus,
        INSIGHT_URL: insight.address,
        BYOC_INSIGHT_CA: caFiles.insight,
        BYOC_AGENT_JWT_ISSUER: issuer.issuer,
        BYOC_AGENT_JWT_KEYS: join(folder, 'jwks.json'),
      },
    });
    await callKubernetes(services, 'create', 'namespace', namespace);
    rights = await installRights(services, folder, { clusterId, namespaces: [namespace] });
    client = await ConnectorClient.connect(clusterId, environmentOf(services));
    await Promise.all(ROLES.map(start));
  }, 120_000);
  afterAll(async () => {
    await Promise.all([...workers.values()].map((worker) => worker.stop()));
    await client.close();
    await rights.remove();
    await callKubernetes(services, 'delete', 'namespace', namespace, '--wait=false');
    await Promise.all([insight.close(), prometheus.stop()]);
    await rm(folder, { recursive: true, force: true });
  });

  const trigger = (name: string, writer?: string) =>
    client.client.schedule.getHandle(scheduleIdOf(clusterId, name, writer)).trigger();
  const known = () => clusterAt(services.controlPlane, clusterId);
  const knownAs = (what: string, name: string, is: (cluster: ClusterDetails) => unknown) =>
    until(
      what,
      async () => {
        await trigger(name);
        const cluster = await known();
        return cluster && is(cluster) ? cluster : undefined;
      },
      20_000,
    );
  const submit = (name: string, to = clusterId) =>
    client.submit(
      sign(
        buildWpk({ clusterId: to, namespaces: [namespace], steps: [applyStep(configMap(name, namespace, {}))] }),
        prepared.privateKeyPem,
      ),
    );
  const byoc = (...args: string[]) =>
    run(process.execPath, [BYOC, ...args], {
      env: {
        ...environmentOf(services),
        PATH: '/usr/bin:/bin',
        HOME: folder,
        BYOC_CLUSTER_ID: clusterId,
        BYOC_STATE_NAMESPACE: rights.stateNamespace,
        BYOC_HEADS_NAMESPACE: rights.namespace,
      },
    });
  const beat = (what: string, is: (beat: NonNullable<ClusterDetails['lastBeat']>) => unknown) =>
    knownAs(what, 'heartbeat', ({ lastBeat }) => lastBeat && is(lastBeat));
  const agentOf = async (role: Role) => {
    const line = (await logOf(role)).split('\n').find((one) => one.includes('the agent listens'));
    return `http://127.0.0.1:${(JSON.parse(line ?? '{}') as { port: number }).port}`;
  };

  it('registers the cluster with the roles of all processes', async () => {
    const { registration } = await knownAs(
      'all roles',
      'registration',
      ({ registration }) => registration.capabilities.roles.length === ROLES.length,
    );
    expect(registration.capabilities).toMatchObject({ roles: [...ROLES], kubernetesVersion: expect.any(String) });
    expect(registration.capabilities.nodes).toBeUndefined(); // nobody gave it the right to count them
  });

  it('executes the package of the demo', async () => {
    const stage = new Stage(new PassThrough() as unknown as NodeJS.WriteStream);
    const { temporal } = services;
    const { signal } = new AbortController();
    const cluster = embeddedCluster(services.kubernetes, signal, namespace);
    await setScene({ stage, cluster });
    const told = await tellMainStory({ stage, cluster, connector: prepared, temporal, client, signal });
    expect(told).toMatchObject({ phase: 'succeeded' });
    expect(told.objectsChanged).toBeGreaterThan(3);
  }, 60_000);

  it('sends metrics', async () => {
    await until('metrics at the Insight Engine', async () => {
      await trigger('metrics', 'metrics');
      return insight.requests.length > 0;
    });
  });

  it('has each role answer for its health, and only execution for packages', async () => {
    const headers = { authorization: `Bearer ${await issuer.token(`byoc/${clusterId}`)}` };
    for (const role of ROLES) {
      const url = await agentOf(role);
      const { statusCode, body } = await request(`${url}/health`, { headers });
      const { freeze, components, registration, ...health } = (await body.json()) as HealthReport;
      expect([role, statusCode, health]).toMatchObject([role, 200, { ready: true, roles: [role], writer: role }]);
      expect([role, freeze?.state]).toEqual([role, role === 'execution' ? 'open' : undefined]);
      const isKnown = { state: 'registered', registeredAt: expect.any(String) };
      expect([role, registration]).toEqual([
        role,
        role === 'registration' ? expect.objectContaining(isKnown) : undefined,
      ]);
      const applying = components.find(({ name }) => name === 'applying-account')?.state;
      expect([role, applying]).toEqual([role, role === 'execution' ? 'ok' : undefined]);
      const metrics = await (await request(`${url}/metrics`)).body.text();
      expect([role, /^byoc_ready 1$/m.test(metrics)]).toEqual([role, true]);
      expect([role, metrics.includes('byoc_freeze_state{')]).toEqual([role, role === 'execution']);
      const execute = await request(`${url}/execute`, { method: 'POST', body: '{}', headers });
      const { code } = (await execute.body.json()) as { code: string };
      expect([role, code]).toEqual([role, role === 'execution' ? 'CALL_UNSUPPORTED' : 'ROUTE_OFF']);
    }
  });

  it('keeps, uploads and cleans up an audit log for each process', async () => {
    for (const role of ROLES) {
      for (const name of ['audit-upload', 'audit-retention']) {
        const id = scheduleIdOf(clusterId, name, role);
        await trigger(name, role);
        await until(`${id} to succeed`, async () => {
          const runs = client.client.workflow.list({
            query: `TemporalScheduledById = '${id}' AND ExecutionStatus = 'Completed'`,
          });
          return !(await runs[Symbol.asyncIterator]().next()).done;
        });
      }
    }
    await byoc('audit', 'verify', ...ROLES.map((role) => join(folderOf(role), 'data', 'audit')));
  }, 60_000);

  it('tells the control plane of the freeze, which registration only reads', async () => {
    await beat('an open freeze', ({ freeze }) => freeze?.state === 'open');
    await byoc('stop', '--all', '--reason', 'a test');
    const { lastBeat } = await beat('the freeze', ({ freeze }) => freeze?.state === 'frozen');
    expect(lastBeat).toMatchObject({ writer: 'registration', freeze: { since: expect.any(String) } });
    await byoc('resume', '--reason', 'a test');
    await beat('an open freeze again', ({ freeze }) => freeze?.state === 'open');
  }, 60_000);

  it('brings an alert of execution to the control plane, through registration', async () => {
    const { wpkId } = await submit('elsewhere', 'another-cluster');
    const { alerts } = await knownAs('the alert', 'heartbeat', ({ alerts }) =>
      alerts.some(({ type, workflowId }) => type === 'package-denied' && workflowId?.includes(wpkId)),
    );
    expect(alerts.find(({ type }) => type === 'package-denied')).toMatchObject({ writer: 'execution' });
  });

  it('takes no alert to the control plane that is not signed by the connector', async () => {
    const alert = { id: 'forged', type: 'frozen', severity: 'critical', at: new Date().toISOString(), writer: 'x' };
    const forged = { alert: { ...alert, summary: 'All is lost.' }, signature: Buffer.alloc(64).toString('base64') };
    const failure = await client.client.workflow
      .execute('relayAlert', {
        taskQueue: taskQueueOf(clusterId, 'execution'),
        workflowId: `forged/${clusterId}`,
        args: [{ taskQueue: taskQueueOf(clusterId, 'registration'), signed: forged }],
      })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ cause: { cause: { type: 'CALLER_UNTRUSTED' } } });
    expect((await known())?.alerts.some(({ id }) => id === 'forged')).toBe(false);
  });

  it('needs no right that it does not have', async () => {
    for (const role of ROLES) {
      const refused = (await logOf(role)).split('\n').filter((line) => /forbidden|KUBERNETES_FORBIDDEN/i.test(line));
      expect([role, refused]).toEqual([role, []]);
    }
  });

  it('beats on and sends metrics while execution is dead', async () => {
    await workers.get('execution')?.kill();
    const before = (await known())?.beats.length ?? 0;
    await knownAs('two more beats', 'heartbeat', ({ beats }) => beats.length >= before + 2);
    const sent = insight.requests.length;
    await until('more metrics', async () => {
      await trigger('metrics', 'metrics');
      return insight.requests.length > sent;
    });
    await start('execution');
  }, 60_000);

  it('executes while registration and metrics are dead, and tells of it once they are back', async () => {
    await Promise.all([workers.get('registration')?.kill(), workers.get('metrics')?.kill()]);
    const { wpkId, workflowId } = await submit('alone');
    const planDigest = await until('the plan', async () => (await client.get(wpkId)).planDigest);
    await client.client.workflow.getHandle(workflowId).signal('approve', { approver: 'bob@example.com', planDigest });
    expect(await client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
    const denied = await submit('elsewhere', 'another-cluster');
    expect(await client.result(denied.wpkId)).toMatchObject({ phase: 'denied' });

    await Promise.all([start('registration'), start('metrics')]);
    await until(
      'the alert that waited',
      async () => (await known())?.alerts.some(({ workflowId }) => workflowId?.includes(denied.wpkId)),
      90_000,
    );
  }, 150_000);
});
