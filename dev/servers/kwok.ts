import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { ConnectorError } from '../../domain/errors.ts';
import type { Host } from '../host.ts';
import { get, post, type HttpsOptions } from './https.ts';

const NODES = ['node-1', 'node-2'];
const READY_TIMEOUT_MS = 30_000;
/** Stages that give pods with an annotation the troubles of real clusters. */
const FATES = join(import.meta.dirname, 'pod-fates.yaml');

/**
 * Starts kwok, which plays the kubelets: nodes are Ready, pods get Running and Ready, those of Jobs Complete. No
 * container runs. Resolves when both nodes are Ready and the `default` service account is there, so that pods can be
 * made.
 */
export async function startKwok(host: Host, kubeconfig: string, api: HttpsOptions & { server: string }): Promise<void> {
  const stages = join(dirname(await host.find('kwok')), 'stages.yaml');
  if (!existsSync(stages)) {
    throw new ConnectorError('PART_UNAVAILABLE', `kwok needs its stages beside it, and there is no ${stages}.`);
  }
  await Promise.all(NODES.map((name) => createNode(name, api)));
  await host.withPorts(['http'], ({ http }) =>
    host.start({
      name: 'kwok',
      args: [
        ...['--kubeconfig', kubeconfig, '--config', stages, '--config', FATES],
        ...['--manage-all-nodes=true', '--cidr=10.244.0.0/16'],
        ...['--node-lease-duration-seconds=40', `--server-address=127.0.0.1:${http}`, '-v=WARN'],
      ],
      healthy: async () => (await fetch(`http://127.0.0.1:${http}/healthz`)).ok,
    }),
  );
  await untilPodsCanRun(host, api);
}

async function createNode(name: string, api: HttpsOptions & { server: string }): Promise<void> {
  const capacity = { cpu: '32', memory: '128Gi', 'ephemeral-storage': '100Gi', pods: '500' };
  const labels = { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' };
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels },
    status: { capacity, allocatable: capacity },
  };
  const answer = await post(`${api.server}/api/v1/nodes`, node, api);
  // 409: the stack was kept, and so was the node.
  if (!answer.ok && answer.status !== 409) {
    throw new ConnectorError('PART_UNAVAILABLE', `The API server refuses ${name}: ${answer.text}`);
  }
}

async function untilPodsCanRun(host: Host, api: HttpsOptions & { server: string }): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    host.signal?.throwIfAborted();
    const nodes = await Promise.all(NODES.map((name) => isReady(name, api)));
    const account = await get(`${api.server}/api/v1/namespaces/default/serviceaccounts/default`, api);
    if (nodes.every(Boolean) && account.ok) return;
    if (Date.now() > deadline) {
      throw new ConnectorError('PART_UNAVAILABLE', `The nodes are not ready after ${READY_TIMEOUT_MS / 1000} s.`);
    }
    await sleep(100);
  }
}

interface NodeStatus {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

async function isReady(name: string, api: HttpsOptions & { server: string }): Promise<boolean> {
  const answer = await get(`${api.server}/api/v1/nodes/${name}`, api);
  if (!answer.ok) return false;
  const node: NodeStatus = JSON.parse(answer.text);
  return node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}
