import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';
import { Agent, request } from 'undici';
import { createCredentialSource } from '../../../activities/kubernetes/credentials.ts';
import { createKubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { at, isRecord, listAt } from '../../../activities/kubernetes/kube-object.ts';
import { createDiscovery } from '../../../activities/kubernetes/discovery.ts';
import { startApiServer } from '../../../worker/simulation/api-server/server.ts';
import type { SimulatedApiServer } from '../../../worker/simulation/api-server/server.ts';
import { selfSigned } from '../../../worker/simulation/certificate.ts';
import { SERVED } from '../../../worker/simulation/api-server/kinds.ts';
import { type TestCluster, testCluster } from '../../support/kubernetes.ts';
import { sharedServices } from '../../support/stack.ts';

// R17: the simulated API server answers as the real one does, for what it claims. Both get the same requests.

const NAMESPACE = 'NAMESPACE';
const APPLY = 'application/apply-patch+yaml';
const MERGE = 'application/merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';

interface Ask {
  readonly method: string;
  readonly path: string;
  readonly query?: Record<string, string>;
  readonly type?: string;
  /** May hold what an earlier answer said: `$UID`, `$VERSION`. */
  readonly body?: unknown;
}

/** One server with a namespace of the test's own. */
interface Side {
  readonly namespace: string;
  send(ask: Ask, replaced: Record<string, string>): Promise<{ status: number; body: unknown }>;
  close(): Promise<void>;
}

let cluster: TestCluster;
let server: SimulatedApiServer;
let real: Side;
let simulated: Side;

beforeAll(async () => {
  cluster = await testCluster();
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile((await sharedServices()).kubernetes.kubeconfig);
  real = await sideOf(kubeConfig, cluster.namespace);
  server = await startApiServer({ tls: await selfSigned(), readyAfterMs: 50 });
  simulated = await sideOf(simulatedConfig(), 'conformance');
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'conformance' } };
  await simulated.send({ method: 'POST', path: '/api/v1/namespaces', body }, {});
});
afterAll(async () => {
  await Promise.all([real?.close(), simulated?.close()]);
  await Promise.all([cluster?.stop(), server?.close()]);
});

function simulatedConfig(): KubeConfig {
  const kubeConfig = new KubeConfig();
  const caData = Buffer.from(server.ca).toString('base64');
  kubeConfig.loadFromClusterAndUser(
    { name: 'simulated', server: server.url, caData, skipTLSVerify: false },
    { name: 'simulated', token: server.token },
  );
  return kubeConfig;
}

async function sideOf(kubeConfig: KubeConfig, namespace: string): Promise<Side> {
  const source = createCredentialSource(kubeConfig);
  const { tls, headers } = await source.current();
  const dispatcher = new Agent({ connect: { ...tls } });
  return {
    namespace,
    async send({ method, path, query = {}, type = 'application/json', body }, replaced) {
      const fill = (text: string) =>
        Object.entries({ [NAMESPACE]: namespace, ...replaced }).reduce(
          (all, [from, to]) => all.replaceAll(from, to),
          text,
        );
      const url = `${source.server}${fill(path)}?${fill(new URLSearchParams(query).toString())}`;
      const sent = body === undefined ? {} : { body: fill(JSON.stringify(body)) };
      const answer = await request(url, {
        dispatcher,
        method: method as 'GET',
        headers: { accept: 'application/json', ...headers, 'content-type': type, 'user-agent': 'conformance/1' },
        ...sent,
      });
      return { status: answer.statusCode, body: parsed(await answer.body.text()) };
    },
    close: () => dispatcher.close(),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What of an answer must be the same: no uid, time, number or default of the one side alone. */
function told({ status, body }: { status: number; body: unknown }): unknown {
  if (!isRecord(body)) return { status, text: body };
  if (body['kind'] === 'Status') {
    const causes = listAt(body, 'details', 'causes');
    const isConflict = (cause: unknown) => at(cause, 'reason') === 'FieldManagerConflict';
    const fields = causes.map((cause) => `${isConflict(cause) ? 'conflict: ' : ''}${String(at(cause, 'field'))}`);
    return { status, answer: body['status'], reason: body['reason'], fields: [...new Set(fields)] };
  }
  if (Array.isArray(body['items'])) {
    const names = body['items']
      .map((item) => at(item, 'metadata', 'name'))
      .filter((name) => name !== 'kube-root-ca.crt');
    return { status, kind: body['kind'], names, more: at(body, 'metadata', 'continue') !== undefined };
  }
  const { apiVersion, kind, metadata } = body;
  return {
    ...{ status, apiVersion, kind, name: at(metadata, 'name') },
    hasUid: at(metadata, 'uid') !== undefined,
    hasVersion: at(metadata, 'resourceVersion') !== undefined,
    generation: at(metadata, 'generation'),
    labels: at(metadata, 'labels'),
    // When the controller counts a revision is its own affair.
    annotations: Object.entries(at(metadata, 'annotations') ?? {}).filter(([name]) => !name.endsWith('/revision')),
    data: body['data'],
    replicas: at(body, 'spec', 'replicas'),
    image: at(listAt(body, 'spec', 'template', 'spec', 'containers')[0], 'image'),
    owners: ownersOf(metadata),
  };
}

/** Who owns the data, the labels and the image: the rest is full of the real server's defaults. */
function ownersOf(metadata: unknown): unknown {
  return (
    listAt(metadata, 'managedFields')
      .filter((entry) => at(entry, 'manager') !== 'kube-controller-manager')
      .map((entry) => {
        const fields = at(entry, 'fieldsV1');
        const names = (...path: string[]) => {
          const found = at(fields, ...path);
          return Object.keys(isRecord(found) ? found : {})
            .filter((name) => name !== '.')
            .sort();
        };
        const image = at(fields, 'f:spec', 'f:template', 'f:spec', 'f:containers', 'k:{"name":"web"}', 'f:image');
        const [manager, operation] = [at(entry, 'manager'), at(entry, 'operation')];
        const owned = [
          ...names('f:data'),
          ...names('f:metadata', 'f:labels'),
          ...(image === undefined ? [] : ['image']),
        ];
        return { manager, operation, owned };
      })
      // The real server notes the map that holds the fields, too.
      .filter(({ owned }) => owned.length > 0)
      .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
  );
}

/** Sends the same to both, one after the other, and compares each answer. */
async function compare(asks: readonly Ask[]): Promise<unknown[]> {
  const answers: unknown[][] = [];
  for (const side of [real, simulated]) {
    const own: unknown[] = [];
    let replaced: Record<string, string> = {};
    for (const ask of asks) {
      const answer = await side.send(ask, replaced);
      own.push(told(answer));
      const { uid, resourceVersion } = (at(answer.body, 'metadata') ?? {}) as Record<string, string | undefined>;
      if (uid && resourceVersion) replaced = { $UID: uid, $VERSION: resourceVersion };
    }
    answers.push(own);
  }
  expect(answers[1]).toEqual(answers[0]);
  return answers[1] ?? [];
}

const CONFIG_MAPS = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
const DEPLOYMENTS = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments`;

function map(name: string, data: Record<string, string>, metadata: object = {}) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: NAMESPACE, ...metadata }, data };
}

function apply(
  name: string,
  data: Record<string, string>,
  manager: string,
  more: { force?: true; dry?: true; metadata?: object } = {},
): Ask {
  const query = { fieldManager: manager, ...(more.force && { force: 'true' }), ...(more.dry && { dryRun: 'All' }) };
  return { method: 'PATCH', path: `${CONFIG_MAPS}/${name}`, query, type: APPLY, body: map(name, data, more.metadata) };
}

const read = (name: string): Ask => ({ method: 'GET', path: `${CONFIG_MAPS}/${name}` });
const statuses = (answers: unknown[]) => answers.map((answer) => at(answer, 'status'));

function deployment(image: string, replicas = 2) {
  const labels = { app: 'web' };
  const containers = [{ name: 'web', image, ports: [{ containerPort: 80 }] }];
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace: NAMESPACE, labels },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  };
}

describe('server-side apply', () => {
  it('creates, changes nothing where nothing changes, and shares what two managers say alike', async () => {
    const answers = await compare([
      apply('shared', { a: '1' }, 'one'),
      apply('shared', { a: '1' }, 'one'),
      apply('shared', { a: '1', b: '2' }, 'two'),
      read('shared'),
    ]);
    expect(statuses(answers)).toEqual([201, 200, 200, 200]);
  });

  it('refuses what another manager owns, unless it is forced, and removes what its own manager says no longer', async () => {
    const answers = await compare([
      apply('owned', { a: '1', b: '1' }, 'one'),
      apply('owned', { a: '2' }, 'two'),
      apply('owned', { a: '2' }, 'two', { force: true }),
      apply('owned', {}, 'one'),
      read('owned'),
    ]);
    expect(statuses(answers)).toEqual([201, 409, 200, 200, 200]);
  });

  it('keeps nothing of a dry run, and answers as if it did', async () => {
    const answers = await compare([
      apply('dry', { a: '1' }, 'one', { dry: true }),
      read('dry'),
      apply('dry', { a: '1' }, 'one'),
      apply('dry', { a: '2' }, 'one', { dry: true }),
      read('dry'),
    ]);
    expect(statuses(answers)).toEqual([201, 404, 201, 200, 200]);
  });

  it.each([
    ['must not exist, where it does not', { resourceVersion: '1' }, false],
    ['must not exist, where it does', { resourceVersion: '1' }, true],
    ['the state that it is in', { uid: '$UID', resourceVersion: '$VERSION' }, true],
    ['a state that it was in', { uid: '$UID', resourceVersion: '2' }, true],
    ['the uid of another', { uid: '11111111-2222-4333-8444-555555555555', resourceVersion: '$VERSION' }, true],
    ['the uid of one that is gone', { uid: '11111111-2222-4333-8444-555555555555', resourceVersion: '2' }, false],
    ['a resourceVersion of one that is gone', { resourceVersion: '2' }, false],
  ])('is bound to %s', async (what, metadata, isThere) => {
    const name = what.replaceAll(/[^a-z]+/g, '-');
    const first = isThere ? [apply(name, { a: '1' }, 'one')] : [];
    await compare([...first, apply(name, { a: '2' }, 'one', { metadata }), read(name)]);
  });

  it('refuses another name than that of its path, a missing manager, and a namespace that is not there', async () => {
    const lost = `/api/v1/namespaces/not-there/configmaps/a`;
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: {} };
    const unmanaged = { ...apply('unmanaged', { a: '1' }, ''), query: {} };
    const answers = await compare([
      { ...apply('other', {}, 'one'), body: map('another', {}) },
      unmanaged,
      { method: 'PATCH', path: lost, query: { fieldManager: 'one' }, type: APPLY, body },
    ]);
    expect(statuses(answers)).toEqual([400, 422, 404]);
  });
});

describe('other writes', () => {
  it('create once, and replace what is there', async () => {
    const name = 'posted';
    const answers = await compare([
      { method: 'POST', path: CONFIG_MAPS, query: { fieldManager: 'one' }, body: map(name, { a: '1' }) },
      { method: 'POST', path: CONFIG_MAPS, query: { fieldManager: 'one' }, body: map(name, { a: '1' }) },
      { method: 'PUT', path: `${CONFIG_MAPS}/${name}`, query: { fieldManager: 'two' }, body: map(name, { b: '2' }) },
      { method: 'PUT', path: `${CONFIG_MAPS}/gone`, body: map('gone', {}) },
      { method: 'PUT', path: `${CONFIG_MAPS}/${name}`, body: map(name, { b: '3' }, { resourceVersion: '2' }) },
      read(name),
    ]);
    expect(statuses(answers)).toEqual([201, 409, 200, 404, 409, 200]);
  });

  it('patch what is there, bound to its state', async () => {
    const path = `${CONFIG_MAPS}/patched`;
    const query = { fieldManager: 'two' };
    const merge = (body: object): Ask => ({ method: 'PATCH', path, query, type: MERGE, body });
    const json = (body: object[]): Ask => ({ method: 'PATCH', path, query, type: JSON_PATCH, body });
    const answers = await compare([
      { ...merge({ data: {} }), path: `${CONFIG_MAPS}/gone` },
      apply('patched', { a: '1', b: '1' }, 'one'),
      merge({ data: { a: '2', b: null }, metadata: { annotations: { x: 'y' } } }),
      merge({ data: { a: '3' }, metadata: { resourceVersion: '2' } }),
      merge({ data: { a: '3' }, metadata: { uid: '11111111-2222-4333-8444-555555555555' } }),
      json([{ op: 'test', path: '/data/a', value: 'no' }]),
      json([
        { op: 'replace', path: '/data/a', value: '4' },
        { op: 'replace', path: '/metadata/uid', value: '$UID' },
        { op: 'replace', path: '/metadata/resourceVersion', value: '$VERSION' },
      ]),
      { ...merge({}), type: 'text/plain' },
      read('patched'),
    ]);
    expect(statuses(answers)).toEqual([404, 201, 200, 409, 422, 422, 200, 415, 200]);
  });

  it('delete only the state that is meant', async () => {
    const path = `${CONFIG_MAPS}/deleted`;
    const remove = (preconditions: object, more: object = {}): Ask => ({
      method: 'DELETE',
      path,
      body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions, ...more },
    });
    const answers = await compare([
      apply('deleted', { a: '1' }, 'one'),
      remove({ uid: '11111111-2222-4333-8444-555555555555' }),
      remove({ uid: '$UID', resourceVersion: '2' }),
      remove({ uid: '$UID' }, { dryRun: ['All'] }),
      read('deleted'),
      remove({ uid: '$UID', resourceVersion: '$VERSION' }),
      remove({ uid: '$UID' }),
    ]);
    expect(statuses(answers)).toEqual([200, 409, 409, 200, 200, 200, 404].with(0, 201));
  });

  it('count generations, own fields inside lists, and refuse what cannot change', async () => {
    const path = `${DEPLOYMENTS}/web`;
    const as = (manager: string, body: object, force = false): Ask => ({
      method: 'PATCH',
      path,
      query: { fieldManager: manager, force: String(force) },
      type: APPLY,
      body,
    });
    const other = deployment('registry.example/app:1');
    const answers = await compare([
      as('one', deployment('registry.example/app:1')),
      as('two', deployment('registry.example/app:2')),
      as('two', deployment('registry.example/app:2'), true),
      as(
        'two',
        {
          ...other,
          spec: {
            ...other.spec,
            selector: { matchLabels: { app: 'x' } },
            template: { ...other.spec.template, metadata: { labels: { app: 'x' } } },
          },
        },
        true,
      ),
    ]);
    expect(statuses(answers)).toEqual([201, 409, 200, 422]);
  });
});

describe('reads', () => {
  it('select by labels and names, and page', async () => {
    const labelled = (name: string, labels: object) => apply(name, {}, 'one', { metadata: { labels } });
    const list = (query: Record<string, string>): Ask => ({ method: 'GET', path: CONFIG_MAPS, query });
    await compare([
      labelled('sel-a', { of: 'sel', tier: 'a' }),
      labelled('sel-b', { of: 'sel', tier: 'b' }),
      labelled('sel-c', { of: 'sel' }),
      list({ labelSelector: 'of=sel' }),
      list({ labelSelector: 'of=sel,tier in (a,b),tier!=b' }),
      list({ labelSelector: 'of=sel,!tier' }),
      list({ labelSelector: 'of=sel,tier notin (a)' }),
      list({ labelSelector: 'of=sel', fieldSelector: 'metadata.name=sel-b' }),
      list({ labelSelector: 'of=sel', limit: '2' }),
      list({ labelSelector: '=' }),
      { method: 'DELETE', path: CONFIG_MAPS, query: { labelSelector: 'of=sel' } },
      list({ labelSelector: 'of=sel' }),
    ]);
  });

  it('answer alike for what is not served', async () => {
    const answers = await compare([
      { method: 'GET', path: '/apis/example.com/v1/widgets' },
      { method: 'GET', path: '/api/v1/namespaces/not-there' },
      { method: 'POST', path: CONFIG_MAPS, body: { ...map('a', {}), kind: 'Secret' } },
    ]);
    expect(statuses(answers)).toEqual([404, 404, 400]);
  });

  it('serve no kind that the real server does not have, and each in the same place', async () => {
    const api = createKubeApi(simulatedConfig());
    const [own, others] = [createDiscovery(api), createDiscovery(cluster.api)];
    for (const { group, version, kind } of SERVED) {
      const apiVersion = group === '' ? version : `${group}/${version}`;
      expect(await own.resolve(apiVersion, kind)).toEqual(await others.resolve(apiVersion, kind));
    }
    await api.close();
  });

  it('tell a stranger nothing', async () => {
    const dispatcher = new Agent({ connect: { ca: server.ca } });
    const headers = { authorization: 'Bearer nothing' };
    const { statusCode, body } = await request(`${server.url}/api/v1/namespaces`, { dispatcher, headers });
    expect([statusCode, at(await body.json(), 'reason')]).toEqual([401, 'Unauthorized']);
    await dispatcher.close();
  });
});

describe('what stands in for controllers', () => {
  it('lets a workload become ready, and keeps the template before for a rollback', async () => {
    const api = createKubeApi(simulatedConfig());
    const path = '/apis/apps/v1/namespaces/conformance/deployments/ready';
    const body = (image: string) => {
      const made = JSON.parse(JSON.stringify(deployment(image)).replaceAll(NAMESPACE, 'conformance'));
      return JSON.stringify({ ...made, metadata: { ...made.metadata, name: 'ready' } });
    };
    const query = { fieldManager: 'one' };
    for (const image of ['registry.example/app:1', 'registry.example/app:2']) {
      await api.write({ method: 'PATCH', path, query, contentType: APPLY, body: body(image) });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const live = await api.get(path);
    expect(at(live, 'status', 'observedGeneration')).toBe(live?.metadata.generation);
    expect(live?.metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('2');
    const sets = await api.list('/apis/apps/v1/namespaces/conformance/replicasets', { atMost: 10 });
    const own = (sets ?? []).filter(({ metadata }) => metadata.name.startsWith('ready-'));
    expect(own.map((set) => at(set, 'spec', 'replicas')).sort()).toEqual([0, 2]);
    await api.close();
  });
});
