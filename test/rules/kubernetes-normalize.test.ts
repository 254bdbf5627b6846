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

  describe('of a Pod', () => {
    const podWith = (volume: { readonly name: string }) =>
      object('Pod', {
        spec: {
          containers: [{ name: 'main', volumeMounts: [{ name: volume.name }, { name: 'data' }] }],
          volumes: [{ name: 'data' }, volume],
        },
      });
    const token = { name: 'kube-api-access-abcde', projected: { sources: [] } };

    it('lacks the token volume, which has another name each time', () => {
      expect(normalize(podWith(token), { mask })['spec']).toEqual({
        containers: [{ name: 'main', volumeMounts: [{ name: 'data' }] }],
        volumes: [{ name: 'data' }],
      });
    });

    it('keeps what only has the name of a token volume, and the mount of it', () => {
      const secret = { name: 'kube-api-access-abcde', secret: { secretName: 'db-password' } };
      const disguised = podWith(secret);
      expect(normalize(disguised, { mask })['spec']).toEqual(disguised['spec']);
    });

    it('keeps a token volume that the manifest itself brings', () => {
      const pod = podWith(token);
      expect(normalize(pod, { mask, manifest: pod })['spec']).toEqual(pod['spec']);
    });
  });

  it('lacks the time of a template where it is null, not where it is one', () => {
    const labels = { a: 'b' };
    const spec = (creationTimestamp: string | null) => ({ template: { metadata: { creationTimestamp, labels } } });
    expect(normalize(object('Deployment', { spec: spec(null) }), { mask })['spec']).toEqual({
      template: { metadata: { labels } },
    });
    const dated = spec('2026-01-01T00:00:00Z');
    expect(normalize(object('Deployment', { spec: dated }), { mask })['spec']).toEqual(dated);
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
