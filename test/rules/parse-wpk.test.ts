import { describe, expect, it } from '@jest/globals';
import { checkWpk, parseWpk } from '../../domain/parse-wpk.ts';
import type { Manifest, Step } from '../../domain/wpk.ts';
import { errorOf } from '../support/expect-code.ts';
import { buildRestart, buildWpk } from '../support/wpk.ts';

/** One field a line, so that places can be told apart. */
const toBytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value, null, 2));

const configMap = (name: string, namespace = 'shop', apiVersion = 'v1'): Manifest => ({
  apiVersion,
  kind: 'ConfigMap',
  metadata: { name, namespace },
});

describe('parseWpk', () => {
  it('returns a valid package as it was written', () => {
    expect(parseWpk(toBytes(buildWpk()))).toEqual(buildWpk());
  });

  it('keeps every field of a manifest, known or not', () => {
    const manifest = { ...configMap('a'), data: { constructor: 'x' }, unknown: [{ deep: null }] };
    const wpk = buildWpk({ steps: [{ id: 'apply', action: 'apply', manifests: [manifest] }] });
    expect(parseWpk(toBytes(wpk))).toEqual(wpk);
  });

  it.each(['../v1', './v1', '.a/v1', 'a..b/v1', 'a-/v1', 'a/b/v1', '/v1'])(
    'refuses the apiVersion %s, whose group is no DNS subdomain',
    (apiVersion) => {
      const manifests = [configMap('a', 'shop', apiVersion)];
      const error = errorOf(() => parseWpk(toBytes(buildWpk({ steps: [{ id: 'a', action: 'apply', manifests }] }))));
      expect(error).toMatchObject({ code: 'WPK_SCHEMA', place: { path: '/steps/0/manifests/0/apiVersion' } });
    },
  );

  it('names an unknown field, its place, and the one that was probably meant', () => {
    const step = { id: 'more', action: 'scale', target: { kind: 'Deployment', name: 'checkout' }, replica: 3 };
    const error = errorOf(() => parseWpk(toBytes({ ...buildWpk(), steps: [step] })));
    expect(error.code).toBe('WPK_SCHEMA');
    expect(error.detail).toBe('Unknown field "replica"; did you mean "replicas"?');
    expect(error.place).toEqual({ line: 32, column: 7, path: '/steps/0/replica' });
  });

  it.each([
    ['a field is missing', { risk: undefined }, 'Missing: must be "low", "medium" or "high".', '/risk'],
    [
      'a value is not one of the allowed',
      { risk: 'lo' },
      'Must be "low", "medium" or "high", not another text.',
      '/risk',
    ],
    ['a type is wrong', { steps: {} }, 'Must be an array, not an object.', '/steps'],
    ['there are no steps', { steps: [] }, 'Must not be empty.', '/steps'],
    [
      'an action is unknown',
      { steps: [{ ...buildRestart(), action: 'reboot' }] },
      '"action" must be "apply", "patch", "scale", "restart", "delete", "run", "wait", "rollback", "cordon", "uncordon" or "drain".',
      '/steps/0/action',
    ],
    [
      'a version is unknown',
      { apiVersion: 'neuralops.io/v2' },
      'Must be "neuralops.io/v1", not another text.',
      '/apiVersion',
    ],
    [
      'a time has no zone',
      { metadata: { ...buildWpk().metadata, notBefore: '2026-01-01T00:00:00' } },
      'Must be a time in UTC, such as 2026-01-31T12:00:00Z.',
      '/metadata/notBefore',
    ],
    [
      'it expires when it starts',
      { metadata: { ...buildWpk().metadata, expiresAt: '2026-01-01T00:00:00Z' } },
      '"expiresAt" must be later than "notBefore".',
      '/metadata/expiresAt',
    ],
    [
      'two steps have one id',
      { steps: [buildRestart('a'), buildRestart('a')] },
      'Another step has the id "a" already.',
      '/steps/1/id',
    ],
    [
      'a namespace is not listed',
      { target: { clusterId: 'prod-eu-1', namespaces: ['other'] } },
      'The namespace "shop" is not listed in "target.namespaces".',
      '/steps/0/target/namespace',
    ],
    [
      'a value to add is missing',
      {
        steps: [
          {
            id: 'p',
            action: 'patch',
            target: { kind: 'Service', name: 'a' },
            patch: { type: 'json', operations: [{ op: 'add', path: '/a' }] },
          },
        ],
      },
      'Missing: a value is required here.',
      '/steps/0/patch/operations/0/value',
    ],
  ])('refuses with WPK_SCHEMA when %s', (_when, changes, detail, path) => {
    const error = errorOf(() => parseWpk(toBytes({ ...buildWpk(), ...changes })));
    expect(error.code).toBe('WPK_SCHEMA');
    expect(error.detail).toBe(detail);
    expect(error.place?.path).toBe(path);
  });

  it('refuses two manifests of a step for one object, also in two versions of its API', () => {
    const apply = (...manifests: Manifest[]) => toBytes(buildWpk({ steps: [{ id: 'a', action: 'apply', manifests }] }));
    const autoscaler = (version: string): Manifest => ({
      apiVersion: `autoscaling/${version}`,
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'a', namespace: 'shop' },
    });
    expect(errorOf(() => parseWpk(apply(autoscaler('v1'), autoscaler('v2')))).detail).toBe(
      'Another manifest of this step is for the same object (HorizontalPodAutoscaler.autoscaling shop/a).',
    );
    expect(parseWpk(apply(configMap('a'), configMap('b'))).steps).toHaveLength(1);
  });

  const step = (one: object) => toBytes(buildWpk({ steps: [one as Step] }));
  const node = { kind: 'Node', name: 'node-1' };

  it.each([
    [
      'a Pod is to be run',
      { action: 'run', timeoutSeconds: 60, manifest: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' } } },
      'What is run is a Job of batch/v1.',
      '/steps/0/manifest/kind',
    ],
    [
      'a Deployment is to be cordoned',
      { action: 'cordon', target: { ...node, kind: 'Deployment' } },
      'A Deployment is no Node.',
      '/steps/0/target/kind',
    ],
    [
      'a drain waits a second time',
      { action: 'drain', target: node, timeoutSeconds: 60, wait: { for: 'ready', timeoutSeconds: 1 } },
      'A drain waits by itself, at most its "timeoutSeconds".',
      '/steps/0/wait',
    ],
    [
      'a path could lead to many values',
      { action: 'wait', target: node, for: { jsonPath: '{.spec.taints[*].key}', equals: 'a' }, timeoutSeconds: 60 },
      'Must be a JSONPath to one value, such as {.status.phase}.',
      '/steps/0/for/jsonPath',
    ],
    [
      'a Job lives in a namespace that is not named',
      {
        action: 'run',
        timeoutSeconds: 60,
        manifest: { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'a', namespace: 'other' } },
      },
      'The namespace "other" is not listed in "target.namespaces".',
      '/steps/0/manifest/metadata/namespace',
    ],
  ])('refuses with WPK_SCHEMA when %s', (_when, one, detail, path) => {
    const error = errorOf(() => parseWpk(step({ id: 'a', ...one })));
    expect([error.code, error.detail, error.place?.path]).toEqual(['WPK_SCHEMA', detail, path]);
  });

  it.each([
    ['in one step', [{ id: 'a', action: 'apply', manifests: Array.from({ length: 1_900 }, () => ({})) }]],
    ['in many steps', Array.from({ length: 200 }, () => ({ wrong: Array.from({ length: 400 }, () => ({})) }))],
  ])('ends at the first of very many problems %s', (_where, steps) => {
    const bytes = new TextEncoder().encode(JSON.stringify({ ...buildWpk(), steps }));
    expect(errorOf(() => parseWpk(bytes)).code).toBe('WPK_SCHEMA');
  });

  it('leaves a pointer out that is as long as a hostile key', () => {
    const error = errorOf(() => parseWpk(toBytes({ ...buildWpk(), ['k'.repeat(100_000)]: 1 })));
    expect(error.place).toEqual({ line: 36, column: 3 });
    expect(error.message.length).toBeLessThan(300);
  });
});

describe('checkWpk', () => {
  it('shows its author what stands in a wrong place, which parseWpk keeps out of logs', () => {
    const bytes = toBytes({ ...buildWpk(), risk: 'lo' });
    expect(checkWpk(bytes).problems[0]?.detail).toBe('Must be "low", "medium" or "high", not "lo".');
    expect(errorOf(() => parseWpk(bytes)).message).not.toContain('"lo"');
  });

  it('tells all problems in the order of the file', () => {
    const { problems } = checkWpk(toBytes({ ...buildWpk(), kind: 'Work', risk: 'lo', extra: 1 }));
    expect(problems.map(({ place }) => place?.path)).toEqual(['/kind', '/risk', '/extra']);
  });

  it('tells a syntax error as the one problem', () => {
    const { problems } = checkWpk(new TextEncoder().encode('{'));
    expect(problems.map(({ code }) => code)).toEqual(['WPK_SYNTAX']);
  });
});
