import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Manifest, Step, Target } from '../../../domain/wpk.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { applyStep, configMap, deployment, digestOf, execute, packageOf } from '../../support/kubernetes.ts';
import { type TestCluster, testCluster } from '../../support/kubernetes.ts';

let cluster: TestCluster;
let secret: Manifest;
let target: Target;
beforeAll(async () => {
  cluster = await testCluster();
  const namespace = cluster.namespace;
  target = { kind: 'Secret', name: 'login', namespace };
  secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'login', namespace } };
  const live = { ...secret, stringData: { password: `${CANARY} live` } };
  await cluster.applyAs('test', cluster.path('api/v1', 'secrets', 'login'), live);
});
afterAll(() => cluster.stop());

const CANARY = 'c4n4ry';
/** The value as it is, or in base64: what comes before it is always a whole number of bytes. */
const IN_CLEAR = new RegExp(`${CANARY}|${Buffer.from(CANARY).toString('base64')}`);

const merge = (body: Record<string, unknown>): Step => ({
  id: 'a',
  action: 'patch',
  target,
  patch: { type: 'merge', body },
});
const json = (path: string, value: string): Step => ({
  id: 'a',
  action: 'patch',
  target,
  patch: { type: 'json', operations: [{ op: 'add', path, value }] },
});
const apply = (fields: Record<string, unknown>): Step => applyStep('a', { ...secret, ...fields });

describe('a Secret that the API server refuses', () => {
  it.each<[string, () => Step, string]>([
    ['a merge patch of an unknown field', () => merge({ dta: { a: CANARY } }), 'unknown field "dta"'],
    ['a merge patch of a wrong type', () => merge({ data: { a: { b: CANARY } } }), 'field Secret.data of type'],
    ['a merge patch that is no base64', () => merge({ data: { a: `${CANARY}!` } }), 'illegal base64 data'],
    [
      'a merge patch of an invalid label',
      () => merge({ metadata: { labels: { a: `${CANARY}!` } } }),
      'metadata.labels',
    ],
    ['a JSON patch of an unknown field', () => json('/foo', CANARY), 'unknown field "foo"'],
    ['a JSON patch of a wrong type', () => json('/data', CANARY), 'field Secret.data of type'],
    ['a manifest with an unknown field', () => apply({ dta: CANARY }), '.dta: field not declared in schema'],
    [
      'a manifest with a wrong type',
      () => apply({ stringData: { a: { b: CANARY } } }),
      '.stringData.a: expected string',
    ],
    ['a manifest with a list', () => apply({ data: [CANARY] }), '.data: expected map'],
    ['a manifest that is no base64', () => apply({ data: { a: `${CANARY}!` } }), 'illegal base64 data'],
  ])('is a problem that names the field and shows no value: %s', async (_, step, named) => {
    const wpk = packageOf(step());
    const { problems } = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
    expect(problems.map(({ message }) => message)).toEqual([expect.stringContaining(named)]);
    expect(inspect(problems, { depth: null })).not.toMatch(IN_CLEAR);
  });

  it('shows no value in the error of a write, nor in its cause', async () => {
    const wpk = packageOf(merge({ metadata: { labels: { team: 'shop' } } }));
    const dryRun = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
    // The plan is fine; the write is not, as if the API server had been upgraded in between.
    const writes = dryRun.writes.map(({ write, ...rest }) => {
      const call = write?.call;
      return call ? { ...rest, write: { ...write, call: { ...call, body: '{"dta":1}' } } } : rest;
    });
    const error = await asyncErrorOf(() => execute(cluster.writer, wpk, { ...dryRun, writes }));
    expect(error.code).toBe('WRITE_REFUSED');
    expect(error.message).toContain('unknown field "dta"');
    expect(inspect(error, { depth: null, showHidden: true })).not.toMatch(IN_CLEAR);
  });

  it('is not shown as an object of another kind by a step that follows another', async () => {
    const label: Step = { ...merge({ metadata: { labels: { team: 'shop' } } }), id: 'label' };
    const wpk = packageOf(label, json('/kind', 'ConfigMap'));
    const { writes, problems } = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
    expect(problems.map(({ message }) => message)).toEqual(['a patch cannot make another object of it']);
    const plans = writes.map(({ planned }) => planned);
    expect(inspect([plans, problems], { depth: null })).not.toMatch(IN_CLEAR);
  });
});

describe('any other object that the API server refuses', () => {
  it('is a problem of one sentence, not the whole object as it would be', async () => {
    await cluster.run(packageOf(applyStep('a', deployment(cluster.namespace, 'web'))));
    const body = { spec: { foo: 1, bar: 2 } };
    const web: Target = { kind: 'Deployment', name: 'web', namespace: cluster.namespace };
    const wpk = packageOf({ id: 'a', action: 'patch', target: web, patch: { type: 'merge', body } });
    const { problems } = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
    expect(problems.map(({ message }) => message)).toEqual(['unknown field "spec.bar", unknown field "spec.foo"']);
  });

  it('is told in at most 1,000 characters', async () => {
    const data = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`not a key ${index}`, 'x']));
    const wpk = packageOf(applyStep('a', configMap(cluster.namespace, 'long', data)));
    const { problems } = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
    expect(problems).toHaveLength(1);
    expect(problems[0]?.message).toMatch(/^ConfigMap "long" is invalid: .*…$/s);
    expect(problems[0]?.message).toHaveLength(1_000);
  });
});
