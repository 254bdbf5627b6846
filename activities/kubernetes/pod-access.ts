import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import type { KubeAccess } from './credentials.ts';

/** Where Kubernetes puts the account of a pod. */
export const ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * The API server and the account of the pod that this runs in.
 * @param env `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`, which Kubernetes sets; `BYOC_KUBE_ACCOUNT_DIR` where
 *   token and authority are projected elsewhere than usual
 * @returns undefined outside a pod, and in one without an account
 * @see https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
 */
export function podAccess(env: NodeJS.ProcessEnv): KubeAccess | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env;
  const folder = env['BYOC_KUBE_ACCOUNT_DIR'] || ACCOUNT_FOLDER;
  const tokenFile = join(folder, 'token');
  if (!host || !existsSync(tokenFile)) return undefined;
  const server = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  return {
    getCurrentCluster: () => ({ name: 'in-cluster', server, skipTLSVerify: false }),
    // Read each time that credentials are asked for: the kubelet replaces the token long before it expires.
    async applyToHTTPSOptions(options) {
      const [ca, token] = await Promise.all([readFile(join(folder, 'ca.crt')), readFile(tokenFile, 'utf8')]);
      Object.assign(options, { ca });
      options.headers = { ...options.headers, Authorization: `Bearer ${token.trim()}` };
    },
  };
}
