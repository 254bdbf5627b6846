import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ulid } from 'ulid';
import type { GrowingReport } from '../../../activities/kubernetes/execution-types.ts';
import { Executor, throughExecutor } from '../../../activities/kubernetes/executor.ts';
import { FreezeWatch } from '../../../activities/kubernetes/freeze-watch.ts';
import { createKubeApi, type KubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { createExecutorLeases, createWriter, writeFreeze } from '../../../activities/kubernetes/writer.ts';
import { applyStep, configMap, digestOf, digestsOf, packageOf } from '../../support/kubernetes.ts';
import { type TestCluster, testCluster } from '../../support/kubernetes.ts';
import { SlowNetwork } from '../../support/slow-network.ts';
import { sharedServices } from '../../support/stack.ts';
import { until } from '../../support/until.ts';

const HELD_MS = 2_000;
/** As many writes as pass at a time. */
const AT_A_TIME = 16;

let cluster: TestCluster;
let network: SlowNetwork;
let slow: KubeApi;
let freeze: FreezeWatch;
let executor: Executor;
const clusterId = `test-${ulid().toLowerCase()}`;

beforeAll(async () => {
  cluster = await testCluster();
  network = await SlowNetwork.start((await sharedServices()).kubernetes);
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(network.kubeconfig);
  slow = createKubeApi(kubeConfig);
  await setFreeze(false);
  const now = () => new Date();
  const onTrouble = (error: unknown) => {
    throw error;
  };
  freeze = new FreezeWatch({
    ...{ api: cluster.api, clusterId, now, onReadable: () => undefined },
    onVersion: () => executor?.acknowledge(),
  });
  const leases = createExecutorLeases(cluster.api, clusterId);
  executor = new Executor({ name: `byoc-executor-${clusterId}`, holder: 'test', leases, freeze, onTrouble, now });
  await freeze.start();
});
afterAll(async () => {
  await executor.close();
  await freeze.close();
  await slow.close();
  await network.stop();
  await cluster.stop();
});

const setFreeze = (frozen: boolean) =>
  writeFreeze(cluster.api, clusterId, { frozen: String(frozen), reason: 'test', by: 'alice' }, 'byoc');

async function written(prefix: string): Promise<number> {
  const found = await cluster.api.list(`/api/v1/namespaces/${cluster.namespace}/configmaps`, { atMost: 1_000 });
  return (found ?? []).filter(({ metadata }) => metadata.name.startsWith(prefix)).length;
}

/** Plans a package of many objects; what it resolves to executes it as a worker does. */
async function prepared(prefix: string): Promise<(signal?: AbortSignal) => Promise<unknown>> {
  const names = Array.from({ length: AT_A_TIME }, (_, index) => `${prefix}-${index}`);
  const wpk = packageOf(applyStep('apply', ...names.map((name) => configMap(cluster.namespace, name, {}))));
  const dryRun = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
  const report: GrowingReport = { steps: [] };
  const api = throughExecutor({ ...cluster.api, write: slow.write }, executor);
  const writer = createWriter({ api, planner: cluster.planner });
  const options = { wpk, dryRun, approved: digestsOf(dryRun), resumed: false, report };
  return (signal) => executor.during(() => writer.execute({ ...options, ...(signal && { signal }) }));
}

describe('a package that is stopped while its writes wait until those of another one are through', () => {
  it('sends none of them', async () => {
    const stop = new AbortController();
    const [first, second] = [await prepared('first'), await prepared('second')];
    await network.holdAnswers(HELD_MS);
    const executed = first();
    await until('the writes of the first', async () => (await written('first-')) === AT_A_TIME);
    const stopped = second(stop.signal);
    await sleep(HELD_MS / 4);
    stop.abort(new Error('stopped'));
    await expect(stopped).rejects.toThrow('stopped');
    await executed;
    await network.letAnswersThrough();
    expect(await written('second-')).toBe(0);
  }, 30_000);
});

describe('a write that the API server is too busy for', () => {
  it('is not sent again once the cluster is frozen', async () => {
    const { kubernetes } = await sharedServices();
    const folder = dirname(kubernetes.caFile);
    const [cert, key] = await Promise.all([readFile(kubernetes.caFile), readFile(join(folder, 'apiserver.key'))]);
    let requests = 0;
    const server = createServer({ cert, key }, (_request, response) => {
      requests += 1;
      response.writeHead(429, { 'retry-after': '1' }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo; // it listens on a port
    const kubeConfig = new KubeConfig();
    const own = new KubeConfig();
    own.loadFromFile(kubernetes.kubeconfig);
    const [at, user] = [own.getCurrentCluster(), own.getCurrentUser()];
    if (!at || !user) throw new Error('the shared kubeconfig has no current context');
    kubeConfig.loadFromClusterAndUser({ ...at, server: `https://127.0.0.1:${port}` }, user);
    const busy = createKubeApi(kubeConfig);
    const guarded = throughExecutor({ ...cluster.api, write: busy.write }, executor);
    const call = {
      method: 'DELETE',
      path: '/api/v1/x',
      query: {},
      contentType: 'application/json',
      body: '{}',
    } as const;
    const refused = executor.during(() => guarded.write(call));
    await until('the first answer', () => requests === 1);
    await setFreeze(true);
    await expect(refused).rejects.toMatchObject({ code: 'FROZEN' });
    expect(requests).toBe(1);
    await busy.close();
    server.close().closeAllConnections();
  }, 30_000);
});
