import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ulid } from 'ulid';
import { applyingAccess } from '../../../activities/kubernetes/applying-account.ts';
import type { KubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../../../activities/kubernetes/kube-api.ts';
import { createPlanner } from '../../../activities/kubernetes/planner.ts';
import { podAccess } from '../../../activities/kubernetes/pod-access.ts';
import { createWriter } from '../../../activities/kubernetes/writer.ts';
import type { Services } from '../../../dev/stack.ts';
import { ConnectorError } from '../../../domain/errors.ts';
import type { Manifest, Step } from '../../../domain/wpk.ts';
import type { InstalledRights } from '../../support/chart-rights.ts';
import { installRights } from '../../support/chart-rights.ts';
import { applyStep, configMap, digestOf, execute, mask, packageOf, sha256 } from '../../support/kubernetes.ts';
import { callKubernetes } from '../../support/kubernetes-admin.ts';
import { sharedServices } from '../../support/stack.ts';

// R7, R16, R37, R38

const CLUSTER = 'escalation';

/**
 * What planner and writer do here no policy has looked at, and nobody has approved: what still holds a package back is the
 * API server alone, with the rights of the chart.
 */
describe('a package that wants more than the chart gives it', () => {
  let services: Services;
  let folder: string;
  let shop: string;
  let rights: InstalledRights;
  let own: KubeApi;
  let api: KubeApi;

  beforeAll(async () => {
    services = await sharedServices();
    folder = await mkdtemp(join(tmpdir(), 'byoc-escalation-'));
    shop = `shop-${ulid().toLowerCase()}`;
    await callKubernetes(services, 'create', 'namespace', shop);
    rights = await installRights(services, folder, { clusterId: CLUSTER, namespaces: [shop] });
    const { namespace, stateNamespace, nameOf } = rights;
    for (const [name, data] of [
      [`byoc-freeze-${CLUSTER}`, '--from-literal=frozen=true'],
      ['wpk-claimed', '--from-literal=runId=one'],
    ] as const) {
      await callKubernetes(services, 'create', 'configmap', name, '-n', stateNamespace, data);
    }
    await callKubernetes(
      services,
      'create',
      'configmap',
      'policy',
      '-n',
      namespace,
      '--from-literal=policy.yaml=strict',
    );
    for (const name of ['byoc-audit-key', 'byoc-masking-key']) {
      await callKubernetes(services, 'create', 'secret', 'generic', name, '-n', stateNamespace, '--from-literal=key=k');
    }
    const base = podAccess(await rights.settingsOf('execution'));
    if (!base) throw new Error('there is no account');
    own = createKubeApi(base);
    const access = applyingAccess({
      api: own,
      base,
      account: { namespace, name: nameOf('apply') },
      onIssued: () => Promise.resolve(),
      onTrouble: (error) => {
        throw error;
      },
    });
    const applying = createKubeApi(access);
    api = { ...applying, clusterUid: own.clusterUid };
  });
  afterAll(async () => {
    await Promise.all([own.close(), api.close()]);
    await rights.remove();
    await callKubernetes(services, 'delete', 'namespace', shop, '--wait=false');
    await rm(folder, { recursive: true, force: true });
  });

  /** How it ends: what the API server said, or undefined where all of it was done. */
  async function attempt(...steps: readonly Step[]): Promise<string | undefined> {
    const planner = createPlanner({ api, sha256, mask });
    const wpk = packageOf(...steps);
    try {
      const dryRun = await planner.dryRun(wpk, digestOf(wpk));
      const [problem] = dryRun.problems;
      if (problem) return problem.message;
      await execute(createWriter({ api, planner }), wpk, dryRun);
      return undefined;
    } catch (error) {
      if (error instanceof ConnectorError) return `${error.code}: ${error.detail}`;
      throw error;
    }
  }
  /** Everything in the connector's namespaces and everything about rights, to see that nothing of it changed. */
  const state = async () => {
    const output = ['-o', 'jsonpath={range .items[*]}{.kind}/{.metadata.name}/{.metadata.resourceVersion}{"\\n"}{end}'];
    const kinds = 'configmaps,secrets,pods,deployments,serviceaccounts,roles,rolebindings';
    const { namespace, stateNamespace } = rights;
    const own = [namespace, stateNamespace].map((one) => callKubernetes(services, 'get', kinds, '-n', one, ...output));
    const rolesHere = callKubernetes(services, 'get', 'roles,rolebindings', '-n', shop, ...output);
    return Promise.all([...own, rolesHere]);
  };

  const apply = (manifest: Manifest) => applyStep('apply', manifest);
  const binding = (kind: 'RoleBinding' | 'ClusterRoleBinding', namespace?: string): Manifest => ({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind,
    metadata: { name: `mine-${CLUSTER}`, ...(namespace && { namespace }) },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ kind: 'ServiceAccount', name: rights.nameOf('apply'), namespace: rights.namespace }],
  });
  const pod = (namespace: string): Manifest => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'mine', namespace },
    spec: {
      serviceAccountName: rights.nameOf('execution'),
      containers: [{ name: 'main', image: 'registry.example/app:1' }],
    },
  });
  const target = (kind: string, name: string, namespace: string, apiVersion = 'v1') => ({
    apiVersion,
    kind,
    name,
    namespace,
  });

  it('does what it may', async () => {
    expect(await attempt(apply(configMap(shop, 'allowed', { a: '1' })))).toBeUndefined();
    expect(await callKubernetes(services, 'get', 'configmap', 'allowed', '-n', shop, '-o', 'name')).toContain(
      'allowed',
    );
  });

  it.each<[string, () => Step]>([
    ['binds itself to cluster-admin', () => apply(binding('ClusterRoleBinding'))],
    ['binds itself to cluster-admin where it may write', () => apply(binding('RoleBinding', shop))],
    ['binds itself to cluster-admin where the connector lives', () => apply(binding('RoleBinding', rights.namespace))],
    [
      'gives itself more with its own Role',
      () =>
        apply({
          apiVersion: 'rbac.authorization.k8s.io/v1',
          kind: 'Role',
          metadata: { name: rights.nameOf('apply'), namespace: shop },
          rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }],
        }),
    ],
    ['lifts the freeze', () => apply(configMap(rights.stateNamespace, `byoc-freeze-${CLUSTER}`, { frozen: 'false' }))],
    [
      'takes the freeze away',
      () => ({
        id: 'delete',
        action: 'delete',
        target: target('ConfigMap', `byoc-freeze-${CLUSTER}`, rights.stateNamespace),
      }),
    ],
    ['changes a claim', () => apply(configMap(rights.stateNamespace, 'wpk-claimed', { runId: 'another' }))],
    ['edits its own policy', () => apply(configMap(rights.namespace, 'policy', { 'policy.yaml': 'lax' }))],
    [
      'reads the key that audit heads are signed with, to patch it',
      () => ({
        id: 'patch',
        action: 'patch',
        target: target('Secret', 'byoc-audit-key', rights.stateNamespace),
        patch: { type: 'merge', body: { data: { key: 'bWluZQ==' } } },
      }),
    ],
    [
      'puts a Secret where a token of the connector would be written into',
      () =>
        apply({
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: {
            name: 'mine',
            namespace: rights.namespace,
            annotations: { 'kubernetes.io/service-account.name': rights.nameOf('execution') },
          },
          type: 'kubernetes.io/service-account-token',
        }),
    ],
    ['runs a pod as the connector', () => apply(pod(rights.namespace))],
    ['runs a pod where it may write workloads only', () => apply(pod(shop))],
    [
      'asks for a token of the connector',
      () =>
        apply({
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          metadata: { name: rights.nameOf('execution'), namespace: rights.namespace },
          spec: { expirationSeconds: 3_600 },
        }),
    ],
    [
      'makes rules for what others write',
      () =>
        apply({
          apiVersion: 'admissionregistration.k8s.io/v1',
          kind: 'MutatingWebhookConfiguration',
          metadata: { name: `mine-${CLUSTER}` },
          webhooks: [],
        }),
    ],
  ])('is refused by Kubernetes where it %s', async (_, step) => {
    const before = await state();
    const said = await attempt(step());
    // Where there is no such kind to apply, nobody has to be asked.
    expect(said).toMatch(/forbidden|cannot \w+ resource|no kind|does not know|KUBERNETES_FORBIDDEN/i);
    expect(await state()).toEqual(before);
  });
});
