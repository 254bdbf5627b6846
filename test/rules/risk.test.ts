import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { RiskSubject } from '../../domain/risk.ts';
import { computeRisk, PLAN_RULES, RISK_RULES, riskOfManifests } from '../../domain/risk.ts';
import { containerOf, deploymentOf, podSpecOf, refOf, rolloutOf, rulesOf, subjectOf } from '../support/risk.ts';

const deletion = (kind: string, before: object = {}): RiskSubject => ({
  planned: { change: 'delete', object: refOf(kind) },
  before,
});
const clusterObject = (kind: string, after: object = {}, before?: object) =>
  subjectOf({ object: refOf(kind, null) }, { kind, ...after }, before && { kind, ...before });
const pod = (changes: object, context: object = {}) => rolloutOf(podSpecOf({ ...changes }, { ...context }));
const container = (changes: object, context: object = {}) =>
  pod({ containers: [containerOf({ ...changes }, { ...context })] });
const workload = (kind: string, after: object, before: object, pods: [object, object] = [{ a: 1 }, { a: 2 }]) =>
  subjectOf(
    { object: refOf(kind) },
    { kind, spec: { template: pods[0], ...after } },
    { kind, spec: { template: pods[1], ...before } },
  );
const role = (rules: object[], before?: object[]) =>
  subjectOf({ object: refOf('Role') }, { kind: 'Role', rules }, before && { kind: 'Role', rules: before });
const readPods = { apiGroups: [''], resources: ['pods'], verbs: ['get'] };
const labelled = (labels: object) => ({ metadata: { labels } });
const RESTRICTED = { 'pod-security.kubernetes.io/enforce': 'restricted' };
const BASELINE = { 'pod-security.kubernetes.io/enforce': 'baseline' };
const annotated = (annotations: object) => ({ kind: 'ServiceAccount', metadata: { annotations } });
const subjects = (...names: string[]) => ({
  kind: 'RoleBinding',
  roleRef: { kind: 'Role', name: 'reader' },
  subjects: names.map((name) => ({ kind: 'User', name })),
});

/** For each rule a change that it finds, and one like it that it lets pass. */
const CASES: readonly (readonly [rule: string, found: RiskSubject, spared: RiskSubject])[] = [
  ['protected-namespace', subjectOf({ object: refOf('ConfigMap', 'kube-system') }), subjectOf({})],
  ['deletes-data', deletion('PersistentVolumeClaim'), deletion('Deployment')],
  ['deletes', deletion('ConfigMap'), subjectOf({})],
  ['admission', clusterObject('MutatingWebhookConfiguration'), clusterObject('PriorityClass')],
  ['crd', clusterObject('CustomResourceDefinition'), clusterObject('PriorityClass')],
  ['node', clusterObject('Node'), clusterObject('RuntimeClass')],
  [
    'node-volume',
    clusterObject('PersistentVolume', { spec: { hostPath: { path: '/' } } }),
    clusterObject('PersistentVolume', { spec: { csi: { driver: 'x' } } }),
  ],
  [
    'cloud-identity',
    subjectOf({ object: refOf('ServiceAccount') }, annotated({ 'eks.amazonaws.com/role-arn': 'arn:admin' })),
    subjectOf(
      { object: refOf('ServiceAccount') },
      annotated({ 'eks.amazonaws.com/role-arn': 'arn:web' }),
      annotated({ 'eks.amazonaws.com/role-arn': 'arn:web', old: 'x' }),
    ),
  ],
  [
    'pod-security-level',
    clusterObject('Namespace', labelled(BASELINE), labelled(RESTRICTED)),
    clusterObject('Namespace', labelled(RESTRICTED), labelled(BASELINE)),
  ],
  ['cluster-scope', clusterObject('PriorityClass'), subjectOf({ object: refOf('Role') })],
  ['secret', subjectOf({ object: refOf('Secret') }), subjectOf({})],
  ['force', subjectOf({ force: true }), subjectOf({ force: false })],
  [
    'not-verified',
    subjectOf({ verified: { by: 'nobody', reason: 'its namespace is new' } }),
    subjectOf({ verified: { by: 'server' } }),
  ],
  ['not-shown', subjectOf({ changesOmitted: true }), subjectOf({})],
  ['rbac-power', role([{ ...readPods, resources: ['secrets'] }]), role([readPods])],
  ['rbac-grants', role([readPods]), role([readPods], [{ ...readPods, verbs: ['get', 'list'] }])],
  [
    'rbac-subjects',
    subjectOf({ object: refOf('RoleBinding') }, subjects('alice', 'bob'), subjects('alice')),
    subjectOf({ object: refOf('RoleBinding') }, subjects('alice'), subjects('alice', 'bob')),
  ],
  ['rbac', role([readPods], [{ ...readPods, verbs: ['get', 'list'] }]), role([readPods])],
  ['service-account', pod({ serviceAccountName: 'admin' }), pod({ serviceAccountName: 'default' })],
  [
    'secret-access',
    container({ envFrom: [{ secretRef: { name: 'database' } }] }),
    container({ envFrom: [{ configMapRef: { name: 'secret' } }] }),
  ],
  ['image-by-tag', container({ image: 'web:1' }), container({})],
  ['pod-security/host-namespaces', pod({ hostPID: true }), pod({ hostPID: false })],
  ['pod-security/privileged', container({}, { privileged: true }), container({}, { privileged: false })],
  [
    'pod-security/capabilities-baseline',
    container({}, { capabilities: { drop: ['ALL'], add: ['NET_RAW'] } }),
    container({}, { capabilities: { drop: ['ALL'], add: ['CHOWN'] } }),
  ],
  [
    'pod-security/host-path-volumes',
    pod({ volumes: [{ name: 'a', hostPath: { path: '/etc' } }] }),
    pod({ volumes: [{ name: 'a', hostPath: null }] }),
  ],
  [
    'pod-security/windows-host-process',
    pod({}, { windowsOptions: { hostProcess: true } }),
    pod({}, { windowsOptions: { hostProcess: false } }),
  ],
  [
    'pod-security/host-ports',
    container({ ports: [{ containerPort: 80, hostPort: 80 }] }),
    container({ ports: [{ containerPort: 80, hostPort: 0 }] }),
  ],
  [
    'pod-security/host-probes-and-host-lifecycle',
    container({ lifecycle: { preStop: { httpGet: { host: '169.254.169.254', port: 80 } } } }),
    container({ lifecycle: { preStop: { httpGet: { host: '', port: 80 } } } }),
  ],
  [
    'pod-security/app-armor-profile',
    container({}, { appArmorProfile: { type: 'Unconfined' } }),
    container({}, { appArmorProfile: { type: 'Localhost' } }),
  ],
  [
    'pod-security/se-linux-options',
    pod({}, { seLinuxOptions: { type: 'spc_t' } }),
    pod({}, { seLinuxOptions: { type: 'container_engine_t' } }),
  ],
  ['pod-security/proc-mount', container({}, { procMount: 'Unmasked' }), container({}, { procMount: 'Default' })],
  [
    'pod-security/seccomp-profile-baseline',
    container({}, { seccompProfile: { type: 'Unconfined' } }),
    container({}, { seccompProfile: { type: 'Localhost' } }),
  ],
  [
    'pod-security/sysctls',
    pod({}, { sysctls: [{ name: 'kernel.msgmax', value: '1' }] }),
    pod({}, { sysctls: [{ name: 'net.ipv4.tcp_rmem', value: '1' }] }),
  ],
  [
    'pod-security/restricted-volumes',
    pod({ volumes: [{ name: 'a', nfs: { server: 's', path: '/' } }] }),
    pod({ volumes: [{ name: 'a', emptyDir: {} }] }),
  ],
  [
    'pod-security/allow-privilege-escalation',
    container({}, { allowPrivilegeEscalation: undefined }),
    pod({ os: { name: 'windows' }, containers: [{ name: 'web' }] }),
  ],
  [
    'pod-security/run-as-non-root',
    pod({}, { runAsNonRoot: undefined }),
    pod({ containers: [containerOf({}, { runAsNonRoot: true })] }, { runAsNonRoot: undefined }),
  ],
  ['pod-security/run-as-user', container({}, { runAsUser: 0 }), container({}, { runAsUser: 1000 })],
  [
    'pod-security/seccomp-profile-restricted',
    pod({}, { seccompProfile: undefined }),
    pod({ containers: [containerOf({}, { seccompProfile: { type: 'Localhost' } })] }, { seccompProfile: undefined }),
  ],
  [
    'pod-security/capabilities-restricted',
    container({}, { capabilities: { drop: ['ALL'], add: ['CHOWN'] } }),
    container({}, { capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] } }),
  ],
  [
    'scales-to-zero',
    subjectOf({}, { spec: { replicas: 0 } }, { spec: { replicas: 3 } }),
    subjectOf({}, { spec: { replicas: 0 } }, { spec: { replicas: 0 } }),
  ],
  ['suspends', subjectOf({}, { spec: { suspend: true } }, { spec: {} }), subjectOf({}, { spec: { suspend: true } })],
  [
    'restarts-many',
    workload('Deployment', { replicas: 3, strategy: { type: 'Recreate' } }, { replicas: 3 }),
    workload('Deployment', { replicas: 3 }, { replicas: 3 }),
  ],
  ['restarts', workload('StatefulSet', { replicas: 3 }, {}), workload('StatefulSet', {}, {}, [{ a: 1 }, { a: 1 }])],
];

describe('each risk rule', () => {
  it.each(CASES)('%s finds what it is about, at its level, in a sentence that names the object', (id, found) => {
    const rule = RISK_RULES.find((one) => one.id === id);
    const { findings } = computeRisk([found], [], 'low');
    const { object } = found.planned;
    expect(findings.find((finding) => finding.rule === id)).toEqual({
      ...{ rule: id, level: rule?.level, object },
      message: expect.stringMatching(new RegExp(`^${object.kind} \\S*one [^\\n]+$`)),
    });
  });

  it.each(CASES)('%s lets pass what only looks like it', (id, _found, spared) => {
    expect(rulesOf(spared)).not.toContain(id);
  });

  it('has its cases here', () => {
    expect(CASES.map(([rule]) => rule)).toEqual(RISK_RULES.map(({ id }) => id));
  });

  it('stands in docs/risk.md as it is in the code', () => {
    const rows = readFileSync('docs/risk.md', 'utf8').matchAll(/^\| `(.+)` \| (.+?) \| (.+?) \|$/gm);
    expect([...rows].map(([, id, level, sentence]) => ({ id, level, sentence }))).toEqual(
      [...RISK_RULES, ...PLAN_RULES].map(({ id, level = 'as declared', sentence }) => ({ id, level, sentence })),
    );
  });
});

describe('the risk of a plan', () => {
  it('is low with no finding for a harmless change', () => {
    expect(computeRisk([subjectOf({})], [], 'low')).toEqual({ level: 'low', findings: [] });
  });

  it('is low for a new workload that keeps to the restricted standard', () => {
    expect(computeRisk([pod({})], [], 'low')).toEqual({ level: 'low', findings: [] });
  });

  it('is the highest that any rule gives, and tells that first', () => {
    const { level, findings } = computeRisk(
      [container({ image: 'web:1' }), role([readPods]), deletion('Service')],
      [],
      'low',
    );
    expect(level).toBe('high');
    expect(findings.map(({ rule }) => rule)).toEqual(['rbac-grants', 'deletes', 'image-by-tag']);
  });

  it('is raised, never lowered, by what the author declares', () => {
    expect(computeRisk([subjectOf({})], [], 'high').level).toBe('high');
    expect(computeRisk([role([readPods])], [], 'medium').level).toBe('high');
  });

  it('does not count what stays as it is', () => {
    expect(rulesOf(subjectOf({ change: 'unchanged', object: refOf('Secret') }))).toEqual([]);
  });

  it('is high where the API server refuses a part', () => {
    expect(computeRisk([], [{ step: 'apply', object: refOf('ConfigMap'), message: 'no' }], 'low').level).toBe('high');
  });

  it('rises with the number of objects, and tells many findings of a rule as one', () => {
    const many = Array.from({ length: 60 }, (_, index) =>
      subjectOf({ object: { ...refOf('Secret'), name: `s${index}` } }),
    );
    const { findings } = computeRisk(many, [], 'low');
    expect(findings.map(({ rule }) => rule)).toEqual(['secret', 'many-objects']);
    expect(findings[0]?.message).toBe('Secret shop/s0 is a Secret, and 59 others likewise');
  });

  it('says once what two steps do to one object', () => {
    expect(rulesOf(subjectOf({ object: refOf('Secret') }), subjectOf({ object: refOf('Secret') }))).toEqual(['secret']);
  });

  it('of manifests alone names every object', () => {
    const manifests = ['a', 'b', 'c', 'd'].map((name) => ({
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: 'shop' } },
    }));
    const { findings } = riskOfManifests(manifests);
    expect(findings.map(({ object }) => object?.name)).toEqual(['a', 'b', 'c', 'd']);
  });
});

describe('a restart', () => {
  const share = (kind: string, spec: object) => rulesOf(workload(kind, { ...spec }, { ...spec }));

  it.each<[string, string, object, string[]]>([
    ['a Deployment by default', 'Deployment', { replicas: 1 }, ['restarts']],
    ['a Deployment that may miss half', 'Deployment', surge('50%'), ['restarts-many']],
    ['a Deployment that may miss one of three', 'Deployment', surge(1), ['restarts']],
    ['a Deployment that may miss three of three', 'Deployment', surge(3), ['restarts-many']],
    ['a Deployment that is paused', 'Deployment', { replicas: 3, paused: true }, []],
    ['a Deployment without pods', 'Deployment', { replicas: 0 }, []],
    ['a StatefulSet of one', 'StatefulSet', { replicas: 1 }, ['restarts-many']],
    ['a StatefulSet of three', 'StatefulSet', { replicas: 3 }, ['restarts']],
    ['a StatefulSet above its pods', 'StatefulSet', { replicas: 3, ...rolling({ partition: 3 }) }, []],
    ['a StatefulSet by hand', 'StatefulSet', { replicas: 3, updateStrategy: { type: 'OnDelete' } }, []],
    ['a DaemonSet by default', 'DaemonSet', {}, ['restarts']],
    ['a DaemonSet at once', 'DaemonSet', rolling({ maxUnavailable: '100%' }), ['restarts-many']],
    ['a DaemonSet by hand', 'DaemonSet', { updateStrategy: { type: 'OnDelete' } }, []],
    ['what cannot be read', 'DaemonSet', rolling({ maxUnavailable: { valueOf: 1 } }), ['restarts-many']],
  ])('of %s', (_what, kind, spec, rules) => {
    expect(share(kind, spec)).toEqual(rules);
  });

  function surge(maxUnavailable: unknown) {
    return { replicas: 3, strategy: { rollingUpdate: { maxUnavailable } } };
  }
  function rolling(rollingUpdate: object) {
    return { updateStrategy: { rollingUpdate } };
  }

  it('says the same whatever an autoscaler makes of the replicas', () => {
    const restarted = (replicas: number) => {
      const stamp = { annotations: { 'neuralops.io/wpk-step': 'x' } };
      const [after, before] = [deploymentOf(podSpecOf(), { replicas }, stamp), deploymentOf(podSpecOf(), { replicas })];
      return computeRisk([subjectOf({ object: refOf('Deployment') }, after, before)], [], 'low');
    };
    expect(restarted(3)).toEqual(restarted(17));
  });

  it('is none where the API server only writes null for nothing', () => {
    const metadata = { creationTimestamp: null };
    const [after, before] = [deploymentOf(podSpecOf(), {}, metadata), deploymentOf(podSpecOf())];
    expect(rulesOf(subjectOf({ object: refOf('Deployment') }, after, before))).toEqual([]);
  });

  it('of a workload that was privileged before stays low: nothing comes in that is not there', () => {
    const old = { hostNetwork: true, containers: [{ name: 'web', image: 'web:1' }] };
    const stamped = deploymentOf(old, {}, { annotations: { 'neuralops.io/wpk-step': 'x' } });
    const subject = subjectOf({ object: refOf('Deployment') }, stamped, deploymentOf(old));
    expect(computeRisk([subject], [], 'low')).toMatchObject({ level: 'low', findings: [{ rule: 'restarts' }] });
  });
});

describe('any JSON at all', () => {
  /** Keys that the rules look for, and keys that objects of JavaScript have already. */
  const key = fc.constantFrom(
    ...['kind', 'metadata', 'annotations', 'labels', 'spec', 'template', 'containers', 'securityContext', 'volumes'],
    ...['rules', 'verbs', 'resources', 'apiGroups', 'subjects', 'roleRef', 'name', 'strategy', 'rollingUpdate'],
    ...['maxUnavailable', 'replicas', 'capabilities', 'add', 'ports', 'hostPort', 'aggregationRule', 'secretName'],
    ...['__proto__', 'constructor', 'toString', 'valueOf', 'hasOwnProperty', 'length', '0'],
  );
  const { value: json } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 8, withCrossShrink: true },
      fc.constantFrom<unknown>(
        null,
        true,
        false,
        0,
        -1,
        1e308,
        '',
        '*',
        'ALL',
        'Pod',
        '50%',
        '\ud800',
        'a'.repeat(500),
      ),
      fc.array(tie('value'), { maxLength: 4 }),
      // JSON.parse makes `__proto__` a key of its own, as a server's answer would have it.
      fc.dictionary(key, tie('value'), { maxKeys: 6 }).map((map) => JSON.parse(JSON.stringify(map)) as unknown),
    ),
  }));
  const kind = fc.constantFrom(
    ...['Pod', 'Deployment', 'StatefulSet', 'DaemonSet', 'CronJob', 'Role', 'ClusterRole', 'RoleBinding'],
    ...['Namespace', 'ServiceAccount', 'PersistentVolume', 'Secret', 'Widget', '__proto__'],
  );
  const subject = fc
    .tuple(kind, fc.constantFrom('create', 'update', 'delete'), json, json)
    .map(([of, change, before, after]) => ({ planned: { change, object: refOf(of) }, before, after }) as RiskSubject);

  it('makes no rule throw, and gets the same short findings each time', () => {
    fc.assert(
      fc.property(fc.array(subject, { maxLength: 5 }), (subjects) => {
        const risk = computeRisk(subjects, [], 'low');
        expect(computeRisk(structuredClone(subjects), [], 'low')).toEqual(risk);
        for (const { message } of risk.findings) expect(message.length).toBeLessThan(1_500);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is judged the same whatever the order of its keys', () => {
    const reversed = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(reversed);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([key, inner]) => [key, reversed(inner)]),
      );
    };
    fc.assert(
      fc.property(fc.array(subject, { maxLength: 3 }), (subjects) => {
        const other = subjects.map(({ planned, before, after }) => ({
          ...{ planned, before: reversed(before), after: reversed(after) },
        }));
        expect(computeRisk(other, [], 'low')).toEqual(computeRisk(subjects, [], 'low'));
      }),
      { numRuns: 1_000 },
    );
  });

  // As deep as a package may be and almost as large, and the plain nests deeper than any parser of ours lets pass.
  const LIST = `[${'0,'.repeat(20_000)}0]`;
  it.each([
    ['a nest of lists', '['.repeat(50_000) + ']'.repeat(50_000)],
    ['a nest of maps', '{"spec":'.repeat(50_000) + '1' + '}'.repeat(50_000)],
    ['a pod in a pod in a pod', '{"containers":[{}],"spec":'.repeat(60) + LIST + '}'.repeat(60)],
    ['a long list', LIST],
    ['a list of pods', `[${'{"containers":[{}]},'.repeat(2_000)}0]`],
    ['rights that multiply', rights(40)],
  ])('that is %s takes no more than seconds to judge', (_what, text) => {
    const value = JSON.parse(text) as unknown;
    const start = process.cpuUsage();
    const nested = subjectOf({ object: refOf('Role') }, value, JSON.parse(text));
    computeRisk([nested, subjectOf({ object: refOf('Role') }, value)], [], 'low');
    // Of the processor, for others may be using it.
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(5);
  });

  function rights(each: number): string {
    const words = (prefix: string) => Array.from({ length: each }, (_, index) => `${prefix}${index}`);
    const rule = { verbs: words('v'), apiGroups: words('g'), resources: words('r'), resourceNames: words('n') };
    return JSON.stringify({ rules: Array.from({ length: 200 }, () => rule) });
  }
});
