import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createKubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { podAccess } from '../../../activities/kubernetes/pod-access.ts';
import type { KubernetesService } from '../../../dev/servers/kubernetes.ts';
import { callKubernetes } from '../../support/kubernetes-admin.ts';
import { sharedServices } from '../../support/stack.ts';

// R7, R23

describe('the account of a pod', () => {
  let kubernetes: KubernetesService;
  let folder: string;

  beforeEach(async () => {
    ({ kubernetes } = await sharedServices());
    folder = await mkdtemp(join(tmpdir(), 'byoc-pod-'));
    await writeFile(join(folder, 'ca.crt'), await readFile(kubernetes.caFile));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const env = () => {
    const { hostname, port } = new URL(kubernetes.server);
    return { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port, BYOC_KUBE_ACCOUNT_DIR: folder };
  };
  const putToken = async () => {
    const token = await callKubernetes({ kubernetes }, 'create', 'token', 'default', '-n', 'kube-system');
    await writeFile(join(folder, 'token'), token);
  };

  it('opens the API server with the token on the disk, and with another one once that was replaced', async () => {
    await putToken();
    const access = podAccess(env());
    if (!access) throw new Error('there is no account');
    const api = createKubeApi(access);
    expect(await api.getDocument('/version', 'application/json')).toMatchObject({ major: '1' });
    await writeFile(join(folder, 'token'), 'expired');
    await putToken();
    expect(await api.getDocument('/version', 'application/json')).toMatchObject({ major: '1' });
    await api.close();
  });

  it('that is not accepted is told as something that may pass', async () => {
    await writeFile(join(folder, 'token'), 'none of yours');
    const access = podAccess(env());
    if (!access) throw new Error('there is no account');
    const api = createKubeApi(access);
    await expect(api.get('/api/v1/namespaces/default')).rejects.toMatchObject({ code: 'KUBERNETES_UNAVAILABLE' });
    await putToken();
    await expect(api.get('/api/v1/namespaces/default')).rejects.toMatchObject({ code: 'KUBERNETES_FORBIDDEN' });
    await api.close();
  });

  it('is none outside a pod, and none without a token', async () => {
    expect(podAccess({ BYOC_KUBE_ACCOUNT_DIR: folder })).toBeUndefined();
    expect(podAccess(env())).toBeUndefined();
  });

  it('is reached at an IPv6 address too', async () => {
    await writeFile(join(folder, 'token'), 'token');
    const access = podAccess({ ...env(), KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' });
    expect(access?.getCurrentCluster()).toMatchObject({ server: 'https://[fd00::1]:443' });
  });
});
