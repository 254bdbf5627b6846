import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { explain } from '../../../activities/kubernetes/explain.ts';
import { healthOf, type Health } from '../../../activities/kubernetes/health.ts';
import type { KubeObject } from '../../../activities/kubernetes/kube-object.ts';
import type { Manifest } from '../../../domain/wpk.ts';
import type { Fate, TestCluster } from '../../support/kubernetes.ts';
import { deployment, job, podTemplate, testCluster } from '../../support/kubernetes.ts';
import { until } from '../../support/until.ts';

/** Health as real controllers make it; what pods do is played by kwok (`dev/servers/pod-fates.yaml`). */

interface Case {
  readonly manifest: Manifest;
  readonly ends: Health['state'];
  /** What is missing, or went wrong. */
  readonly message?: RegExp;
  /** Why, as a person is told when the time is up. */
  readonly cause?: RegExp;
}

const PLURALS: Readonly<Record<string, string>> = {
  Deployment: 'apis/apps/v1 deployments',
  StatefulSet: 'apis/apps/v1 statefulsets',
  DaemonSet: 'apis/apps/v1 daemonsets',
  ReplicaSet: 'apis/apps/v1 replicasets',
  Job: 'apis/batch/v1 jobs',
  CronJob: 'apis/batch/v1 cronjobs',
  Pod: 'api/v1 pods',
  Service: 'api/v1 services',
  PersistentVolumeClaim: 'api/v1 persistentvolumeclaims',
  Ingress: 'apis/networking.k8s.io/v1 ingresses',
  HorizontalPodAutoscaler: 'apis/autoscaling/v2 horizontalpodautoscalers',
  PodDisruptionBudget: 'apis/policy/v1 poddisruptionbudgets',
};

function made(apiVersion: string, kind: string, name: string, spec: object): Manifest {
  return { apiVersion, kind, metadata: { name }, spec };
}

function workload(kind: string, name: string, fate?: Fate, spec: object = {}): Manifest {
  const selector = { matchLabels: { app: name } };
  return made('apps/v1', kind, name, { selector, template: podTemplate(name, fate), ...spec });
}

const PULLS =
  /^Pod \S+: container main waits: ImagePullBackOff, Back-off pulling image "registry.example\/app:1": not found$/;
const CRASHES =
  /^Pod \S+: container main crashes again and again \(CrashLoopBackOff after 4 restarts\): ended with exit code 1: Error, cannot connect to the database$/;
const PROBES =
  /^Pod \S+: container main is not ready: Unhealthy, Readiness probe failed: HTTP probe failed with statuscode: 503$/;

const CASES: Readonly<Record<string, (ns: string) => Case>> = {
  'a Deployment that rolls out': (ns) => ({ manifest: deployment(ns, 'fine'), ends: 'ready' }),
  'a Deployment that starts slowly': () => ({ manifest: workload('Deployment', 'slow', 'slow-start'), ends: 'ready' }),
  'a Deployment whose image is not there': (ns) => ({
    manifest: deployment(ns, 'pull', { template: podTemplate('pull', 'image-pull') }),
    ends: 'progressing',
    message: /^0 of 2 pods are available$/,
    cause: PULLS,
  }),
  'a Deployment that crashes': () => ({
    manifest: workload('Deployment', 'crash', 'crash-loop'),
    ends: 'progressing',
    message: /^0 of 1 pods are available$/,
    cause: CRASHES,
  }),
  'a Deployment whose probe fails': () => ({
    manifest: workload('Deployment', 'probe', 'probe'),
    ends: 'progressing',
    cause: PROBES,
  }),
  'a Deployment that fits on no node': () => ({
    manifest: workload('Deployment', 'unfit', undefined, {
      template: podTemplate('unfit', undefined, { nodeSelector: { nowhere: 'true' } }),
    }),
    ends: 'progressing',
    cause: /^Pod unfit-\S+: Unschedulable, 0\/\d+ nodes are available/,
  }),
  'a Deployment past its deadline': () => ({
    manifest: workload('Deployment', 'late', 'image-pull', { progressDeadlineSeconds: 1 }),
    ends: 'failed',
    message: /has timed out progressing/,
    cause: PULLS,
  }),
  'a Deployment that may not have pods': () => ({
    manifest: workload('Deployment', 'forbidden', undefined, {
      template: podTemplate('forbidden', undefined, {
        containers: [{ name: 'main', image: 'x', resources: { limits: { memory: '10Gi' } } }],
      }),
    }),
    ends: 'progressing',
    message: /0 of 1 pods are of the new version: pods "forbidden-\S+" is forbidden: .*maximum memory/,
  }),
  'a StatefulSet that rolls out': () => ({
    manifest: workload('StatefulSet', 'stateful', undefined, { serviceName: 'x', replicas: 2 }),
    ends: 'ready',
  }),
  'a StatefulSet whose first pod crashes': () => ({
    manifest: workload('StatefulSet', 'stateful-crash', 'crash-loop', { serviceName: 'x', replicas: 2 }),
    ends: 'progressing',
    message: /^0 of 2 pods are ready$/,
    cause: CRASHES,
  }),
  'a DaemonSet on all nodes': () => ({ manifest: workload('DaemonSet', 'daemon'), ends: 'ready' }),
  'a DaemonSet whose probe fails': () => ({
    manifest: workload('DaemonSet', 'daemon-probe', 'probe'),
    ends: 'progressing',
    message: /^0 of \d+ pods are available$/,
    cause: PROBES,
  }),
  'a DaemonSet that is updated by hand': () => ({
    manifest: workload('DaemonSet', 'by-hand', 'probe', { updateStrategy: { type: 'OnDelete' } }),
    ends: 'ready',
  }),
  'a ReplicaSet with its pods': () => ({ manifest: workload('ReplicaSet', 'replicas'), ends: 'ready' }),
  'a ReplicaSet whose image is not there': () => ({
    manifest: workload('ReplicaSet', 'replicas-pull', 'image-pull'),
    ends: 'progressing',
    cause: PULLS,
  }),
  'a Job that completes': (ns) => ({ manifest: job(ns, 'done'), ends: 'ready' }),
  'a Job that fails': (ns) => ({
    manifest: job(ns, 'failing', 'failure', { backoffLimit: 0 }),
    ends: 'failed',
    message: /backoff limit/,
    cause: /^Pod failing-\S+: container main ended with exit code 3: Error, the schema is newer than this program$/,
  }),
  'a Job that does not end': (ns) => ({
    manifest: job(ns, 'endless', 'slow-start'),
    ends: 'progressing',
    message: /^0 pods have succeeded$/,
  }),
  'a Job that is suspended': (ns) => ({
    manifest: job(ns, 'suspended', undefined, { suspend: true }),
    ends: 'progressing',
    message: /suspended/,
  }),
  'a CronJob': (ns) => ({
    manifest: made('batch/v1', 'CronJob', 'nightly', {
      schedule: '0 3 * * *',
      jobTemplate: { spec: job(ns, 'nightly')['spec'] },
    }),
    ends: 'ready',
  }),
  'a Pod that crashes': () => ({
    manifest: { apiVersion: 'v1', kind: 'Pod', ...podWith('pod', 'crash-loop') },
    ends: 'progressing',
    cause: CRASHES,
  }),
  'a Service that gets no address': () => ({
    manifest: made('v1', 'Service', 'balanced', { type: 'LoadBalancer', ports: [{ port: 80 }] }),
    ends: 'progressing',
    message: /no address from a load balancer/,
  }),
  'an Ingress that no controller serves': () => ({
    manifest: made('networking.k8s.io/v1', 'Ingress', 'front', {
      defaultBackend: { service: { name: 'balanced', port: { number: 80 } } },
    }),
    ends: 'progressing',
    message: /no address from an ingress controller/,
  }),
  'a claim for a volume that nobody provides': () => ({
    manifest: made('v1', 'PersistentVolumeClaim', 'data', {
      storageClassName: '',
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
    }),
    ends: 'progressing',
    message: /no volume is bound/,
    cause: /^FailedBinding, no persistent volumes available/,
  }),
  'an autoscaler whose target is missing': () => ({
    manifest: made('autoscaling/v2', 'HorizontalPodAutoscaler', 'lost', {
      maxReplicas: 3,
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'nobody' },
    }),
    ends: 'progressing',
    message: /not found/,
    cause: /FailedGetScale/,
  }),
  'a disruption budget': () => ({
    manifest: made('policy/v1', 'PodDisruptionBudget', 'budget', {
      maxUnavailable: 1,
      selector: { matchLabels: { app: 'fine' } },
    }),
    ends: 'ready',
  }),
};

function podWith(name: string, fate: Fate) {
  const { metadata, spec } = podTemplate(name, fate);
  return { metadata: { ...metadata, name }, spec };
}

let cluster: TestCluster;
let ns: string;
const pathOf = ({ kind, metadata }: Manifest) => {
  const [group = '', plural = ''] = PLURALS[kind]?.split(' ') ?? [];
  return cluster.path(group, plural, metadata.name);
};

beforeAll(async () => {
  cluster = await testCluster();
  ns = cluster.namespace;
  const limits = made('v1', 'LimitRange', 'limits', { limits: [{ type: 'Container', max: { memory: '4Gi' } }] });
  await cluster.applyAs('test', cluster.path('api/v1', 'limitranges', 'limits'), limits);
  // All at once: most of them wait for a controller.
  const manifests = Object.values(CASES).map((make) => make(ns).manifest);
  await Promise.all(manifests.map((manifest) => cluster.applyAs('test', pathOf(manifest), manifest)));
});
afterAll(() => cluster.stop());

describe('the health that real controllers give to', () => {
  for (const [what, make] of Object.entries(CASES)) {
    it(`${what}`, async () => {
      const { manifest, ends, message = /(?:)/, cause } = make(ns);
      let live: KubeObject | undefined;
      await until(`${what} to be ${ends}`, async () => {
        live = await cluster.api.get(pathOf(manifest));
        if (!live) return false;
        const health = healthOf(live);
        return health.state === ends && message.test(health.message);
      });
      const found = live;
      if (!cause || !found) return;
      let told = '';
      await until(`the cause of ${what}`, async () => cause.test((told = await explain(cluster.api, found)))).catch(
        () => undefined,
      );
      expect(told).toMatch(cause);
    });
  }
});
