import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PackOptions } from '../../client/cli/pack.ts';
import { packInput } from '../../client/cli/pack.ts';
import { readManifests } from '../../client/pack/read-manifests.ts';
import { parseWpk } from '../../domain/parse-wpk.ts';
import { asyncErrorOf, errorOf } from '../support/expect-code.ts';

const OPTIONS: PackOptions = {
  name: 'release',
  playbook: { id: 'release', version: '1' },
  author: 'alice@example.com',
  cluster: 'prod-eu-1',
  validFor: 3600,
  risk: 'low',
  reason: 'release 1.4',
  wait: 300,
};
const NOW = new Date('2026-01-31T12:00:00.999Z');

const read = (text: string) => readManifests({ name: 'app.yaml', text });

describe('reading manifests', () => {
  it('takes documents, lists and JSON, and leaves empty documents out', () => {
    const names = read(`
# from a chart
---
apiVersion: v1
kind: ConfigMap
metadata: { name: a }
---
apiVersion: v1
kind: List
items:
  - { apiVersion: v1, kind: Service, metadata: { name: b } }
  - apiVersion: v1
    kind: ConfigMapList
    items: [{ apiVersion: v1, kind: ConfigMap, metadata: { name: c } }]
---
{"apiVersion": "v1",
\t"kind": "Secret", "metadata": {"name": "d"}}
`).map(({ metadata }) => metadata.name);
    expect(names).toEqual(['a', 'b', 'c', 'd']);
    expect(read('')).toEqual([]);
  });

  it.each([
    ['a duplicate key', 'kind: A\nkind: B\n', 'Map keys must be unique.', 2, 1],
    [
      'an octal number of YAML 1.1',
      'mode: 0644\n',
      '"0644" is another number in YAML 1.1 than in YAML 1.2: write it in decimal, or put it in quotes.',
      1,
      7,
    ],
    [
      'a boolean of YAML 1.1',
      'a:\n  - yes\n',
      '"yes" is a boolean in YAML 1.1 and a text in YAML 1.2: write true or false, or put it in quotes.',
      2,
      5,
    ],
    ['an infinite number', 'a: .inf\n', 'JSON has no infinite numbers.', 1, 4],
    [
      'a manifest without a name',
      '---\nkind: A\napiVersion: v1\nmetadata: {}\n',
      'A manifest needs apiVersion, kind and metadata.name, each of them a text.',
      2,
      1,
    ],
    ['a document that is a list', '- a\n', 'Expected an object with apiVersion, kind and metadata.', 1, 1],
    ['a tag that nobody knows', 'a: !secret x\n', 'Unresolved tag: !secret.', 1, 4],
  ])('refuses %s and says where', (_what, text, problem, line, column) => {
    const error = errorOf(() => read(text));
    expect(error.code).toBe('MANIFEST_INVALID');
    expect(error.detail).toBe(`app.yaml: ${problem}`);
    expect(error.place).toEqual({ line, column });
  });

  it('refuses aliases that unfold without end', () => {
    const bomb = [
      'a: &a [x, x]',
      ...'bcdefghij'.split('').map((key, i) => `${key}: &${key} [${`*${'abcdefghi'[i]}, `.repeat(9)}]`),
    ];
    expect(errorOf(() => read(bomb.join('\n'))).code).toBe('MANIFEST_INVALID');
  });
});

describe('packing', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-pack-'));
    await writeFile(join(folder, 'b.yaml'), 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: checkout}\n');
    await writeFile(join(folder, 'a.json'), '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}');
    await writeFile(join(folder, 'c.yml'), 'apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n');
    await writeFile(join(folder, 'old.wpk.json'), 'not a manifest');
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('makes a valid package from a folder: bytes that parse to the same', async () => {
    const restart = [{ kind: 'Deployment', name: 'checkout' }];
    const { wpk, payload } = await packInput(folder, { ...OPTIONS, namespace: 'shop', restart }, NOW);
    expect(parseWpk(payload)).toEqual(wpk);
    expect(wpk.metadata).toMatchObject({ notBefore: '2026-01-31T12:00:00Z', expiresAt: '2026-01-31T13:00:00Z' });
    expect(wpk.metadata.sequence).toBe(Math.floor(NOW.getTime() / 1000));
    expect(wpk.target).toEqual({ clusterId: 'prod-eu-1', namespaces: ['shop'] });
    expect(wpk.steps.map(({ id, wait }) => [id, wait?.timeoutSeconds])).toEqual([
      ['apply', 300],
      ['restart', 300],
    ]);
    expect(wpk.steps[1]).toMatchObject({ target: { kind: 'Deployment', name: 'checkout', namespace: 'shop' } });
  });

  it('says the namespace for built-in kinds that live in one, and for no others', async () => {
    const { wpk } = await packInput(folder, { ...OPTIONS, namespace: 'shop' }, NOW);
    const [step] = wpk.steps;
    const namespaces = step?.action === 'apply' ? step.manifests.map(({ metadata }) => metadata.namespace) : [];
    expect(namespaces).toEqual([undefined, 'shop', undefined]);
  });

  it('refuses a manifest that needs a namespace where none is given', async () => {
    const error = await asyncErrorOf(() => packInput(folder, OPTIONS, NOW));
    expect(error.code).toBe('MANIFEST_INVALID');
    expect(error.detail).toBe('Deployment checkout names no namespace, and none was given.');
  });

  it('gives each package an id of its own', async () => {
    const restart = [{ kind: 'Deployment', name: 'a', namespace: 'shop' }];
    const ids = await Promise.all([1, 2].map(() => packInput(undefined, { ...OPTIONS, restart }, NOW)));
    expect(new Set(ids.map(({ wpk }) => wpk.metadata.id)).size).toBe(2);
  });

  it('refuses namespaces beyond those that were allowed', async () => {
    const options = { ...OPTIONS, namespace: 'shop', allowNamespace: ['other'] };
    expect((await asyncErrorOf(() => packInput(folder, options, NOW))).code).toBe('WPK_SCHEMA');
  });

  it('tells nothing to pack from a file that is not there', async () => {
    expect((await asyncErrorOf(() => packInput(undefined, OPTIONS, NOW))).code).toBe('USAGE');
    expect((await asyncErrorOf(() => packInput(join(folder, 'none'), OPTIONS, NOW))).code).toBe('FILE_UNREADABLE');
  });
});
