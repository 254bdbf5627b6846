import { describe, expect, it } from '@jest/globals';
import { reservedIn } from '../../activities/kubernetes/reserved.ts';
import { STAMP_ANNOTATION } from '../../domain/names.ts';
import type { Manifest, Step } from '../../domain/wpk.ts';

type Patch = Extract<Step, { action: 'patch' }>['patch'];
type Operation = Extract<Patch, { type: 'json' }>['operations'][number];

const STAMP = { [STAMP_ANNOTATION]: 'x' };
const STAMP_POINTER = `/metadata/annotations/${STAMP_ANNOTATION.replace('/', '~1')}`;

function inManifest(fields: Readonly<Record<string, unknown>>, kind = 'Deployment'): string | undefined {
  const manifest: Manifest = { apiVersion: 'apps/v1', kind, metadata: { name: 'web' }, ...fields };
  return reservedIn({ id: 'a', action: 'apply', manifests: [manifest] }, kind, manifest);
}

function inPatch(patch: Patch, kind = 'Deployment'): string | undefined {
  return reservedIn({ id: 'a', action: 'patch', target: { kind, name: 'web' }, patch }, kind, undefined);
}
const inMerge = (body: Readonly<Record<string, unknown>>) => inPatch({ type: 'merge', body: { ...body } });
const inJson = (operation: Operation, kind?: string) => inPatch({ type: 'json', operations: [operation] }, kind);

describe('a package may not say', () => {
  it.each([
    ['a status', { status: { replicas: 3 } }, 'status is for controllers to set, not for a work package'],
    ['the mark of a done step', { metadata: { name: 'web', annotations: STAMP } }, 'is for the connector to set'],
    ['the mark of a restart', { spec: { template: { metadata: { annotations: STAMP } } } }, 'is for the connector'],
    ...['deployment.kubernetes.io/revision', 'kubectl.kubernetes.io/last-applied-configuration'].map(
      (name) =>
        [
          `the annotation ${name}`,
          { metadata: { name: 'web', annotations: { [name]: 'x' } } },
          `metadata.annotations["${name}"] is for`,
        ] as const,
    ),
  ])('%s: in a manifest', (_, fields, sentence) => {
    expect(inManifest(fields)).toContain(sentence);
  });

  it.each([
    ['a status', { status: { replicas: 3 } }],
    ['no status', { status: null }],
    ['the mark of a done step', { metadata: { annotations: STAMP } }],
    ['no mark of a done step', { metadata: { annotations: { [STAMP_ANNOTATION]: null } } }],
  ])('%s: in a merge patch', (_, body) => {
    expect(inMerge(body)).toContain('not for a work package');
  });

  it.each<Operation>([
    { op: 'add', path: '/status/replicas', value: 3 },
    { op: 'replace', path: '/status', value: {} },
    { op: 'replace', path: '', value: { status: { replicas: 3 } } },
    { op: 'add', path: '/metadata', value: { annotations: STAMP } },
    { op: 'add', path: STAMP_POINTER, value: 'x' },
    { op: 'remove', path: STAMP_POINTER },
    { op: 'copy', from: '/spec/template/metadata/annotations', path: '/metadata/annotations' },
    { op: 'move', from: STAMP_POINTER, path: '/metadata/annotations/elsewhere' },
  ])('what is reserved, by %j', (operation) => {
    expect(inJson(operation)).toContain('not for a work package');
  });

  it('the labels by which a Job knows its pods, but other kinds may', () => {
    const fields = { spec: { template: { metadata: { labels: { 'controller-uid': 'x' } } } } };
    expect(inManifest(fields, 'Job')).toContain('labels.controller-uid is for the API server to set');
    expect(inManifest(fields, 'Deployment')).toBeUndefined();
  });

  it.each<Operation>([
    { op: 'copy', from: '/data/password', path: '/metadata/annotations/shown' },
    { op: 'move', from: '/data/password', path: '/metadata/labels/shown' },
    { op: 'copy', from: '/data', path: '/metadata/labels' },
    { op: 'copy', from: '/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration', path: '/data/x' },
  ])('where a Secret would be shown in clear, by %j', (operation) => {
    expect(inJson(operation, 'Secret')).toContain('plans would show the value');
    expect(inJson({ op: 'move', from: '/data/old', path: '/data/new' }, 'Secret')).toBeUndefined();
  });
});

describe('a package may say', () => {
  it('an empty status and annotations of its own, as kubectl prints manifests', () => {
    const metadata = { name: 'web', creationTimestamp: null, annotations: { team: 'shop' } };
    expect(inManifest({ metadata, status: {} })).toBeUndefined();
  });

  it.each<Operation>([
    { op: 'test', path: '/status/readyReplicas', value: 3 },
    { op: 'copy', from: '/status/replicas', path: '/spec/replicas' },
    { op: 'add', path: '/metadata/annotations', value: {} },
    { op: 'remove', path: '/spec/template/spec/nodeSelector' },
  ])('%j', (operation) => {
    expect(inJson(operation)).toBeUndefined();
  });
});
