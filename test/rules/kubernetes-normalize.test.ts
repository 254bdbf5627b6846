import { describe, expect, it } from '@jest/globals';
import type { KubeObject } from '../../activities/kubernetes/kube-object.ts';
import { normalize } from '../../activities/kubernetes/normalize.ts';

const mask = (value: string) => `masked ${value.length}`;
const object = (kind: string, fields: Record<string, unknown> = {}): KubeObject => ({
  apiVersion: 'v1',
  kind,
  metadata: { name: 'x' },
  ...fields,
});

describe('a normalised object', () => {
  it('lacks what the server and controllers write, and keeps the rest', () => {
    const annotations = {
      'deployment.kubernetes.io/revision': '3',
      'kubectl.kubernetes.io/last-applied-configuration': '{}',
    };
    const live: KubeObject = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: {
        name: 'web',
        namespace: 'shop',
        uid: 'u',
        resourceVersion: '1',
        generation: 2,
        creationTimestamp: 'now',
        managedFields: [],
        annotations: { ...annotations, team: 'shop' },
        labels: { app: 'web' },
      },
      spec: { replicas: 1, template: { metadata: { creationTimestamp: null, labels: { app: 'web' } } } },
      status: { replicas: 1 },
    };
    const copy = structuredClone(live);
    expect(normalize(live, { mask })).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'shop', annotations: { team: 'shop' }, labels: { app: 'web' } },
      spec: { replicas: 1, template: { metadata: { labels: { app: 'web' } } } },
    });
    expect(live).toEqual(copy);
  });

  it('has no annotations left where all of them were the controller’s', () => {
    const annotations = { 'deployment.kubernetes.io/revision': '3' };
    expect(normalize(object('Deployment', { metadata: { name: 'x', annotations } }), { mask })).toEqual(
      object('Deployment'),
    );
  });

  it('keeps addresses and ports of a Service only where the manifest or the live object says them', () => {
    const spec = { clusterIP: '10.0.0.7', clusterIPs: ['10.0.0.7'], ports: [{ port: 80, nodePort: 30_001 }] };
    const service = object('Service', { spec });
    expect(normalize(service, { mask })['spec']).toEqual({ ports: [{ port: 80 }] });
    const saidBy = [{ spec: { clusterIP: '10.0.0.7', ports: [{ nodePort: 30_001 }] } }];
    expect(normalize(service, { mask, saidBy })['spec']).toEqual({
      clusterIP: '10.0.0.7',
      ports: [{ port: 80, nodePort: 30_001 }],
    });
  });

  it('lacks the labels that repeat the uid of a Job, but keeps such a label on other kinds', () => {
    const spec = {
      selector: { matchLabels: { 'batch.kubernetes.io/controller-uid': 'u' } },
      template: { metadata: { labels: { 'controller-uid': 'u', 'job-name': 'x' } } },
    };
    expect(normalize(object('Job', { spec }), { mask })['spec']).toEqual({
      template: { metadata: { labels: { 'job-name': 'x' } } },
    });
    expect(normalize(object('Widget', { spec }), { mask })['spec']).toEqual(spec);
  });

  it('lacks the token volume of a Pod, which has another name each time', () => {
    const volume = { name: 'kube-api-access-abcde' };
    const pod = object('Pod', {
      spec: {
        containers: [{ name: 'main', volumeMounts: [volume, { name: 'data' }] }],
        volumes: [{ name: 'data' }, volume],
      },
    });
    expect(normalize(pod, { mask })['spec']).toEqual({
      containers: [{ name: 'main', volumeMounts: [{ name: 'data' }] }],
      volumes: [{ name: 'data' }],
    });
  });

  it('shows no value of a Secret, but which keys it has', () => {
    const secret = object('Secret', { data: { a: 'c2VjcmV0' }, stringData: { b: 'secret' }, type: 'Opaque' });
    expect(normalize(secret, { mask })).toEqual({
      ...object('Secret'),
      data: { a: 'masked 8' },
      stringData: { b: 'masked 6' },
      type: 'Opaque',
    });
  });

  it('leaves replicas out of a deletion only, because autoscalers move them', () => {
    const workload = object('Deployment', { spec: { replicas: 3, paused: true } });
    expect(normalize(workload, { mask })['spec']).toEqual({ replicas: 3, paused: true });
    expect(normalize(workload, { mask, deletion: true })['spec']).toEqual({ paused: true });
  });
});
