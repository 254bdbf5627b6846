import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { readManifests } from '../../client/pack/read-manifests.ts';
import { RISK_RULES, riskOfManifests } from '../../domain/risk.ts';
import { POD_SECURITY_VERSION } from '../../domain/risk/pod-security.ts';
import { containerOf, deploymentOf, podSpecOf, refOf, rolloutOf, rulesOf, saysOf, subjectOf } from '../support/risk.ts';
import { describeVectors } from '../support/vectors.ts';
import { vectorsAt } from '../support/vectors-at.ts';

const FAMILY = 'pod-security/';
const PRIVILEGED = { hostPID: true, containers: [containerOf()] };

/** Where each kind holds its pod. */
const KINDS: readonly (readonly [kind: string, hold: (pod: object) => object])[] = [
  ['Pod', (pod) => pod],
  ['PodTemplate', (pod) => ({ template: pod })],
  ...['ReplicationController', 'ReplicaSet', 'Deployment', 'StatefulSet', 'DaemonSet', 'Job'].map(
    (kind) => [kind, (pod: object) => ({ spec: { template: pod } })] as const,
  ),
  ['CronJob', (pod) => ({ spec: { jobTemplate: { spec: { template: pod } } } })],
  ['Rollout', (pod) => ({ apiVersion: 'argoproj.io/v1alpha1', spec: { template: pod } })],
  ['Service', (pod) => ({ apiVersion: 'serving.knative.dev/v1', spec: { template: pod } })],
  ['ScaledJob', (pod) => ({ apiVersion: 'keda.sh/v1alpha1', spec: { jobTargetRef: { template: pod } } })],
  ['RayCluster', (pod) => ({ apiVersion: 'ray.io/v1', spec: { workerGroupSpecs: [{ template: pod }] } })],
  ['InferenceService', (pod) => ({ apiVersion: 'serving.kserve.io/v1beta1', spec: { predictor: podOnly(pod) } })],
];

function podOnly(pod: object): unknown {
  return 'spec' in pod ? pod.spec : undefined;
}

describe('a pod below the restricted standard', () => {
  it.each(KINDS)('is found in a %s, and one that keeps to it is not', (kind, hold) => {
    const created = (spec: object) => subjectOf({ object: refOf(kind) }, { kind, ...hold({ spec }) });
    expect(rulesOf(created(PRIVILEGED)).filter(isOfFamily)).toContain('pod-security/host-namespaces');
    expect(rulesOf(created(podSpecOf()))).toEqual([]);
  });

  it('is found where there is not even a container', () => {
    const spec = { template: { spec: { hostNetwork: true } } };
    expect(rulesOf(subjectOf({ object: refOf('Deployment') }, { kind: 'Deployment', spec }))).toContain(
      'pod-security/host-namespaces',
    );
  });

  it('is no matter where only the status of an object tells of it, which moves', () => {
    const moved = (pod: object) => ({ kind: 'Widget', spec: {}, status: { template: { spec: pod } } });
    expect(rulesOf(subjectOf({ object: refOf('Widget') }, moved(PRIVILEGED), moved({})))).toEqual([]);
  });

  it('is found beside one that keeps to it', () => {
    const decoy = { spec: { containers: [containerOf()], template: { spec: PRIVILEGED } } };
    expect(rulesOf(subjectOf({ object: refOf('Widget') }, { kind: 'Widget', ...decoy }))).toContain(
      'pod-security/host-namespaces',
    );
  });

  it('is found by what its annotations say', () => {
    const metadata = { annotations: { 'container.apparmor.security.beta.kubernetes.io/web': 'unconfined' } };
    const subject = subjectOf({ object: refOf('Deployment') }, deploymentOf(podSpecOf(), {}, metadata));
    expect(saysOf('pod-security/app-armor-profile', subject)).toBe('loosens AppArmor (container web: unconfined)');
  });

  it('says who does what, and all of it in one sentence', () => {
    const containers = ['a', 'b'].map((name) => containerOf({ name }, { privileged: true }));
    expect(saysOf('pod-security/privileged', rolloutOf(podSpecOf({ containers })))).toBe(
      'runs privileged (container a: privileged true, container b: privileged true)',
    );
  });

  it('that was so before counts again when other pods come: new code would get old rights', () => {
    const image = { containers: [containerOf({ image: `registry.example/new@sha256:${'b'.repeat(64)}` })] };
    expect(
      rulesOf(rolloutOf({ ...podSpecOf(), ...PRIVILEGED, ...image }, { ...podSpecOf(), ...PRIVILEGED })),
    ).toContain('pod-security/host-namespaces');
  });

  it('that was so before does not count when the pods stay as they are', () => {
    const before = deploymentOf(PRIVILEGED, { replicas: 1 });
    const scaled = deploymentOf(PRIVILEGED, { replicas: 5 }, { annotations: { 'neuralops.io/wpk-step': 'x' } });
    expect(rulesOf(subjectOf({ object: refOf('Deployment') }, scaled, before))).toEqual(['restarts']);
  });

  it('counts when only an annotation makes it so', () => {
    const annotations = { 'container.apparmor.security.beta.kubernetes.io/web': 'unconfined' };
    const after = deploymentOf(PRIVILEGED, {}, { annotations });
    expect(rulesOf(subjectOf({ object: refOf('Deployment') }, after, deploymentOf(PRIVILEGED)))).toEqual([
      'pod-security/app-armor-profile',
      'restarts',
    ]);
  });
});

describe('a pod template that names another service account', () => {
  it.each<[string, object, object | undefined, string]>([
    ['than before', { serviceAccountName: 'admin' }, { serviceAccountName: 'web' }, 'admin'],
    ['than the default, where there was none before', { serviceAccountName: 'admin' }, {}, 'admin'],
    ['in a new workload', { serviceAccountName: 'admin' }, undefined, 'admin'],
    ['by the old name of the field', { serviceAccount: 'admin' }, {}, 'admin'],
    ['which is the default one', {}, { serviceAccountName: 'web' }, 'default'],
    [
      'which is not so, but its token is mounted again',
      {},
      { automountServiceAccountToken: false },
      'default, with its token',
    ],
  ])('%s is a finding', (_what, after, before, account) => {
    const subject = rolloutOf(podSpecOf({ ...after }), before && podSpecOf({ ...before }));
    expect(saysOf('service-account', subject)).toBe(`runs as the service account ${account}`);
  });

  it('does not count where it is the one of before', () => {
    const same = podSpecOf({ serviceAccountName: 'web', serviceAccount: 'web' });
    expect(rulesOf(rolloutOf({ ...same, priority: 1 }, same))).toEqual(['restarts']);
  });
});

describe('a pod template that reaches a Secret', () => {
  const withEnv = (env: object) => ({ containers: [containerOf({ ...env })] });
  const volume = (source: object) => ({ volumes: [{ name: 'data', ...source }] });
  const projected = (source: object) => volume({ projected: { sources: [source] } });

  const WAYS: readonly (readonly [way: string, changes: object, reaches: string])[] = [
    ['a volume', volume({ secret: { secretName: 'database' } }), 'the Secret database'],
    ['a projected volume', projected({ secret: { name: 'database' } }), 'the Secret database'],
    [
      'a variable',
      withEnv({ env: [{ name: 'P', valueFrom: { secretKeyRef: { name: 'database', key: 'p' } } }] }),
      'the Secret database',
    ],
    ['all of its variables', withEnv({ envFrom: [{ secretRef: { name: 'database' } }] }), 'the Secret database'],
    [
      'an init container',
      { initContainers: [containerOf({ name: 'init', envFrom: [{ secretRef: { name: 'database' } }] })] },
      'the Secret database',
    ],
    [
      'a CSI driver',
      volume({ csi: { driver: 'x', nodePublishSecretRef: { name: 'database' } } }),
      'the Secret database',
    ],
    [
      'the CSI driver of a vault',
      volume({ csi: { driver: 'secrets-store.csi.k8s.io', volumeAttributes: { secretProviderClass: 'vault' } } }),
      'the SecretProviderClass vault',
    ],
    ['pulling images', { imagePullSecrets: [{ name: 'registry' }] }, 'the Secret registry to pull images'],
    ['a disk of Azure', volume({ azureFile: { secretName: 'azure', shareName: 's' } }), 'the Secret azure'],
    ['a token for a vault', projected({ serviceAccountToken: { audience: 'vault', path: 't' } }), 'a token for vault'],
  ];

  it.each(WAYS)('by %s is a finding where it did not before', (_way, changes, reaches) => {
    expect(saysOf('secret-access', rolloutOf(podSpecOf({ ...changes })))).toBe(`reaches ${reaches}`);
    expect(saysOf('secret-access', rolloutOf(podSpecOf({ ...changes }), podSpecOf()))).toBe(`reaches ${reaches}`);
  });

  it.each(WAYS)('by %s is none where it did before', (_way, changes) => {
    const before = podSpecOf({ ...changes });
    expect(rulesOf(rolloutOf({ ...before, priority: 1 }, before))).not.toContain('secret-access');
  });

  it('names those that are new alone', () => {
    const secrets = (...names: string[]) =>
      podSpecOf({ volumes: names.map((secretName) => ({ secret: { secretName } })) });
    expect(saysOf('secret-access', rolloutOf(secrets('a', 'c', 'b'), secrets('a')))).toBe(
      'reaches the Secret b, the Secret c',
    );
  });

  it('counts in the one of two pods that did not before', () => {
    const worker = (...secrets: string[]) => ({
      template: { spec: podSpecOf({ volumes: secrets.map((secretName) => ({ secret: { secretName } })) }) },
    });
    const cluster = (...groups: object[]) => ({ kind: 'RayCluster', spec: { groups } });
    const [after, before] = [cluster(worker('a'), worker('a')), cluster(worker('a'), worker())];
    expect(rulesOf(subjectOf({ object: refOf('RayCluster') }, after, before))).toEqual(['secret-access']);
  });

  it('has nothing to do with the token that admission mounts into each pod, under a name made up each time', () => {
    const token = volume({
      projected: { sources: [{ serviceAccountToken: { expirationSeconds: 3607, path: 'token' } }] },
    });
    expect(rulesOf(rolloutOf(podSpecOf({ ...token })))).toEqual([]);
  });
});

function isOfFamily(rule: string): boolean {
  return rule.startsWith(FAMILY);
}

/** The published test data of Pod Security admission, as the API server of that version judges it. */
describe.each(['baseline', 'restricted'])('the Pod Security Standard %s', (standard) => {
  const folder = vectorsAt('pod-security', standard, POD_SECURITY_VERSION);
  const files = (verdict: string) => {
    const path = join(folder, verdict);
    return existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : [];
  };
  const findingsOf = (file: string) =>
    riskOfManifests(readManifests({ name: file, text: readFileSync(file, 'utf8') })).findings.filter(({ rule }) =>
      isOfFamily(rule),
    );
  /** `seccompprofile_baseline0.yaml` is about the check `seccompProfile_baseline`, the rule `seccomp-profile-baseline`. */
  const ruleOf = (file: string) => {
    const check = basename(file, '.yaml')
      .replace(/[0-9]+$/, '')
      .replace('_', '');
    const rule = RISK_RULES.find(({ id }) => isOfFamily(id) && id.slice(FAMILY.length).replaceAll('-', '') === check);
    if (!rule) throw new Error(`there is no rule for ${file}`);
    return rule;
  };

  describeVectors('in what it lets pass and what not', folder, () => {
    it.each(files('fail').map((file) => [basename(file), file]))('finds in %s what it is about', (_name, file) => {
      const rule = ruleOf(file);
      expect(findingsOf(file)).toContainEqual(expect.objectContaining({ rule: rule.id, level: rule.level }));
      expect(rule.level).not.toBe('low');
    });

    it.each(files('pass').map((file) => [basename(file), file]))('finds nothing against it in %s', (_name, file) => {
      const levels = new Map(RISK_RULES.map(({ id, sentence }) => [id, sentence.endsWith('(baseline)')]));
      const against = findingsOf(file).filter(({ rule }) => standard === 'restricted' || levels.get(rule));
      expect(against).toEqual([]);
    });

    it('has a file for each rule of it', () => {
      const rules = RISK_RULES.filter(({ sentence }) => sentence.endsWith(`(${standard})`)).map(({ id }) => id);
      const published = new Set(files('fail').map((file) => ruleOf(file).id));
      expect(rules.filter((rule) => !published.has(rule))).toEqual([]);
    });
  });
});
