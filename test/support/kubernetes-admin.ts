import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { KubeConfig } from '@kubernetes/client-node';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../../activities/kubernetes/kube-api.ts';
import type { Services } from '../../dev/stack.ts';

type Cluster = Pick<Services, 'kubernetes'>;

/** Runs kubectl as an administrator; resolves to its stdout and rejects where it fails. */
export async function callKubernetes(cluster: Cluster, ...args: readonly string[]): Promise<string> {
  return (await kubectl(cluster, args)).stdout;
}

/** Makes objects, or brings them up to date, as an administrator. */
export async function applyObjects(cluster: Cluster, items: readonly object[]): Promise<void> {
  const done = kubectl(cluster, ['apply', '-f', '-']);
  done.child.stdin?.end(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  await done;
}

function kubectl({ kubernetes }: Cluster, args: readonly string[]) {
  const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', KUBECONFIG: kubernetes.kubeconfig };
  return promisify(execFile)(kubernetes.kubectl, [...args], { env, maxBuffer: 64 * 1024 * 1024 });
}

/** The API server as an administrator sees it; close it in the end. @param kubeconfig path */
export function adminApi(kubeconfig: string): KubeApi {
  const access = new KubeConfig();
  access.loadFromFile(kubeconfig);
  return createKubeApi(access);
}
