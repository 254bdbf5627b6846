import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DryRun } from '../../../activities/kubernetes/planner.ts';
import { createPlanner } from '../../../activities/kubernetes/planner.ts';
import { FIELD_MANAGER, STAMP_ANNOTATION } from '../../../domain/names.ts';
import type { Manifest, Step, Target, Wpk } from '../../../domain/wpk.ts';
import {
  applyStep,
  configMap,
  deployment,
  digestOf,
  mask,
  packageOf,
  sha256,
  testCluster,
  widgetDefinition,
} from '../../support/kubernetes.ts';
import type { TestCluster } from '../../support/kubernetes.ts';
import { until } from '../../support/until.ts';

const OWN_STAMP_POINTER = `/metadata/annotations/${STAMP_ANNOTATION.replace('/', '~1')}`;
const STAMP_POINTER = `/spec/template${OWN_STAMP_POINTER}`;

let cluster: TestCluster;
let ns: string;
beforeAll(async () => {
  cluster = await testCluster();
  ns = cluster.namespace;
});
afterAll(() => cluster.stop());

const plan = (wpk: Wpk): Promise<DryRun> => cluster.newPlanner().dryRun(wpk, digestOf(wpk));
const existing = (manifest: Manifest, group: string, plural: string, manager: string = FIELD_MANAGER) =>
  cluster.applyAs(manager, cluster.path(group, plural, manifest.metadata.name), manifest);
const deploymentNamed = (name: string): Target => ({ apiVersion: 'apps/v1', kind: 'Deployment', name, namespace: ns });
const summary = ({ writes }: DryRun) =>
  writes.map(({ planned }) => [
    planned.step,
    planned.change,
    planned.verified.by,
    planned.changes.map(({ path }) => path),
  ]);

describe('a plan', () => {
  it('tells creations, updates and what stays, checked by the API server, in the order of the package', async () => {
    await existing(configMap(ns, 'same', { key: 'value' }), 'api/v1', 'configmaps');
    await existing(configMap(ns, 'other', { key: 'value' }), 'api/v1', 'configmaps');
    const dryRun = await plan(
      packageOf(
        applyStep(
          'config',
          configMap(ns, 'new', { key: 'value' }),
          configMap(ns, 'other', { key: 'changed' }),
          configMap(ns, 'same', { key: 'value' }),
        ),
      ),
    );
    expect(dryRun.problems).toEqual([]);
    expect(summary(dryRun)).toEqual([
      ['config', 'create', 'server', ['']],
      ['config', 'update', 'server', ['/data/key']],
      ['config', 'unchanged', 'server', []],
    ]);
    expect(dryRun.writes[1]?.planned.changes).toEqual([{ path: '/data/key', before: 'value', after: 'changed' }]);
    expect(dryRun.writes.map(({ write }) => write !== undefined)).toEqual([true, true, false]);
  });

  it('changes nothing in the cluster', async () => {
    const old = await existing(configMap(ns, 'only-planned-old', { key: 'value' }), 'api/v1', 'configmaps');
    const target = (name: string): Target => ({ kind: 'ConfigMap', name, namespace: ns });
    const { problems } = await plan(
      packageOf(applyStep('create', configMap(ns, 'only-planned', {})), {
        id: 'delete',
        action: 'delete',
        target: target('only-planned-old'),
      }),
    );
    expect(problems).toEqual([]);
    expect(await cluster.read('api/v1', 'configmaps', 'only-planned')).toBeUndefined();
    expect(await cluster.read('api/v1', 'configmaps', 'only-planned-old')).toEqual(old);
  });

  it('stamps restarts with the package and step, and sets replicas, on what is live', async () => {
    await existing(deployment(ns, 'web'), 'apis/apps/v1', 'deployments');
    const wpk = packageOf({
      id: 'again',
      action: 'restart',
      target: { kind: 'Deployment', name: 'web', namespace: ns },
    });
    const scale = packageOf({ id: 'more', action: 'scale', target: deploymentNamed('web'), replicas: 5 });
    expect((await plan(wpk)).writes[0]?.planned).toMatchObject({
      change: 'update',
      object: { apiVersion: 'apps/v1', kind: 'Deployment', namespace: ns, name: 'web' },
      changes: [{ path: STAMP_POINTER, after: `${wpk.metadata.id}/again` }],
    });
    expect((await plan(scale)).writes[0]?.planned.changes).toContainEqual({
      path: '/spec/replicas',
      before: 2,
      after: 5,
    });
  });

  it('shows what a deletion takes away, and nothing to do for what is gone already', async () => {
    await existing(configMap(ns, 'old', { key: 'value' }), 'api/v1', 'configmaps');
    const target = (name: string): Target => ({ kind: 'ConfigMap', name, namespace: ns });
    const dryRun = await plan(
      packageOf(
        { id: 'one', action: 'delete', target: target('old') },
        { id: 'two', action: 'delete', target: target('never-was') },
      ),
    );
    expect(summary(dryRun)).toEqual([
      ['one', 'delete', 'server', ['']],
      ['two', 'unchanged', 'server', []],
    ]);
    expect(dryRun.writes[0]?.planned.changes[0]).toMatchObject({ before: { data: { key: 'value' } } });
  });

  it('shows the effect of a JSON patch and of a merge patch', async () => {
    await existing(configMap(ns, 'patched', { a: '1', b: '2' }), 'api/v1', 'configmaps');
    const target: Target = { kind: 'ConfigMap', name: 'patched', namespace: ns };
    const json = packageOf({
      id: 'json',
      action: 'patch',
      target,
      patch: { type: 'json', operations: [{ op: 'remove', path: '/data/a' }] },
    });
    const merge = packageOf({
      id: 'merge',
      action: 'patch',
      target,
      patch: { type: 'merge', body: { data: { b: '3' } } },
    });
    expect((await plan(json)).writes[0]?.planned.changes).toContainEqual({ path: '/data/a', before: '1' });
    expect((await plan(merge)).writes[0]?.planned.changes).toContainEqual({ path: '/data/b', before: '2', after: '3' });
  });

  it('goes on from its own answer where a later step changes the same object', async () => {
    const target = deploymentNamed('fresh');
    const dryRun = await plan(
      packageOf(
        applyStep('apply', deployment(ns, 'fresh')),
        { id: 'restart', action: 'restart', target },
        { id: 'scale', action: 'scale', target, replicas: 4 },
        { id: 'patch', action: 'patch', target, patch: { type: 'merge', body: { spec: { paused: true } } } },
        { id: 'delete', action: 'delete', target },
      ),
    );
    expect(dryRun.problems).toEqual([]);
    expect(summary(dryRun)).toEqual([
      ['apply', 'create', 'server', ['']],
      ['restart', 'update', 'earlier-step', [STAMP_POINTER]],
      ['scale', 'update', 'earlier-step', [OWN_STAMP_POINTER, '/spec/replicas']],
      ['patch', 'update', 'nobody', [OWN_STAMP_POINTER, '/spec/paused']],
      ['delete', 'delete', 'earlier-step', ['']],
    ]);
  });

  it('says which creations nobody could check, because the package creates their namespace or kind', async () => {
    const name = `${ns}-later`;
    const dryRun = await plan(
      packageOf(
        applyStep('all', configMap(name, 'inside', { key: 'value' }), {
          apiVersion: 'v1',
          kind: 'Namespace',
          metadata: { name },
        }),
        applyStep('kind', widgetDefinition(`${ns}.example.com`), {
          apiVersion: `${ns}.example.com/v1`,
          kind: 'Widget',
          metadata: { name: 'first', namespace: ns },
        }),
      ),
    );
    expect(dryRun.problems).toEqual([]);
    expect(dryRun.writes.map(({ planned }) => [planned.object.kind, planned.change, planned.verified])).toEqual([
      ['ConfigMap', 'create', { by: 'nobody', reason: `the package itself creates the namespace ${name}` }],
      ['Namespace', 'create', { by: 'server' }],
      ['CustomResourceDefinition', 'create', { by: 'server' }],
      ['Widget', 'create', { by: 'nobody', reason: 'the package itself creates the kind Widget' }],
    ]);
  });

  it('masks values of Secrets, equal ones alike', async () => {
    const secret: Manifest = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'login', namespace: ns },
      stringData: { user: 'hunter2', password: 'hunter2', other: 'x' },
    };
    const dryRun = await plan(packageOf(applyStep('secret', secret)));
    const [change] = dryRun.writes[0]?.planned.changes ?? [];
    const { data } = change?.after as { data: Record<string, string> };
    expect(JSON.stringify(dryRun.writes[0]?.planned)).not.toMatch(/hunter2|aHVudGVyMg/);
    expect(data['user']).toBe(data['password']);
    expect(data['user']).not.toBe(data['other']);
  });
});

describe('digests of a plan', () => {
  const everything = () =>
    packageOf(
      applyStep('one', deployment(ns, 'stable'), {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'stable', namespace: ns },
        spec: { type: 'NodePort', selector: { app: 'stable' }, ports: [{ port: 80 }] },
      }),
      applyStep('two', {
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: { name: 'stable', namespace: ns },
        spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } } },
      }),
      applyStep('three', {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'stable', namespace: ns },
        spec: { containers: [{ name: 'main', image: 'x' }] },
      }),
      { id: 'four', action: 'restart', target: deploymentNamed('stable') },
    );
  const digests = ({ writes }: DryRun) => writes.map(({ planned }) => planned.digest);

  it('are the same for the same package and cluster, whatever the server makes up in each dry run', async () => {
    const wpk = everything();
    const [first, second] = [await plan(wpk), await plan(wpk)];
    expect(first.problems).toEqual([]);
    expect(first.writes).toHaveLength(5);
    expect(digests(second)).toEqual(digests(first));
  });

  it('do not change with the status or with fields of others, but with what would change', async () => {
    const path = cluster.path('apis/apps/v1', 'deployments', 'watched');
    await existing(deployment(ns, 'watched'), 'apis/apps/v1', 'deployments');
    const wpk = packageOf({ id: 'restart', action: 'restart', target: deploymentNamed('watched') });
    const before = digests(await plan(wpk));
    await cluster.merge(`${path}/status`, { status: { replicas: 2 } });
    await cluster.merge(`${path}/scale`, { spec: { replicas: 7 } }, 'autoscaler');
    expect(digests(await plan(wpk))).toEqual(before);
    await cluster.merge(path, { spec: { template: { metadata: { annotations: { [STAMP_ANNOTATION]: 'else' } } } } });
    const after = await plan(wpk);
    expect(after.writes[0]?.planned.changes[0]).toMatchObject({ path: STAMP_POINTER, before: 'else' });
    expect(digests(after)).not.toEqual(before);
  });
});

describe('a planner that is asked again', () => {
  it('asks the API server anew after seconds, whose rules may have changed where the objects have not', async () => {
    let time = 0;
    const planner = createPlanner({ api: cluster.api, sha256, mask, now: () => time });
    const spec = { containers: [{ name: 'main', image: 'example/app:1' }] };
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'limited', namespace: ns }, spec };
    const wpk = packageOf(applyStep('apply', pod));
    const limitsIn = ({ writes: [write] }: DryRun) => JSON.stringify(write?.planned.changes).includes('"limits"');
    const first = await planner.dryRun(wpk, digestOf(wpk));
    expect(limitsIn(first)).toBe(false);
    // From now on the API server puts limits into every container that says nothing.
    const limits = [{ type: 'Container', default: { memory: '64Mi' } }];
    const limitRange = { apiVersion: 'v1', kind: 'LimitRange', metadata: { name: 'defaults', namespace: ns } };
    await existing({ ...limitRange, spec: { limits } }, 'api/v1', 'limitranges');
    await until('the limits to be put in', async () => limitsIn(await plan(wpk)));

    time = 2_999;
    expect(await planner.dryRun(wpk, digestOf(wpk))).toEqual(first);
    time = 3_000;
    const second = await planner.dryRun(wpk, digestOf(wpk));
    expect(limitsIn(second)).toBe(true);
    expect(second.writes[0]?.planned.digest).not.toBe(first.writes[0]?.planned.digest);
    await cluster.api.write({
      ...{ method: 'DELETE', path: cluster.path('api/v1', 'limitranges', 'defaults'), query: {}, body: '{}' },
      contentType: 'application/json',
    });
  });

  it('sees what changed since, and gives the same digests for what did not', async () => {
    const names = Array.from({ length: 6 }, (_, index) => `again-${index}`);
    const wpk = packageOf(applyStep('config', ...names.map((name) => configMap(ns, name, { key: name }))));
    const first = await cluster.planner.dryRun(wpk, digestOf(wpk));
    await existing(configMap(ns, 'again-3', { key: 'other' }), 'api/v1', 'configmaps');
    const second = await cluster.planner.dryRun(wpk, digestOf(wpk));
    expect(first.writes.map(({ planned }) => planned.change)).toEqual(names.map(() => 'create'));
    expect(second.writes.map(({ planned }) => planned.change)).toEqual(
      names.map((name) => (name === 'again-3' ? 'update' : 'create')),
    );
    expect(second.writes[0]).toBe(first.writes[0]);
  });
});

describe('what the API server refuses', () => {
  const problems = async (...steps: readonly Step[]) => {
    const { problems } = await plan(packageOf(...steps));
    return problems.map(({ step, object, message }) => `${step} ${object.kind} ${object.name}: ${message}`);
  };

  it('is a problem with the field, and other objects are planned', async () => {
    const typo = deployment(ns, 'typo', { replica: 3 });
    const dryRun = await plan(packageOf(applyStep('one', typo, configMap(ns, 'beside', {}))));
    expect(dryRun.problems).toHaveLength(1);
    expect(dryRun.problems[0]).toMatchObject({
      step: 'one',
      object: { kind: 'Deployment', name: 'typo' },
      message: expect.stringMatching(/field not declared in schema|unknown field/),
    });
    expect(summary(dryRun)).toEqual([['one', 'create', 'server', ['']]]);
  });

  it('names the other manager and the field of a conflict, unless the step forces', async () => {
    await existing(configMap(ns, 'owned', { key: 'theirs' }), 'api/v1', 'configmaps', 'other-tool');
    const step = applyStep('one', configMap(ns, 'owned', { key: 'ours' }));
    expect(await problems(step)).toEqual(['one ConfigMap owned: field .data.key belongs to "other-tool"']);
    expect(summary(await plan(packageOf({ ...step, force: true })))).toEqual([
      ['one', 'update', 'server', ['/data/key']],
    ]);
  });

  it('covers missing targets, namespaces and kinds, and invalid values', async () => {
    const target: Target = { kind: 'Deployment', name: 'nowhere', namespace: ns };
    expect(
      await problems(
        { id: 'a', action: 'restart', target },
        { id: 'b', action: 'restart', target: { kind: 'ConfigMap', name: 'x', namespace: ns } },
        { id: 'c', action: 'scale', target: { kind: 'Service', name: 'x', namespace: ns }, replicas: 1 },
        applyStep('d', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' } }),
        applyStep('e', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'x', namespace: ns } }),
        applyStep('f', { apiVersion: 'example.com/v1', kind: 'Widget', metadata: { name: 'x', namespace: ns } }),
        applyStep('g', configMap('no-such-namespace', 'x', {})),
        applyStep('h', deployment(ns, 'negative', { replicas: -1 })),
      ),
    ).toEqual([
      'b ConfigMap x: a ConfigMap cannot be restarted, only Deployment, StatefulSet, DaemonSet can',
      'c Service x: a Service cannot be scaled',
      'd ConfigMap x: a ConfigMap lives in a namespace, and none is given',
      `e Namespace x: a Namespace lives in no namespace, and ${ns} is given`,
      'f Widget x: the API server knows no kind Widget',
      'a Deployment nowhere: is not there',
      'g ConfigMap x: namespaces "no-such-namespace" not found',
      expect.stringMatching(/^h Deployment negative: .*spec.replicas: Invalid value: -1/),
    ]);
  });

  it('includes preconditions and ownership that a package wants to set itself', async () => {
    const own = configMap(ns, 'x', {});
    const manifest = { ...own, metadata: { ...own.metadata, resourceVersion: '7' } };
    expect(await problems(applyStep('a', manifest))).toEqual([
      'a ConfigMap x: metadata.resourceVersion is for the connector to set, not for a work package',
    ]);
  });

  it('includes objects of a kind that the package only claims to bring', async () => {
    const group = `${ns}-claimed.example.com`;
    const claim = (spec: { group: string; plural: string }, apiVersion = 'apiextensions.k8s.io/v1'): Manifest => ({
      ...widgetDefinition(`${ns}.example.com`),
      apiVersion,
      spec: {
        group: spec.group,
        scope: 'Namespaced',
        names: { kind: 'Widget', plural: spec.plural },
        versions: [{ name: 'v1', served: true, storage: true }],
      },
    });
    const refused = async (definition: Manifest, apiVersion: string) => {
      const target: Target = { apiVersion, kind: 'Widget', name: 'x', namespace: ns };
      return problems(applyStep('a', definition), { id: 'b', action: 'delete', target });
    };
    const unknown = 'b Widget x: the API server knows no kind Widget';
    expect(await refused(claim({ group: 'apps', plural: 'deployments' }), 'apps/v1')).toContain(unknown);
    expect(await refused(claim({ group, plural: '../../../v1/secrets' }), `${group}/v1`)).toContain(unknown);
    expect(await refused(claim({ group, plural: 'widgets' }, 'example.com/v1'), `${group}/v1`)).toContain(unknown);
    const policies = claim({ group: 'networking.k8s.io', plural: 'networkpolicies' });
    expect(await refused(policies, 'networking.k8s.io/v1')).toContain(unknown);
    expect(await refused(claim({ group, plural: 'widgets' }), `${group}/v1`)).not.toContain(unknown);
  });

  it('never includes a change of our own earlier scale or patch', async () => {
    await existing(deployment(ns, 'scaled'), 'apis/apps/v1', 'deployments');
    await cluster.run(packageOf({ id: 'scale', action: 'scale', target: deploymentNamed('scaled'), replicas: 5 }));
    const dryRun = await plan(packageOf(applyStep('apply', deployment(ns, 'scaled', { replicas: 3 }))));
    expect(dryRun.problems).toEqual([]);
    expect(dryRun.writes[0]?.planned.changes).toEqual([{ path: '/spec/replicas', before: 5, after: 3 }]);
  });
});
