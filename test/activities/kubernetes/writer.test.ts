import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ExecutionOptions, GrowingReport } from '../../../activities/kubernetes/execution-types.ts';
import { explain } from '../../../activities/kubernetes/explain.ts';
import { at, type KubeObject } from '../../../activities/kubernetes/kube-object.ts';
import { createStateSecrets, createWriter } from '../../../activities/kubernetes/writer.ts';
import { Journal, subjectOf } from '../../../activities/package/journal.ts';
import type { Digest } from '../../../domain/digest.ts';
import { FIELD_MANAGER, STATE_NAMESPACE } from '../../../domain/names.ts';
import type { StepReport } from '../../../domain/status.ts';
import type { Manifest, Target, Wpk } from '../../../domain/wpk.ts';
import { applyStep, configMap, deployment, digestOf, digestsOf, execute } from '../../support/kubernetes.ts';
import { packageOf, type TestCluster, testCluster, widgetDefinition } from '../../support/kubernetes.ts';

let cluster: TestCluster;
let ns: string;
beforeAll(async () => {
  cluster = await testCluster();
  ns = cluster.namespace;
});
afterAll(() => cluster.stop());

const planOf = (wpk: Wpk) => cluster.newPlanner().dryRun(wpk, digestOf(wpk));
const deploymentNamed = (name: string): Target => ({ apiVersion: 'apps/v1', kind: 'Deployment', name, namespace: ns });
const readMap = (name: string) => cluster.read('api/v1', 'configmaps', name);
const readDeployment = (name: string) => cluster.read('apis/apps/v1', 'deployments', name);
const ownConfigMap = (name: string, data: Record<string, string>, manager: string = FIELD_MANAGER) =>
  cluster.applyAs(manager, cluster.path('api/v1', 'configmaps', name), configMap(ns, name, data));

/** An attempt that dies after `count` steps of one object each, as a killed worker does. */
async function dieAfter(count: number, wpk: Wpk, journal?: Journal): Promise<ReadonlySet<Digest>> {
  const dryRun = await planOf(wpk);
  const report: GrowingReport = { steps: [] };
  const beforeWrite = () => {
    if (report.steps.length === count) throw new Error('killed');
  };
  const approved = digestsOf(dryRun);
  const options = { wpk, dryRun, approved, resumed: false, beforeWrite, report, ...(journal && { journal }) };
  await expect(cluster.writer.execute(options)).rejects.toThrow('killed');
  return options.approved;
}

/** As if the attempt had died after its last write and before it could note that the step ended. */
async function forgetEnd(name: string): Promise<void> {
  const path = `/api/v1/namespaces/${STATE_NAMESPACE}/secrets/${name}`;
  await cluster.api.write({ method: 'DELETE', path, query: {}, contentType: 'application/json', body: '{}' });
}

async function resume(wpk: Wpk, approved: ReadonlySet<Digest>, journal?: Journal) {
  const beforeWrite = () => undefined;
  const done = journal?.done() ?? new Map<string, StepReport>();
  const dryRun = await cluster.newPlanner().dryRun(wpk, digestOf(wpk), undefined, new Set(done.keys()));
  const options = { wpk, dryRun, approved, resumed: true, done, beforeWrite, report: { steps: [] } };
  return cluster.writer.execute({ ...options, ...(journal && { journal }) });
}

describe('an execution', () => {
  it('creates, changes and deletes what was planned, and reports it with hashes', async () => {
    await ownConfigMap('changed', { key: 'old' });
    await ownConfigMap('deleted', {});
    const report = await cluster.run(
      packageOf(
        applyStep('apply', configMap(ns, 'created', { key: 'value' }), configMap(ns, 'changed', { key: 'new' })),
        { id: 'delete', action: 'delete', target: { kind: 'ConfigMap', name: 'deleted', namespace: ns } },
      ),
    );
    const [created, changed] = [await readMap('created'), await readMap('changed')];
    expect(created?.['data']).toEqual({ key: 'value' });
    expect(changed?.['data']).toEqual({ key: 'new' });
    expect(await readMap('deleted')).toBeUndefined();
    expect(report.steps.map(({ id, outcome }) => [id, outcome])).toEqual([
      ['apply', 'done'],
      ['delete', 'done'],
    ]);
    const hash = expect.stringMatching(/^sha256:[0-9a-f]{64}$/);
    expect(report.steps[0]?.objects).toEqual([
      {
        object: { apiVersion: 'v1', kind: 'ConfigMap', namespace: ns, name: 'created' },
        change: 'create',
        uid: created?.metadata.uid,
        resourceVersion: created?.metadata.resourceVersion,
        afterHash: hash,
      },
      expect.objectContaining({ change: 'update', uid: changed?.metadata.uid, beforeHash: hash, afterHash: hash }),
    ]);
    expect(report.steps[1]?.objects).toEqual([expect.objectContaining({ change: 'delete', beforeHash: hash })]);
    expect(report.steps[1]?.objects[0]).not.toHaveProperty('afterHash');
  });

  it('writes what the manifest says, to the character', async () => {
    const text = 'line\u2028separator \u0085 \u007f \ufeff tab\t "quotes" \\ : # é 🙂 \r\n end ';
    await cluster.run(packageOf(applyStep('apply', configMap(ns, 'characters', { text }))));
    expect((await readMap('characters'))?.['data']).toEqual({ text });
  });

  it('writes nothing where nothing changes', async () => {
    const before = await ownConfigMap('kept', { key: 'value' });
    const report = await cluster.run(packageOf(applyStep('apply', configMap(ns, 'kept', { key: 'value' }))));
    expect(report.steps[0]?.outcome).toBe('unchanged');
    expect((await readMap('kept'))?.metadata.resourceVersion).toBe(before.metadata.resourceVersion);
  });

  it('creates a namespace, a kind and what lives in them from one package', async () => {
    const name = `${ns}-inner`;
    const group = `${ns}.example.com`;
    const report = await cluster.run(
      packageOf(
        applyStep(
          'all',
          { apiVersion: `${group}/v1`, kind: 'Widget', metadata: { name: 'first', namespace: name } },
          configMap(name, 'inside', {}),
          widgetDefinition(group),
          { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
        ),
      ),
    );
    expect(report.steps[0]?.objects.map(({ change }) => change)).toEqual(['create', 'create', 'create', 'create']);
    expect(await cluster.api.get(`/apis/${group}/v1/namespaces/${name}/widgets/first`)).toBeDefined();
    await cluster.run(
      packageOf(
        { id: 'ns', action: 'delete', target: { kind: 'Namespace', name } },
        {
          id: 'crd',
          action: 'delete',
          target: {
            apiVersion: 'apiextensions.k8s.io/v1',
            kind: 'CustomResourceDefinition',
            name: `widgets.${group}`,
          },
        },
      ),
    );
  });

  it('applies, restarts, scales and patches one Deployment in one package, waiting for it in between', async () => {
    const target = deploymentNamed('whole');
    const wait = { for: 'ready', timeoutSeconds: 60 } as const;
    const report = await cluster.run(
      packageOf(
        { ...applyStep('apply', deployment(ns, 'whole')), wait },
        { id: 'restart', action: 'restart', target, wait },
        { id: 'scale', action: 'scale', target, replicas: 3, wait },
        {
          id: 'patch',
          action: 'patch',
          target,
          patch: { type: 'json', operations: [{ op: 'add', path: '/metadata/labels', value: { team: 'shop' } }] },
        },
      ),
    );
    expect(report.steps.map(({ outcome }) => outcome)).toEqual(['done', 'done', 'done', 'done']);
    const live = await readDeployment('whole');
    expect(at(live, 'status', 'availableReplicas')).toBe(3);
    expect(live?.metadata.labels).toEqual({ team: 'shop' });
    expect(await replicaSetsOf('whole')).toBe(2);
  });
});

describe('a write that meets another state than was planned', () => {
  it('goes on where only the status changed', async () => {
    await cluster.run(packageOf(applyStep('apply', deployment(ns, 'busy'))));
    const wpk = packageOf({ id: 'restart', action: 'restart', target: deploymentNamed('busy') });
    const dryRun = await planOf(wpk);
    const path = `${cluster.path('apis/apps/v1', 'deployments', 'busy')}/status`;
    await cluster.merge(path, { status: { conditions: [{ type: 'Test', status: 'True' }] } });
    await execute(cluster.writer, wpk, dryRun);
    expect(JSON.stringify((await readDeployment('busy'))?.['spec'])).toContain(`${wpk.metadata.id}/restart`);
  });

  it('goes on where somebody changed a field that the package does not touch', async () => {
    await ownConfigMap('shared', { ours: '1' });
    const wpk = packageOf(applyStep('apply', configMap(ns, 'shared', { ours: '2' })));
    const dryRun = await planOf(wpk);
    await cluster.merge(cluster.path('api/v1', 'configmaps', 'shared'), { data: { theirs: '1' } });
    await execute(cluster.writer, wpk, dryRun);
    expect((await readMap('shared'))?.['data']).toEqual({ ours: '2', theirs: '1' });
  });

  it('ends with PLAN_CHANGED where what would change is no longer what was approved', async () => {
    await ownConfigMap('moved', { ours: '1' });
    const wpk = packageOf(applyStep('apply', { ...configMap(ns, 'moved', { ours: '2' }) }));
    const dryRun = await planOf(wpk);
    await ownConfigMap('moved', { ours: 'other' });
    await expect(execute(cluster.writer, wpk, dryRun)).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
    expect((await readMap('moved'))?.['data']).toEqual({ ours: 'other' });
  });

  it('ends with PLAN_CHANGED where a JSON patch would copy something else than was approved', async () => {
    await ownConfigMap('copied', { key: '1' });
    const wpk = packageOf({
      id: 'copy',
      action: 'patch',
      target: { kind: 'ConfigMap', name: 'copied', namespace: ns },
      patch: { type: 'json', operations: [{ op: 'copy', from: '/metadata/resourceVersion', path: '/data/key' }] },
    });
    const dryRun = await planOf(wpk);
    expect(dryRun.problems).toEqual([]);
    // Nothing that counts changes, but who owns it, and with that the version.
    await ownConfigMap('copied', { key: '1' }, 'other-tool');
    await expect(execute(cluster.writer, wpk, dryRun)).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
    expect((await readMap('copied'))?.['data']).toEqual({ key: '1' });
  });

  it('never overwrites what somebody else created first', async () => {
    const wpk = packageOf(applyStep('apply', configMap(ns, 'raced', { key: 'ours' })));
    const dryRun = await planOf(wpk);
    await ownConfigMap('raced', { key: 'theirs' });
    await expect(execute(cluster.writer, wpk, dryRun)).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
    expect((await readMap('raced'))?.['data']).toEqual({ key: 'theirs' });
  });

  it('never changes or deletes an object of the same name that is another one', async () => {
    const remove = {
      id: 'delete',
      action: 'delete',
      target: { kind: 'ConfigMap', name: 'reborn', namespace: ns },
    } as const;
    await ownConfigMap('reborn', { key: '1' });
    const wpk = packageOf(remove);
    const dryRun = await planOf(wpk);
    await cluster.run(packageOf(remove));
    const reborn = await ownConfigMap('reborn', { key: '1' });
    await expect(execute(cluster.writer, wpk, dryRun)).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
    expect((await readMap('reborn'))?.metadata.uid).toBe(reborn.metadata.uid);
  });

  it('ends with FIELD_CONFLICT that names who took the field meanwhile', async () => {
    await ownConfigMap('taken', { key: '1' });
    const wpk = packageOf(applyStep('apply', configMap(ns, 'taken', { key: '2' })));
    const dryRun = await planOf(wpk);
    const path = cluster.path('api/v1', 'configmaps', 'taken');
    const { metadata } = await cluster.applyAs('other-tool', path, configMap(ns, 'taken', { key: '3' }), true);
    // The write itself meets the conflict: it is bound to the state in which the other manager owns the field.
    const writes = dryRun.writes.map(({ write, ...rest }) => {
      const call = write?.call;
      if (!call) return rest;
      const body = call.body.replace(/"resourceVersion":"\d+"/, `"resourceVersion":"${metadata.resourceVersion}"`);
      return { ...rest, write: { ...write, call: { ...call, body } } };
    });
    await expect(execute(cluster.writer, wpk, { ...dryRun, writes })).rejects.toMatchObject({
      code: 'FIELD_CONFLICT',
      message: expect.stringContaining('field .data.key belongs to "other-tool"'),
    });
  });
});

describe('what was not approved', () => {
  it('is not written: not one object of a plan with one that differs', async () => {
    const wpk = packageOf(applyStep('apply', configMap(ns, 'unapproved-a', {}), configMap(ns, 'unapproved-b', {})));
    const dryRun = await planOf(wpk);
    const [first] = digestsOf(dryRun);
    const approved = new Set(first ? [first] : []);
    const options = { wpk, dryRun, approved, resumed: false, beforeWrite: () => undefined, report: { steps: [] } };
    await expect(cluster.writer.execute(options)).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
    await expect(cluster.writer.execute({ ...options, resumed: true })).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
    expect(await readMap('unapproved-a')).toBeUndefined();
  });

  it('includes a plan with a problem', async () => {
    const wpk = packageOf(applyStep('apply', configMap('no-such-namespace', 'x', {})));
    await expect(execute(cluster.writer, wpk, await planOf(wpk))).rejects.toMatchObject({ code: 'PLAN_REJECTED' });
  });
});

describe('a resumed execution', () => {
  it('does each object once, also those that the first attempt created', async () => {
    const names = ['one', 'two', 'three', 'four'].map((name) => `resumed-${name}`);
    const wpk = packageOf(...names.map((name) => applyStep(name, configMap(ns, name, { key: name }))));
    const approved = await dieAfter(2, wpk);
    const before = await readMap('resumed-one');
    const report = await resume(wpk, approved);
    expect(report.steps.map(({ outcome }) => outcome)).toEqual(['unchanged', 'unchanged', 'done', 'done']);
    expect((await readMap('resumed-one'))?.metadata.resourceVersion).toBe(before?.metadata.resourceVersion);
  });

  it('restarts a Deployment once: one rollout', async () => {
    await cluster.run(
      packageOf({ ...applyStep('a', deployment(ns, 'rolled')), wait: { for: 'ready', timeoutSeconds: 60 } }),
    );
    const target = deploymentNamed('rolled');
    const wpk = packageOf(
      { id: 'restart', action: 'restart', target },
      applyStep('b', configMap(ns, 'after-restart', {})),
    );
    const approved = await dieAfter(1, wpk);
    const generation = (await readDeployment('rolled'))?.metadata.generation;
    const report = await resume(wpk, approved);
    expect(report.steps.map(({ outcome }) => outcome)).toEqual(['unchanged', 'done']);
    expect((await readDeployment('rolled'))?.metadata.generation).toBe(generation);
    expect(await replicaSetsOf('rolled')).toBe(2);
  });

  it('goes on after creating the object that later steps change', async () => {
    const target = deploymentNamed('steps');
    const wpk = packageOf(
      applyStep('apply', deployment(ns, 'steps')),
      { id: 'restart', action: 'restart', target },
      { id: 'patch', action: 'patch', target, patch: { type: 'merge', body: { spec: { minReadySeconds: 1 } } } },
      { id: 'scale', action: 'scale', target, replicas: 1 },
    );
    for (const writes of [1, 2, 3]) {
      const once = { ...wpk, metadata: { ...wpk.metadata, id: packageOf().metadata.id } };
      const approved = await dieAfter(writes, once);
      const report = await resume(once, approved);
      const expected = once.steps.map((_, index) => (index < writes ? 'unchanged' : 'done'));
      expect(report.steps.map(({ outcome }) => outcome)).toEqual(expected);
      await cluster.run(
        packageOf({
          id: 'clean',
          action: 'delete',
          target,
          propagation: 'background',
          wait: { for: 'gone', timeoutSeconds: 30 },
        }),
      );
    }
  });

  it('appends to a list once', async () => {
    await cluster.run(packageOf(applyStep('a', deployment(ns, 'appended'))));
    const value = { name: 'second', image: 'registry.example/second:1' };
    const path = '/spec/template/spec/containers/-';
    const wpk = packageOf(
      {
        id: 'append',
        action: 'patch',
        target: deploymentNamed('appended'),
        patch: { type: 'json', operations: [{ op: 'add', path, value }] },
      },
      applyStep('b', configMap(ns, 'after-append', {})),
    );
    const approved = await dieAfter(1, wpk);
    const report = await resume(wpk, approved);
    expect(report.steps.map(({ outcome }) => outcome)).toEqual(['unchanged', 'done']);
    expect(at(await readDeployment('appended'), 'spec', 'template', 'spec', 'containers')).toHaveLength(2);
  });

  describe.each(['noted', 'not noted'] as const)('where the end of the last step is %s', (end) => {
    it.each([1, 2, 3])('goes on after %i of several applies of one object', async (count) => {
      const name = `applied-${end === 'noted' ? 'noted' : 'lost'}-${count}`;
      await ownConfigMap(name, { a: '0' });
      const wpk = packageOf(
        applyStep('one', configMap(ns, name, { a: '1', b: '1' })),
        applyStep('two', configMap(ns, name, { a: '2' })),
        applyStep('three', configMap(ns, name, { c: '3' })),
        applyStep('four', configMap(ns, `${name}-other`, {})),
      );
      const secrets = createStateSecrets(cluster.api);
      const approved = await dieAfter(count, wpk, Journal.begin(secrets, wpk));
      if (end === 'not noted') await forgetEnd(`${subjectOf(wpk.metadata.id)}-${count - 1}-end`);
      const report = await resume(wpk, approved, await Journal.read(secrets, wpk));
      expect(report.steps.map(({ id, objects }) => [id, objects.length])).toEqual([
        ['one', 1],
        ['two', 1],
        ['three', 1],
        ['four', 1],
      ]);
      expect((await readMap(name))?.['data']).toEqual({ c: '3' });
      await secrets.removeAll(subjectOf(wpk.metadata.id));
    });
  });

  it('still refuses what somebody else changed meanwhile', async () => {
    await ownConfigMap('meanwhile-b', { key: '1' });
    const wpk = packageOf(
      applyStep('one', configMap(ns, 'meanwhile-a', { key: '2' })),
      applyStep('two', configMap(ns, 'meanwhile-b', { key: '2' })),
    );
    const approved = await dieAfter(1, wpk);
    await ownConfigMap('meanwhile-b', { key: 'other' });
    await expect(resume(wpk, approved)).rejects.toMatchObject({ code: 'PLAN_CHANGED' });
  });
});

describe('an execution that is stopped', () => {
  it('writes nothing more, and reports what it wrote', async () => {
    const wpk = packageOf(
      applyStep('one', configMap(ns, 'stopped-a', {})),
      applyStep('two', configMap(ns, 'stopped-b', {})),
      applyStep('three', configMap(ns, 'stopped-c', {})),
    );
    const stop = new AbortController();
    const dryRun = await planOf(wpk);
    const options: ExecutionOptions = {
      wpk,
      dryRun,
      approved: digestsOf(dryRun),
      resumed: false,
      signal: stop.signal,
      beforeWrite: () => undefined,
      onProgress: ({ step }) => step === 'two' && stop.abort(new Error('stopped by a person')),
      report: { steps: [] },
    };
    await expect(cluster.writer.execute(options)).rejects.toThrow('stopped by a person');
    expect(options.report.steps.map(({ id, outcome, objects }) => [id, outcome, objects.length])).toEqual([
      ['one', 'done', 1],
      ['two', 'partial', 0],
    ]);
    expect([await readMap('stopped-a'), await readMap('stopped-b')].map(Boolean)).toEqual([true, false]);
  });
});

describe('waiting', () => {
  it('ends with NOT_READY and the pod that is in the way', async () => {
    const spec = { nodeSelector: { nowhere: 'true' }, containers: [{ name: 'main', image: 'x' }] };
    const labels = { app: 'stuck' };
    const stuck = deployment(ns, 'stuck', { template: { metadata: { labels }, spec } });
    const wait = { for: 'ready', timeoutSeconds: 2 } as const;
    const progress: string[] = [];
    const wpk = packageOf({ ...applyStep('apply', stuck), wait });
    const dryRun = await planOf(wpk);
    const execution = cluster.writer.execute({
      wpk,
      dryRun,
      approved: digestsOf(dryRun),
      resumed: false,
      beforeWrite: () => undefined,
      onProgress: ({ waitingFor }) => waitingFor && progress.push(waitingFor),
      report: { steps: [] },
    });
    await expect(execution).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringMatching(/0 of 2 pods.*Pod stuck-\S+: Unschedulable, .*node/),
    });
    expect(progress).toContain(`Deployment ${ns}/stuck: 0 of 2 pods are available`);
  });

  it('tells only the beginning of what a container said when it ended', async () => {
    const path = cluster.path('api/v1', 'pods', 'chatty');
    const spec = { schedulerName: 'nobody', containers: [{ name: 'main', image: 'x' }] };
    await cluster.applyAs('test', path, { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'chatty' }, spec });
    const message = `no connection ${'.'.repeat(500)}\npassword=hunter2`;
    const terminated = { exitCode: 1, reason: 'Error', message, startedAt: null, finishedAt: null };
    const container = { name: 'main', image: 'x', imageID: '', ready: false, restartCount: 0, state: { terminated } };
    const pod = await cluster.merge(`${path}/status`, { status: { containerStatuses: [container] } });
    const why = await explain(cluster.api, pod);
    expect(why).toMatch(/^Pod chatty: container main ended with exit code 1: Error, no connection \.{180,}…$/);
    expect(why.length).toBeLessThan(300);
  });

  it('tells a Job that is done from one that is gone', async () => {
    const job: Manifest = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'once', namespace: ns },
      spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } } },
    };
    await cluster.run(packageOf({ ...applyStep('apply', job), wait: { for: 'ready', timeoutSeconds: 60 } }));
    const live = await cluster.read('apis/batch/v1', 'jobs', 'once');
    expect(at(live, 'status', 'succeeded')).toBe(1);
  });
});

describe('a package of 1,000 objects', () => {
  it('is planned and carried out', async () => {
    const names = Array.from({ length: 1_000 }, (_, index) => `many-${index}`);
    const wpk = packageOf(applyStep('all', ...names.map((name) => configMap(ns, name, { name }))));
    const writer = createWriter({ api: cluster.api, planner: cluster.planner });
    const dryRun = await cluster.planner.dryRun(wpk, digestOf(wpk));
    const again = await cluster.planner.dryRun(wpk, digestOf(wpk));
    expect([...digestsOf(again)]).toEqual([...digestsOf(dryRun)]);
    const report = await execute(writer, wpk, again);
    expect(report.steps[0]?.objects.map(({ change }) => change)).toEqual(names.map(() => 'create'));
    const live = await cluster.api.list(`/api/v1/namespaces/${ns}/configmaps`, { atMost: 5_000 });
    expect(live?.filter(({ metadata }) => metadata.name.startsWith('many-'))).toHaveLength(1_000);
  });
});

async function replicaSetsOf(name: string): Promise<number | undefined> {
  const path = `/apis/apps/v1/namespaces/${ns}/replicasets`;
  const sets: readonly KubeObject[] | undefined = await cluster.api.list(path, {
    atMost: 100,
    labelSelector: `app=${name}`,
  });
  return sets?.length;
}
