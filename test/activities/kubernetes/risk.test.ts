import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ApiStatusError } from '../../../activities/kubernetes/api-status-error.ts';
import { makePlan } from '../../../activities/package/planning.ts';
import type { Risk } from '../../../domain/plan.ts';
import { BUILT_IN_POLICY } from '../../../domain/policy.ts';
import { RISK_RULES, riskOfManifests } from '../../../domain/risk.ts';
import type { Manifest, Step } from '../../../domain/wpk.ts';
import { applyStep, deployment, digestOf, packageOf, sha256, testCluster } from '../../support/kubernetes.ts';
import type { TestCluster } from '../../support/kubernetes.ts';
import { until } from '../../support/until.ts';
import { containerOf, podSpecOf } from '../../support/risk.ts';

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await testCluster();
});
afterAll(() => cluster.stop());

/** R4, R5: the risk of what the API server answers, with all that it fills in. */
describe('the risk of a plan against the API server', () => {
  const target = { kind: 'Deployment', name: 'web', namespace: '' };
  const web = (podSpec: object) => {
    const template = { metadata: { labels: { app: 'web' } }, spec: podSpec };
    return deployment(cluster.namespace, 'web', { template });
  };
  const riskOf = async (...steps: Step[]): Promise<Risk> => {
    const wpk = packageOf(...steps);
    const policy = { policy: BUILT_IN_POLICY, digest: digestOf(wpk) };
    const { plan } = await makePlan(cluster.newPlanner(), sha256, { wpk, wpkDigest: digestOf(wpk), policy });
    return plan.risk;
  };
  const rulesOf = async (...steps: Step[]) => (await riskOf(...steps)).findings.map(({ rule }) => rule);

  beforeAll(async () => {
    await cluster.run(packageOf(applyStep('apply', web(podSpecOf({ serviceAccountName: 'default' })))));
  });

  it('is low where nothing but the code changes, by digest', async () => {
    const containers = [containerOf({ image: `registry.example/web@sha256:${'b'.repeat(64)}` })];
    expect(await riskOf(applyStep('apply', web(podSpecOf({ containers }))))).toMatchObject({ level: 'low' });
  });

  it.each<[string, object, string]>([
    ['names another service account', { serviceAccountName: 'admin' }, 'service-account'],
    ['mounts a Secret', { volumes: [{ name: 'a', secret: { secretName: 'database' } }] }, 'secret-access'],
    [
      'reads a Secret',
      { containers: [containerOf({ envFrom: [{ secretRef: { name: 'database' } }] })] },
      'secret-access',
    ],
    ['pulls with a Secret', { imagePullSecrets: [{ name: 'registry' }] }, 'secret-access'],
    ['shares the network of its node', { hostNetwork: true }, 'pod-security/host-namespaces'],
  ])('finds a pod template that %s where it did not before', async (_what, changes, rule) => {
    expect(await rulesOf(applyStep('apply', web(podSpecOf({ ...changes }))))).toEqual([rule, 'restarts']);
  });

  it('finds it by a patch as well', async () => {
    const body = { spec: { template: { spec: { serviceAccountName: 'admin' } } } };
    const patch: Step = {
      ...{ id: 'patch', action: 'patch', patch: { type: 'merge', body } },
      target: { ...target, namespace: cluster.namespace },
    };
    expect(await rulesOf(patch)).toEqual(['service-account', 'restarts']);
  });

  it('is low for a restart, and the same each time', async () => {
    const restart: Step = { id: 'restart', action: 'restart', target: { ...target, namespace: cluster.namespace } };
    const once = await riskOf(restart);
    expect(once).toMatchObject({ level: 'low', findings: [{ rule: 'restarts' }] });
    expect(await riskOf(restart)).toEqual(once);
  });

  it('of a pod is the same each time, though admission mounts a token under another name', async () => {
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'pod', namespace: cluster.namespace } };
    const apply = applyStep('apply', { ...pod, spec: podSpecOf() });
    expect(await riskOf(apply)).toEqual({ level: 'low', findings: [] });
  });
});

/** What we find offline is what Pod Security admission of the same version refuses, for whatever pod. */
describe.each(['baseline', 'restricted'] as const)('Pod Security admission at %s', (standard) => {
  const names = RISK_RULES.filter(
    ({ id, sentence }) =>
      id.startsWith('pod-security/') && (standard === 'restricted' || sentence.endsWith('(baseline)')),
  ).map(({ id }) => id);

  beforeAll(async () => {
    const labels = {
      'pod-security.kubernetes.io/enforce': standard,
      'pod-security.kubernetes.io/enforce-version': 'v1.34',
    };
    await cluster.merge(`/api/v1/namespaces/${cluster.namespace}`, { metadata: { labels } });
    // Pods need it, and a controller makes it.
    await until('the service account', () => cluster.read('api/v1', 'serviceaccounts', 'default'));
    // Admission reads the labels from a cache of its own, a moment later.
    await until('the labels to count', async () => (await admission(edited([['hostNetwork', true]]))) === 'refused');
  });

  /** What is changed in a pod that keeps to the standard: of one that is wrong in all ways one learns nothing. */
  const contexts = ['', 'containers/0/', 'initContainers/0/'].map((who) => `${who}securityContext/`);
  const ofAll = (setting: string, ...values: unknown[]) =>
    contexts.map((context) => [`${context}${setting}`, ...values] as const);
  const ofContainers = (setting: string, ...values: unknown[]) => ofAll(setting, ...values).slice(1);
  const edits: readonly (readonly [path: string, ...values: unknown[]])[] = [
    ...ofAll('runAsNonRoot', undefined, true, false),
    ...ofAll('runAsUser', 0, 1000),
    ...ofAll('seccompProfile', undefined, { type: 'RuntimeDefault' }, { type: 'Unconfined' }),
    ...ofAll('appArmorProfile', { type: 'RuntimeDefault' }, { type: 'Unconfined' }),
    ...ofAll('seLinuxOptions', {}, { type: 'container_t' }, { type: 'spc_t' }, { user: 'u' }, { role: 'r' }),
    ...ofContainers('allowPrivilegeEscalation', undefined, true),
    ...ofContainers('capabilities', undefined, {}, { drop: ['NET_RAW'] }, { add: ['CHOWN'] }),
    ...ofContainers('capabilities/add', [], ['NET_BIND_SERVICE'], ['CHOWN'], ['SYS_ADMIN'], ['NET_RAW']),
    ['containers/0/securityContext', undefined, {}, { privileged: true }, { privileged: false }],
    ['containers/0/ports', [{ containerPort: 80 }], [{ containerPort: 80, hostPort: 80 }]],
    ['containers/0/livenessProbe', ...['', '127.0.0.1'].map((host) => ({ httpGet: { port: 80, host } }))],
    ['containers/0/lifecycle', ...['', 'x'].map((host) => ({ preStop: { httpGet: { port: 80, host } } }))],
    ['securityContext/sysctls', ...['net.ipv4.tcp_rmem', 'kernel.msgmax'].map((name) => [{ name, value: '1' }])],
    ['securityContext', undefined, {}],
    ...['hostNetwork', 'hostPID', 'hostIPC'].map((key) => [key, true, false] as const),
    ['volumes', [{ name: 'a' }], [{ name: 'a', emptyDir: {} }], [{ name: 'a', nfs: { server: 's', path: '/' } }]],
    ['volumes', [{ name: 'a', hostPath: { path: '/' } }], [{ name: 'a', configMap: { name: 'a' } }]],
    ['initContainers', undefined],
  ];
  const edit = fc.oneof(
    ...edits.map(([path, ...values]) => fc.tuple(fc.constant(path), fc.constantFrom<unknown>(...values))),
  );

  function edited(changes: readonly (readonly [path: string, value: unknown])[]): Manifest {
    const metadata = { name: 'pod', namespace: cluster.namespace };
    const spec: unknown = structuredClone(podSpecOf({ initContainers: [containerOf({ name: 'init' })] }));
    for (const [path, value] of changes) {
      const keys = path.split('/');
      const last = keys.pop() ?? '';
      const holder = keys.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], spec);
      if (holder) Object.assign(holder, { [last]: value });
    }
    // Without what is undefined, as it travels.
    return JSON.parse(JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec })) as Manifest;
  }

  it('refuses what has a finding, and nothing else', async () => {
    const seen = { refused: 0, admitted: 0, invalid: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { maxLength: 4 }), async (changes) => {
        const pod = edited(changes);
        const verdict = await admission(pod);
        seen[verdict] += 1;
        if (verdict === 'invalid') return;
        const found = riskOfManifests([pod]).findings.filter(({ rule }) => names.includes(rule));
        expect(found.length > 0 ? 'refused' : 'admitted').toBe(verdict);
      }),
      { numRuns: 300 },
    );
    expect(seen.refused).toBeGreaterThan(50);
    expect(seen.admitted).toBeGreaterThan(50);
  });

  async function admission(pod: object): Promise<'admitted' | 'refused' | 'invalid'> {
    try {
      await cluster.api.dryRun({
        ...{ method: 'POST', path: `/api/v1/namespaces/${cluster.namespace}/pods`, query: {} },
        ...{ contentType: 'application/json', body: JSON.stringify(pod) },
      });
      return 'admitted';
    } catch (error) {
      if (!(error instanceof ApiStatusError)) throw error;
      if (error.message.includes('violates PodSecurity')) return 'refused';
      if (error.status !== 422) throw error;
      return 'invalid';
    }
  }
});
