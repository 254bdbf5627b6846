import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { KubeConfig } from '@kubernetes/client-node';
import type { KubeApi } from '../../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../../activities/kubernetes/kube-api.ts';
import type { Services } from '../../dev/stack.ts';

/** Runs kubectl as an administrator; resolves to its stdout and rejects where it fails. */
export async function callKubernetes(
  { kubernetes }: Pick<Services, 'kubernetes'>,
  ...args: readonly string[]
): Promise<string> {
  const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', KUBECONFIG: kubernetes.kubeconfig };
  const { stdout } = await promisify(execFile)(kubernetes.kubectl, [...args], { env });
  return stdout;
}

/** The API server as an administrator sees it; close it in the end. @param kubeconfig path */
export function adminApi(kubeconfig: string): KubeApi {
  const access = new KubeConfig();
  access.loadFromFile(kubeconfig);
  return createKubeApi(access);
}
