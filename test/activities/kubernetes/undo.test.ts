import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { GrowingReport } from '../../../activities/kubernetes/execution-types.ts';
import { at } from '../../../activities/kubernetes/kube-object.ts';
import { createStateSecrets } from '../../../activities/kubernetes/writer.ts';
import { Journal, subjectOf } from '../../../activities/package/journal.ts';
import type { UndoneObject } from '../../../domain/status.ts';
import type { Manifest, Step, Target, Wpk } from '../../../domain/wpk.ts';
import { stateOf } from '../../support/cluster-state.ts';
import { applyStep, configMap, deployment, digestOf, digestsOf, job } from '../../support/kubernetes.ts';
import { packageOf, type TestCluster, testCluster } from '../../support/kubernetes.ts';
import { until } from '../../support/until.ts';

let cluster: TestCluster;
let ns: string;
beforeAll(async () => {
  cluster = await testCluster();
  ns = cluster.namespace;
});
afterAll(() => cluster.stop());

const secrets = () => createStateSecrets(cluster.api);
const target = (kind: string, name: string): Target => ({ kind, name, namespace: ns });
const mapPath = (name: string) => cluster.path('api/v1', 'configmaps', name);

/** Carries a package out until a write is the one that fails, as if it had been approved. */
async function executeUntil(wpk: Wpk, failsAt: number): Promise<number> {
  const dryRun = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
  expect(dryRun.problems).toEqual([]);
  const report: GrowingReport = { steps: [] };
  let writes = 0;
  const beforeWrite = () => {
    if (writes++ === failsAt) throw new Error('fails here');
  };
  const journal = Journal.begin(secrets(), wpk);
  const options = { wpk, dryRun, approved: digestsOf(dryRun), resumed: false, beforeWrite, report, journal };
  await cluster.writer.execute(options).catch((error: unknown) => {
    if (!(error instanceof Error && error.message === 'fails here')) throw error;
  });
  return writes;
}

async function undo(wpk: Wpk): Promise<UndoneObject[]> {
  const report: UndoneObject[] = [];
  const journal = await Journal.read(secrets(), wpk); // as another process reads it
  await cluster.writer.undo({ steps: journal.written(), report });
  return report;
}

const summary = (report: readonly UndoneObject[]) =>
  report.map(({ step, object, outcome, why }) => [step, object.name, outcome, ...(why === undefined ? [] : [why])]);

/** A namespace as somebody might have it before a package comes. */
async function prepare(name: string): Promise<void> {
  const put = (manager: string, group: string, plural: string, manifest: Manifest) =>
    cluster.applyAs(manager, cluster.path(group, plural, manifest.metadata.name), manifest);
  await put('kubectl', 'api/v1', 'configmaps', configMap(ns, `${name}-settings`, { colour: 'blue', size: '1' }));
  await put('byoc-connector', 'api/v1', 'configmaps', configMap(ns, `${name}-ours`, { ours: '1' }));
  await put('kubectl', 'api/v1', 'configmaps', configMap(ns, `${name}-old`, { kept: 'since long' }));
  await put('kubectl', 'api/v1', 'secrets', {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: `${name}-key` },
    stringData: { key: 'old secret' },
  });
  await put('kubectl', 'apis/apps/v1', 'deployments', deployment(ns, name));
  await until(`${name} to be available`, async () => {
    const live = await cluster.read('apis/apps/v1', 'deployments', name);
    return at(live, 'status', 'availableReplicas') === 2;
  });
}

/** Five steps that create, change and delete. */
function fiveSteps(name: string): Step[] {
  return [
    {
      ...applyStep(
        'config',
        configMap(ns, `${name}-ours`, { ours: '2', more: '3' }),
        configMap(ns, `${name}-new`, { key: 'value' }),
        {
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { name: `${name}-service`, namespace: ns },
          spec: { selector: { app: name }, ports: [{ port: 80 }] },
        },
      ),
    },
    {
      id: 'secret',
      action: 'patch',
      target: target('Secret', `${name}-key`),
      patch: { type: 'merge', body: { stringData: { key: 'new secret', other: 'too' } } },
    },
    { id: 'remove', action: 'delete', target: target('ConfigMap', `${name}-old`) },
    { id: 'restart', action: 'restart', target: target('Deployment', name) },
    { id: 'scale', action: 'scale', target: target('Deployment', name), replicas: 3 },
  ];
}

describe('a package of five steps that fails', () => {
  it('at any of its writes, leaves nothing behind once it is undone', async () => {
    await prepare('shop');
    const before = await stateOf(cluster.api, ns);
    for (let failsAt = 0; ; failsAt++) {
      const wpk = packageOf(...fiveSteps('shop'));
      const writes = await executeUntil(wpk, failsAt);
      const changed = await stateOf(cluster.api, ns);
      const report = await undo(wpk);
      expect({ failsAt, state: await stateOf(cluster.api, ns) }).toEqual({ failsAt, state: before });
      expect(report.filter(({ outcome }) => outcome === 'left' || outcome === 'partly')).toEqual([]);
      if (failsAt > 0) expect(changed).not.toEqual(before);
      expect(summary(await undo(wpk)).map(([, , outcome]) => outcome)).toEqual(report.map(() => 'unchanged'));
      if (writes <= failsAt) break; // it came through as a whole
    }
  }, 180_000);

  it('is undone from its last step to its first', async () => {
    await prepare('order');
    const wpk = packageOf(...fiveSteps('order'));
    await executeUntil(wpk, Infinity);
    const steps = (await undo(wpk)).map(({ step }) => step);
    expect([...new Set(steps)]).toEqual(['scale', 'restart', 'remove', 'secret', 'config']);
  });
});

describe('what somebody else did meanwhile', () => {
  const change = (name: string): Step => applyStep('apply', configMap(ns, name, { ours: '2' }));

  it('is kept where it is elsewhere in the object', async () => {
    await cluster.applyAs('byoc-connector', mapPath('shared'), configMap(ns, 'shared', { ours: '1' }));
    const wpk = packageOf(change('shared'));
    await executeUntil(wpk, Infinity);
    await cluster.merge(mapPath('shared'), { data: { theirs: 'x' } });
    expect(summary(await undo(wpk))).toEqual([['apply', 'shared', 'undone']]);
    expect((await cluster.api.get(mapPath('shared')))?.['data']).toEqual({ ours: '1', theirs: 'x' });
  });

  it('is not overwritten where it is the same field, and the report names field and manager', async () => {
    await cluster.applyAs('byoc-connector', mapPath('taken'), configMap(ns, 'taken', { ours: '1' }));
    const wpk = packageOf(change('taken'));
    await executeUntil(wpk, Infinity);
    await cluster.merge(mapPath('taken'), { data: { ours: 'theirs' } }, 'kubectl-edit');
    expect(summary(await undo(wpk))).toEqual([
      ['apply', 'taken', 'left', '/data/ours was changed since by "kubectl-edit"'],
    ]);
    expect((await cluster.api.get(mapPath('taken')))?.['data']).toEqual({ ours: 'theirs' });
  });

  it('keeps an object that the package has made', async () => {
    const wpk = packageOf(change('adopted'));
    await executeUntil(wpk, Infinity);
    await cluster.merge(mapPath('adopted'), { data: { theirs: 'x' } }, 'kubectl-edit');
    expect(summary(await undo(wpk))).toEqual([
      ['apply', 'adopted', 'left', '/data/theirs was changed since by "kubectl-edit"'],
    ]);
  });

  it('keeps another object of the same name', async () => {
    await cluster.applyAs('kubectl', mapPath('again'), configMap(ns, 'again', { old: '1' }));
    const wpk = packageOf({ id: 'delete', action: 'delete', target: target('ConfigMap', 'again') });
    await executeUntil(wpk, Infinity);
    await cluster.applyAs('kubectl', mapPath('again'), configMap(ns, 'again', { other: '1' }));
    expect(summary(await undo(wpk))).toEqual([['delete', 'again', 'left', 'somebody has made another one since']]);
  });

  it('keeps a namespace of the package with what is in it', async () => {
    const name = `${ns}-inner`;
    const wpk = packageOf(
      applyStep('apply', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, configMap(name, 'ours', {})),
    );
    await executeUntil(wpk, Infinity);
    const theirs = `/api/v1/namespaces/${name}/configmaps/theirs`;
    await cluster.applyAs('kubectl', theirs, configMap(name, 'theirs', {}));
    expect(summary(await undo(wpk))).toEqual([
      ['apply', 'ours', 'undone'],
      ['apply', name, 'left', 'it holds what is not from this package, such as ConfigMap theirs'],
    ]);
    await cluster.run(packageOf({ id: 'delete', action: 'delete', target: { kind: 'Namespace', name } }));
  });
});

describe('what cannot be undone', () => {
  it('is told: a Job that ran', async () => {
    const wpk = packageOf({ id: 'run', action: 'run', manifest: job(ns, 'migrate'), timeoutSeconds: 30 });
    await executeUntil(wpk, Infinity);
    expect(summary(await undo(wpk))).toEqual([
      ['run', expect.stringMatching(/^migrate-/), 'partly', 'the Job was started: what it did elsewhere stays done'],
    ]);
  });

  it('is told: a Job and a claim that were deleted', async () => {
    await cluster.applyAs('kubectl', cluster.path('apis/batch/v1', 'jobs', 'gone'), job(ns, 'gone'));
    const claim = {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data', namespace: ns },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    };
    await cluster.applyAs('kubectl', cluster.path('api/v1', 'persistentvolumeclaims', 'data'), claim);
    const wait = { for: 'gone', timeoutSeconds: 30 } as const;
    const wpk = packageOf(
      { id: 'job', action: 'delete', target: target('Job', 'gone'), wait },
      { id: 'claim', action: 'delete', target: target('PersistentVolumeClaim', 'data'), wait },
    );
    await executeUntil(wpk, Infinity);
    expect(summary(await undo(wpk))).toEqual([
      ['claim', 'data', 'partly', expect.stringMatching(/the data of the old one are gone/)],
      ['job', 'gone', 'left', 'a Job that is made anew would run anew'],
    ]);
  });
});

describe('what is noted for undoing', () => {
  it('is in Secrets, survives a crash in the middle of noting it anew, and goes when it is of no use', async () => {
    const wpk = packageOf(...['a', 'b'].map((name) => applyStep(name, configMap(ns, `noted-${name}`, {}))));
    await executeUntil(wpk, 1);
    const found = await secrets().list(subjectOf(wpk.metadata.id));
    expect([...found.keys()].map((name) => name.replace(subjectOf(wpk.metadata.id), ''))).toEqual([
      '-0-end',
      '-0-v1-0',
      '-1-v1-0',
    ]);
    await secrets().put(`${subjectOf(wpk.metadata.id)}-0-v2-0`, subjectOf(wpk.metadata.id), {
      part: Buffer.from('half'),
      count: Buffer.from('2'),
    });
    const journal = await Journal.read(secrets(), wpk);
    expect(journal.written().map(({ step, entries }) => [step, entries.length])).toEqual([
      ['a', 1],
      ['b', 1],
    ]);
    expect([...journal.done().keys()]).toEqual(['a']);
    await secrets().removeAll(subjectOf(wpk.metadata.id));
    expect((await Journal.read(secrets(), wpk)).written()).toEqual([]);
  });

  it('takes more than a Secret holds', async () => {
    const random = () =>
      Buffer.from(Array.from({ length: 300_000 }, () => Math.floor(Math.random() * 256))).toString('base64');
    const manifests = ['x', 'y', 'z'].map((name) => configMap(ns, `large-${name}`, { random: random() }));
    const wpk = packageOf(applyStep('large', ...manifests));
    await executeUntil(wpk, Infinity);
    const report = await undo(wpk);
    expect(report.map(({ outcome }) => outcome)).toEqual(['undone', 'undone', 'undone']);
    await secrets().removeAll(subjectOf(wpk.metadata.id));
  });
});
