import { readFile } from 'node:fs/promises';
import { KubeConfig } from '@kubernetes/client-node';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../../activities/kubernetes/kube-api.ts';
import type { KubeObject } from '../../activities/kubernetes/kube-object.ts';
import { at } from '../../activities/kubernetes/kube-object.ts';
import { collectionPath, createDiscovery } from '../../activities/kubernetes/discovery.ts';
import { waitFor } from '../../activities/kubernetes/wait.ts';
import { columns } from '../../client/cli/output.ts';
import { readManifests } from '../../client/pack/read-manifests.ts';
import { FIELD_MANAGER } from '../../domain/names.ts';
import type { DemoCluster } from './cluster.ts';

const NAMESPACE = 'shop';
const SHOWN = ['Deployment', 'Service', 'ConfigMap', 'HorizontalPodAutoscaler', 'PodDisruptionBudget'];

/** The cluster of a simulation, without kubectl: nothing is installed for it. */
export function simulatedCluster(kubeconfig: string, signal: AbortSignal): DemoCluster {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(kubeconfig);
  return {
    kubeconfig,
    context: kubeConfig.getCurrentContext(),
    namespace: NAMESPACE,
    install: (file, tell) => withApi(kubeConfig, (api) => install(api, file, tell, signal)),
    look: () => withApi(kubeConfig, look),
    clean: async () => undefined,
  };
}

async function withApi<T>(kubeConfig: KubeConfig, work: (api: KubeApi) => Promise<T>): Promise<T> {
  const api = createKubeApi(kubeConfig);
  try {
    return await work(api);
  } finally {
    await api.close();
  }
}

async function install(api: KubeApi, file: string, tell: (what: string) => void, signal: AbortSignal): Promise<void> {
  const discovery = createDiscovery(api);
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } };
  const manifests = readManifests({ name: file, text: await readFile(file, 'utf8') });
  for (const manifest of [namespace, ...manifests]) {
    const { apiVersion, kind, metadata } = manifest;
    const resource = await discovery.resolve(apiVersion, kind);
    if (!resource) throw new Error(`The simulated cluster has no kind ${kind} (${apiVersion}).`);
    const path = `${collectionPath(resource, resource.namespaced ? NAMESPACE : undefined)}/${metadata.name}`;
    const query = { fieldManager: FIELD_MANAGER, force: 'true' };
    const contentType = 'application/apply-patch+yaml';
    const seen = await api.write({ method: 'PATCH', path, query, contentType, body: JSON.stringify(manifest) });
    if (kind !== 'Deployment') continue;
    tell('waiting for its pods');
    const object = { apiVersion, kind, name: metadata.name, namespace: NAMESPACE };
    await waitFor(api, [{ object, path, seen }], { for: 'ready', timeoutMs: 60_000, signal });
  }
}

async function look(api: KubeApi): Promise<{ readonly command?: string; readonly lines: readonly string[] }> {
  const discovery = createDiscovery(api);
  const rows: string[][] = [];
  for (const kind of SHOWN) {
    const resource = await discovery.resolve(undefined, kind);
    const found = resource && (await api.list(collectionPath(resource, NAMESPACE), { atMost: 100 }));
    for (const object of found ?? []) rows.push([kind, object.metadata.name, describe(object)]);
  }
  return { lines: columns([['KIND (simulated)', 'NAME', 'STATE'], ...rows]) };
}

function describe(object: KubeObject): string {
  const replicas = at(object, 'status', 'readyReplicas');
  if (replicas !== undefined) return `${String(replicas)}/${String(at(object, 'spec', 'replicas'))} ready`;
  const data = at(object, 'data');
  return data === undefined ? '-' : JSON.stringify(data);
}
