import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { KubeConfig, type User } from '@kubernetes/client-node';
import { createKubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { forEachLimited } from '../../../activities/kubernetes/concurrency.ts';
import { at } from '../../../activities/kubernetes/kube-object.ts';
import { createPlanner } from '../../../activities/kubernetes/planner.ts';
import { createStateRecords } from '../../../activities/kubernetes/writer.ts';
import { createAuthority } from '../../../dev/authority.ts';
import { startServer } from '../../support/http-server.ts';
import { until } from '../../support/until.ts';
import { applyStep, configMap, digestOf, mask, packageOf, sha256 } from '../../support/kubernetes.ts';
import { type TestCluster, testCluster } from '../../support/kubernetes.ts';
import { sharedServices } from '../../support/stack.ts';

let cluster: TestCluster;
let admin: KubeConfig;
let folder: string;
beforeAll(async () => {
  cluster = await testCluster();
  folder = await mkdtemp(join(tmpdir(), 'byoc-kube-api-'));
  admin = new KubeConfig();
  admin.loadFromFile((await sharedServices()).kubernetes.kubeconfig);
});
afterAll(async () => {
  await cluster.stop();
  await rm(folder, { recursive: true });
});

type ClusterFields = Partial<ReturnType<KubeConfig['getClusters']>[number]>;

/** The kubeconfig of the shared API server with something changed. */
function kubeConfig(fields: ClusterFields, user: Partial<User> = {}): KubeConfig {
  const [own, ownUser] = [admin.getCurrentCluster(), admin.getCurrentUser()];
  if (!own || !ownUser) throw new Error('the shared kubeconfig has no current context');
  const config = new KubeConfig();
  config.loadFromClusterAndUser({ ...own, ...fields }, { ...ownUser, ...user });
  return config;
}

/** The token of a new service account without any rights. */
async function tokenOf(name: string): Promise<string> {
  const path = cluster.path('api/v1', 'serviceaccounts', name);
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: cluster.namespace } };
  await cluster.applyAs('test', path, account);
  const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} });
  const contentType = 'application/json';
  const answer = await cluster.api.write({ method: 'POST', path: `${path}/token`, query: {}, contentType, body });
  return String(at(answer, 'status', 'token'));
}

describe('a kubeconfig', () => {
  it.each([
    ['turns TLS verification off', { skipTLSVerify: true }],
    ['does not use https', { server: 'http://127.0.0.1:1' }],
    ['asks for a proxy', { proxyUrl: 'http://127.0.0.1:1' }],
  ])('that %s is refused', (what, fields) => {
    expect(() => createKubeApi(kubeConfig(fields))).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(what) }),
    );
  });
});

/** All but the clocks: requests go on while time jumps. */
const TIMERS = [
  'hrtime',
  'nextTick',
  'queueMicrotask',
  'setImmediate',
  'clearImmediate',
  'setInterval',
  'clearInterval',
  'setTimeout',
  'clearTimeout',
] as const;

describe('an API server', () => {
  const NAMESPACE = '/api/v1/namespaces/kube-system';

  it('that falls silent is given up when it was said, and does not hold up the closing', async () => {
    const authority = await createAuthority();
    const silent = await startServer(() => undefined, await authority.issue('silent'));
    const ca = { caFile: '', caData: Buffer.from(authority.ca).toString('base64') };
    const api = createKubeApi(kubeConfig({ server: silent.address, ...ca }), { requestTimeoutMs: 500 });
    const startedAt = performance.now();
    const call = { method: 'POST', path: '/api/v1/x', query: {}, contentType: 'application/json', body: '{}' } as const;
    const written = expect(api.write(call)).rejects.toMatchObject({ code: 'KUBERNETES_UNAVAILABLE' });
    await until('the request', () => silent.requests.length > 0);
    await api.close();
    await written;
    expect(performance.now() - startedAt).toBeLessThan(30_000); // the API server's own time is a minute
    await silent.close();
  }, 90_000);

  it('that refuses rights right after it was away has not loaded its roles yet: it is asked again', async () => {
    const authority = await createAuthority();
    const refusal = { kind: 'Status', status: 'Failure', code: 403, reason: 'Forbidden' };
    const message =
      'leases "x" is forbidden: User "u" cannot patch resource "leases" in API group "" in the namespace "n"';
    let isUp = false;
    let refusals = 0;
    const starting = await startServer(
      ({ raw }, response) => {
        if (!isUp) raw.socket.destroy();
        else if (refusals++ < 2) response.writeHead(403).end(JSON.stringify({ ...refusal, message }));
        else response.writeHead(200).end('{"kind":"Lease"}');
      },
      await authority.issue('starting'),
    );
    const ca = { caFile: '', caData: Buffer.from(authority.ca).toString('base64') };
    const api = createKubeApi(kubeConfig({ server: starting.address, ...ca }));
    const call = {
      method: 'PATCH',
      path: '/api/v1/x',
      query: {},
      contentType: 'application/json',
      body: '{}',
    } as const;
    await expect(api.write(call)).rejects.toMatchObject({ code: 'KUBERNETES_UNAVAILABLE' });
    isUp = true;
    await expect(api.write(call)).resolves.toEqual({ kind: 'Lease' });
    expect(refusals).toBe(3);
    await api.close();
    await starting.close();
  });

  it('that does not listen is KUBERNETES_UNAVAILABLE', async () => {
    const api = createKubeApi(kubeConfig({ server: 'https://127.0.0.1:1' }));
    await expect(api.get(NAMESPACE)).rejects.toMatchObject({ code: 'KUBERNETES_UNAVAILABLE' });
  });

  it('whose certificate is of another authority is not spoken to', async () => {
    const stranger = kubeConfig({ caFile: undefined, caData: undefined } as unknown as ClusterFields);
    const api = createKubeApi(stranger);
    await expect(api.get(NAMESPACE)).rejects.toMatchObject({ code: 'KUBERNETES_UNAVAILABLE' });
    await api.close();
  });

  it('says which right is missing: KUBERNETES_FORBIDDEN for reading', async () => {
    const api = createKubeApi(kubeConfig({}, { token: await tokenOf('nobody') }));
    const planner = createPlanner({ api, sha256, mask });
    const wpk = packageOf(applyStep('a', configMap(cluster.namespace, 'x', {})));
    await expect(api.get(cluster.path('api/v1', 'configmaps', 'x'))).rejects.toMatchObject({
      code: 'KUBERNETES_FORBIDDEN',
      message: expect.stringContaining('cannot get resource "configmaps"'),
    });
    await expect(planner.dryRun(wpk, digestOf(wpk))).rejects.toMatchObject({ code: 'KUBERNETES_FORBIDDEN' });
    await api.close();
  });

  it('is asked again with the new token when the file of the old one was replaced', async () => {
    const tokenFile = join(folder, 'token');
    await writeFile(tokenFile, await tokenOf('first'));
    const user: User = { name: 'by-file', authProvider: { name: 'tokenFile', config: { tokenFile } } };
    const config = new KubeConfig();
    const own = admin.getCurrentCluster();
    if (!own) throw new Error('the shared kubeconfig has no cluster');
    config.loadFromClusterAndUser(own, user);
    const api = createKubeApi(config);
    const whoAmI = async () => {
      const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' });
      const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
      const answer = await api.write({ method: 'POST', path, query: {}, contentType: 'application/json', body });
      return at(answer, 'status', 'userInfo', 'username');
    };
    const account = (name: string) => `system:serviceaccount:${cluster.namespace}:${name}`;
    expect(await whoAmI()).toBe(account('first'));
    await writeFile(tokenFile, await tokenOf('second'));
    // A faked clock of the process begins at zero; it has to pass the real one before a minute more counts.
    const uptimeMs = performance.now();
    jest.useFakeTimers({ now: Date.now() + 61_000, doNotFake: [...TIMERS] });
    jest.advanceTimersByTime(uptimeMs + 61_000);
    try {
      expect(await whoAmI()).toBe(account('second'));
    } finally {
      jest.useRealTimers();
    }
    await api.close();
  });
});

describe('what is read', () => {
  it('is absent only where the API server itself says so', async () => {
    expect(await cluster.api.get(cluster.path('api/v1', 'configmaps', 'nowhere'))).toBeUndefined();
    // No Status: the same words as of any proxy before the API server.
    await expect(cluster.api.get('/apis/no-such-group.example.com/v1/things/x')).rejects.toMatchObject({
      code: 'KUBERNETES_UNAVAILABLE',
    });
  });

  it('is no refused write where the API server refuses the question', async () => {
    const list = cluster.api.list('/api/v1/namespaces', { atMost: 1, labelSelector: '!!' });
    await expect(list).rejects.toMatchObject({ code: 'KUBERNETES_UNAVAILABLE' });
  });

  it('is read one by one where the collection is too large to be listed', async () => {
    const collection = `/api/v1/namespaces/${cluster.namespace}/configmaps`;
    const data = { filler: 'x'.repeat(1_000_000) };
    const names = Array.from({ length: 68 }, (_, index) => `large-${index}`);
    await forEachLimited(names, 8, async (name) => {
      const body = JSON.stringify(configMap(cluster.namespace, name, data));
      await cluster.api.write({ method: 'POST', path: collection, query: {}, contentType: 'application/json', body });
    });
    expect(await cluster.api.list(collection, { atMost: 1_000 })).toBeUndefined();
    const own = names.slice(0, 5).map((name) => configMap(cluster.namespace, name, { added: 'y' }));
    const wpk = packageOf({ ...applyStep('a', ...own), force: true });
    const { writes, problems } = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
    expect(problems).toEqual([]);
    expect(writes.map(({ planned }) => planned.change)).toEqual(own.map(() => 'update'));
  });
});

describe('planning that is aborted', () => {
  it('ends with the reason of the signal', async () => {
    const wpk = packageOf(applyStep('a', configMap(cluster.namespace, 'x', {})));
    const signal = AbortSignal.abort(new Error('no longer wanted'));
    await expect(cluster.newPlanner().dryRun(wpk, digestOf(wpk), signal)).rejects.toThrow('no longer wanted');
  });
});

describe('the records of the connector', () => {
  it('are created once, read and added to', async () => {
    const records = createStateRecords(cluster.api);
    const name = `record-${cluster.namespace}`;
    expect(await records.read(name)).toBeUndefined();
    expect(await records.create(name, { run: 'first' })).toBe(true);
    expect(await records.create(name, { run: 'second' })).toBe(false);
    await records.merge(name, { executing: 'plan' });
    expect(await records.read(name)).toEqual({ run: 'first', executing: 'plan' });
  });

  it('are not made by adding to one that is not there', async () => {
    const records = createStateRecords(cluster.api);
    await expect(records.merge('never-created', { a: 'b' })).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
  });
});
