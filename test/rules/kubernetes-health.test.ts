import { describe, expect, it } from '@jest/globals';
import { type Health, healthOf } from '../../activities/kubernetes/health.ts';
import type { KubeObject } from '../../activities/kubernetes/kube-object.ts';

type Case = readonly [what: string, spec: object, status: object, expected: Health['state'], message?: string | RegExp];

const API_VERSIONS: Readonly<Record<string, string>> = {
  Deployment: 'apps/v1',
  StatefulSet: 'apps/v1',
  DaemonSet: 'apps/v1',
  ReplicaSet: 'apps/v1',
  Job: 'batch/v1',
  CronJob: 'batch/v1',
  Ingress: 'networking.k8s.io/v1',
  CustomResourceDefinition: 'apiextensions.k8s.io/v1',
  APIService: 'apiregistration.k8s.io/v1',
  HorizontalPodAutoscaler: 'autoscaling/v2',
  PodDisruptionBudget: 'policy/v1',
  Widget: 'example.com/v1',
};

function object(kind: string, spec: object, status: object): KubeObject {
  return { apiVersion: API_VERSIONS[kind] ?? 'v1', kind, metadata: { name: 'x', generation: 2 }, spec, status };
}

const condition = (type: string, status: string, message = '') => ({ conditions: [{ type, status, message }] });
const seen = { observedGeneration: 2 };
const rolledOut = { ...seen, replicas: 3, updatedReplicas: 3, availableReplicas: 3, readyReplicas: 3 };

const CASES: Readonly<Record<string, readonly Case[]>> = {
  Deployment: [
    ['rolled out', { replicas: 3 }, rolledOut, 'ready'],
    ['without a status', { replicas: 3 }, {}, 'progressing', /not seen/],
    [
      'with a status of the old spec',
      { replicas: 3 },
      { ...rolledOut, observedGeneration: 1 },
      'progressing',
      /not seen/,
    ],
    [
      'with too few new pods',
      { replicas: 3 },
      { ...rolledOut, updatedReplicas: 1 },
      'progressing',
      /1 of 3 pods are of/,
    ],
    ['with old pods left', { replicas: 3 }, { ...rolledOut, replicas: 4 }, 'progressing', /1 pods of the old/],
    [
      'with pods not available',
      { replicas: 3 },
      { ...rolledOut, availableReplicas: 0 },
      'progressing',
      /0 of 3 pods are av/,
    ],
    [
      'past its deadline',
      { replicas: 3 },
      { ...rolledOut, ...condition('Progressing', 'False', 'late') },
      'failed',
      'late',
    ],
    ['paused', { replicas: 3, paused: true }, rolledOut, 'progressing', /paused/],
    [
      'that may not create pods',
      { replicas: 3 },
      { ...rolledOut, availableReplicas: 0, ...condition('ReplicaFailure', 'True', 'exceeded quota') },
      'progressing',
      /exceeded quota/,
    ],
    ['scaled to zero', { replicas: 0 }, seen, 'ready'],
  ],
  StatefulSet: [
    ['rolled out', { replicas: 3 }, { ...rolledOut, currentRevision: 'b', updateRevision: 'b' }, 'ready'],
    ['between revisions', { replicas: 3 }, { ...rolledOut, currentRevision: 'a', updateRevision: 'b' }, 'progressing'],
    ['with pods not ready', { replicas: 3 }, { ...seen, readyReplicas: 2 }, 'progressing', /2 of 3 pods are ready/],
    [
      'updated down to its partition',
      { replicas: 3, updateStrategy: { rollingUpdate: { partition: 2 } } },
      { ...rolledOut, updatedReplicas: 1, currentRevision: 'a', updateRevision: 'b' },
      'ready',
    ],
    [
      'not yet updated down to its partition',
      { replicas: 3, updateStrategy: { rollingUpdate: { partition: 1 } } },
      { ...rolledOut, updatedReplicas: 1 },
      'progressing',
      /1 of 2 pods/,
    ],
    ['updated by hand, once observed', { replicas: 3, updateStrategy: { type: 'OnDelete' } }, seen, 'ready'],
  ],
  DaemonSet: [
    [
      'on all nodes',
      {},
      { ...seen, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2 },
      'ready',
    ],
    ['not updated on all', {}, { ...seen, desiredNumberScheduled: 2, updatedNumberScheduled: 1 }, 'progressing'],
    [
      'not available on all',
      {},
      { ...seen, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1 },
      'progressing',
      /1 of 2/,
    ],
    ['updated by hand', { updateStrategy: { type: 'OnDelete' } }, { ...seen, desiredNumberScheduled: 2 }, 'ready'],
    ['updated by hand, not observed', { updateStrategy: { type: 'OnDelete' } }, {}, 'progressing'],
  ],
  Job: [
    ['complete', {}, condition('Complete', 'True'), 'ready'],
    ['failed', {}, condition('Failed', 'True', 'backoff limit'), 'failed', 'backoff limit'],
    ['that was once thought failed', {}, condition('Failed', 'False'), 'progressing'],
    ['running', {}, { active: 1 }, 'progressing'],
    ['suspended', {}, condition('Suspended', 'True'), 'progressing', /suspended/],
  ],
  Pod: [
    ['ready', {}, { phase: 'Running', ...condition('Ready', 'True') }, 'ready'],
    ['running but not ready', {}, { phase: 'Running', ...condition('Ready', 'False') }, 'progressing'],
    ['done', {}, { phase: 'Succeeded' }, 'ready'],
    ['failed', {}, { phase: 'Failed', message: 'evicted' }, 'failed', 'evicted'],
  ],
  PersistentVolumeClaim: [
    ['bound', {}, { phase: 'Bound' }, 'ready'],
    ['pending', {}, { phase: 'Pending' }, 'progressing'],
    ['lost', {}, { phase: 'Lost' }, 'failed'],
  ],
  Service: [
    ['inside the cluster', { type: 'ClusterIP' }, {}, 'ready'],
    ['without the load balancer’s address', { type: 'LoadBalancer' }, { loadBalancer: {} }, 'progressing'],
    ['with it', { type: 'LoadBalancer' }, { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } }, 'ready'],
  ],
  CustomResourceDefinition: [
    ['established', {}, condition('Established', 'True'), 'ready'],
    ['not established', {}, {}, 'progressing'],
    ['whose names are taken', {}, condition('NamesAccepted', 'False', 'taken'), 'failed', 'taken'],
  ],
  ReplicaSet: [
    ['with all pods', { replicas: 2 }, { ...seen, availableReplicas: 2 }, 'ready'],
    ['with some', { replicas: 2 }, { ...seen, availableReplicas: 1 }, 'progressing', /1 of 2/],
    [
      'that may not create pods',
      { replicas: 2 },
      { ...seen, ...condition('ReplicaFailure', 'True', 'exceeded quota') },
      'progressing',
      /exceeded quota/,
    ],
  ],
  PersistentVolume: [
    ['available', {}, { phase: 'Available' }, 'ready'],
    ['pending', {}, { phase: 'Pending' }, 'progressing'],
    ['failed', {}, { phase: 'Failed', message: 'no such disk' }, 'failed', 'no such disk'],
  ],
  Ingress: [
    ['without an address', {}, { loadBalancer: {} }, 'progressing', /ingress controller/],
    ['with one', {}, { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } }, 'ready'],
  ],
  Namespace: [
    ['active', {}, { phase: 'Active' }, 'ready'],
    ['without a phase', {}, {}, 'progressing'],
  ],
  APIService: [
    ['available', {}, condition('Available', 'True'), 'ready'],
    ['without an answer', {}, condition('Available', 'False', 'no endpoints'), 'progressing', 'no endpoints'],
  ],
  CronJob: [['that has never run', { schedule: '0 0 * * *' }, {}, 'ready']],
  HorizontalPodAutoscaler: [
    ['that has no metrics yet', {}, condition('ScalingActive', 'False'), 'ready'],
    ['whose target is missing', {}, condition('AbleToScale', 'False', 'not found'), 'progressing', 'not found'],
  ],
  PodDisruptionBudget: [
    ['observed', {}, seen, 'ready'],
    ['not observed', {}, {}, 'progressing'],
  ],
  Widget: [
    ['without conditions', {}, {}, 'ready'],
    ['observed in an older generation', {}, { observedGeneration: 1 }, 'progressing'],
    ['not ready', {}, condition('Ready', 'False', 'waits'), 'progressing', 'waits'],
    ['stalled', {}, condition('Stalled', 'True', 'broken'), 'failed', 'broken'],
    ['reconciling', {}, condition('Reconciling', 'True', 'busy'), 'progressing', 'busy'],
  ],
};

for (const [kind, cases] of Object.entries(CASES)) {
  describe(`a ${kind}`, () => {
    for (const [what, spec, status, state, message = /(?:)/] of cases) {
      it(`${what} is ${state}`, () => {
        const health = healthOf(object(kind, spec, status));
        expect(health.state).toBe(state);
        expect(health.message).toMatch(message);
      });
    }
  });
}

describe('a custom resource with the name of a kind of Kubernetes', () => {
  it('is judged by its conditions alone', () => {
    const status = condition('Ready', 'False', 'waits');
    const own = { ...object('Deployment', {}, status), apiVersion: 'example.com/v1' };
    expect(healthOf(own)).toEqual({ state: 'progressing', message: 'waits' });
  });
});

it('counts nothing as ready that is being deleted', () => {
  const leaving = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', deletionTimestamp: 'now' } };
  expect(healthOf(leaving).state).toBe('progressing');
});
