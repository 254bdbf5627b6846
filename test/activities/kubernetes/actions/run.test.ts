import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { GrowingReport } from '../../../../activities/kubernetes/execution-types.ts';
import { explain } from '../../../../activities/kubernetes/explain.ts';
import type { KubeObject } from '../../../../activities/kubernetes/kube-object.ts';
import { STAMP_ANNOTATION } from '../../../../domain/names.ts';
import type { Manifest, Step, Wpk } from '../../../../domain/wpk.ts';
import { applyStep, configMap, digestOf, digestsOf, job, onNode } from '../../../support/kubernetes.ts';
import { packageOf, podTemplate, type TestCluster, testCluster, testNode } from '../../../support/kubernetes.ts';
import { startKubelet } from '../../../support/kubelet.ts';
import { until } from '../../../support/until.ts';

let cluster: TestCluster;
let ns: string;
beforeAll(async () => {
  cluster = await testCluster();
  ns = cluster.namespace;
});
afterAll(() => cluster.stop());

const runStep = (manifest: Manifest, timeoutSeconds = 30): Step => ({
  id: 'migrate',
  action: 'run',
  manifest,
  timeoutSeconds,
});
const plan = (wpk: Wpk) => cluster.newPlanner().dryRun(wpk, digestOf(wpk));
async function jobs(prefix: string): Promise<KubeObject[]> {
  const all = (await cluster.api.list(`/apis/batch/v1/namespaces/${ns}/jobs`, { atMost: 100 })) ?? [];
  return all.filter(({ metadata }) => metadata.name.startsWith(prefix));
}
const execute = async (wpk: Wpk, more: { resumed?: boolean; beforeWrite?: () => void } = {}) => {
  const dryRun = await plan(wpk);
  const report: GrowingReport = { steps: [] };
  await cluster.writer.execute({ wpk, dryRun, approved: digestsOf(dryRun), resumed: false, report, ...more });
  return report;
};

describe('run', () => {
  it('plans a Job under a name of its own, checked by the API server', async () => {
    const wpk = packageOf(runStep(job(ns, 'planned')));
    const { writes, problems } = await plan(wpk);
    expect(problems).toEqual([]);
    expect(writes[0]?.planned).toMatchObject({ change: 'create', verified: { by: 'server' }, action: 'run' });
    expect(writes[0]?.planned.object.name).toMatch(/^planned-[0-9a-f]{8}$/);
    expect((await plan(wpk)).writes[0]?.planned.digest).toBe(writes[0]?.planned.digest);
    expect(await jobs('planned')).toEqual([]);
  });

  it('runs the Job to its end, stamped, and again for another package', async () => {
    const wpk = packageOf(runStep(job(ns, 'done')));
    const report = await execute(wpk);
    expect(report.steps).toMatchObject([{ id: 'migrate', action: 'run', outcome: 'done' }]);
    const [made] = await jobs('done');
    expect(made?.metadata.annotations?.[STAMP_ANNOTATION]).toBe(`${wpk.metadata.id}/migrate`);
    await execute(packageOf(runStep(job(ns, 'done'))));
    expect(await jobs('done')).toHaveLength(2);
  });

  it('is one Job, however often it is tried', async () => {
    const wpk = packageOf(runStep(job(ns, 'once')), applyStep('after', configMap(ns, 'after', {})));
    let writes = 0;
    const dies = () => {
      if (++writes > 1) throw new Error('killed');
    };
    await expect(execute(wpk, { beforeWrite: dies })).rejects.toThrow('killed');
    const report = await execute(wpk, { resumed: true });
    expect(report.steps.map(({ outcome }) => outcome)).toEqual(['unchanged', 'done']);
    expect(await jobs('once')).toHaveLength(1);
  });

  it('ends with NOT_READY where the Job fails, and says which pod and how', async () => {
    const failing = job(ns, 'failing', 'failure', { backoffLimit: 0 });
    await expect(execute(packageOf(runStep(failing)))).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringMatching(
        /Pod failing-\S+: container main ended with exit code 3: Error, the schema is newer/,
      ),
    });
  });

  it('ends with NOT_READY where the Job does not end in time', async () => {
    const endless = job(ns, 'endless', 'slow-start');
    await expect(execute(packageOf(runStep(endless, 1)))).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringMatching(/Job \S+\/endless-\S+: 0 pods have succeeded when the time was up/),
    });
  });

  it.each([
    ['removes itself', { ttlSecondsAfterFinished: 5 }, /may not remove itself/],
    ['is suspended', { suspend: true }, /never ends/],
  ])('refuses a Job that %s', async (_what, spec, message) => {
    const { problems } = await plan(packageOf(runStep(job(ns, 'refused', undefined, spec))));
    expect(problems[0]?.message).toMatch(message);
  });
});

describe('the log of a container', () => {
  let written = '';
  let writtenBefore = '';
  let node: string;
  let stop: () => Promise<void>;

  beforeAll(async () => {
    const kubelet = await startKubelet((_pod, previous) => (previous ? writtenBefore : written));
    const { name, remove } = await testNode(cluster, kubelet.port);
    node = name;
    stop = async () => {
      kubelet.stop();
      await remove();
    };
    await cluster.applyAs('test', cluster.path('api/v1', 'secrets', 'credentials'), {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'credentials' },
      stringData: { password: 'correct horse', key: 'first line of it\nsecond line of it' },
    });
  });
  afterAll(() => stop());

  const jobOn = (name: string): Manifest => {
    const { metadata, spec } = podTemplate(name, undefined, { ...onNode(node), restartPolicy: 'Never' });
    return {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name, namespace: ns },
      spec: { template: { metadata, spec } },
    };
  };

  it('is in the report by its end, without values of Secrets', async () => {
    const lines = Array.from({ length: 30 }, (_, index) => `line ${index}`);
    const told = ['password=correct horse', 'base64 Y29ycmVjdCBob3JzZQ==', 'key: second line of it', 'done'];
    written = [...lines, ...told].join('\n');
    const report = await execute(packageOf(runStep(jobOn('logged'))));
    const [tail] = report.steps[0]?.logs ?? [];
    expect(tail).toMatchObject({ container: 'main', pod: expect.stringMatching(/^logged-/) });
    const shown = (tail?.text ?? '').trim().split('\n');
    expect(shown).toHaveLength(20);
    expect(shown[0]).toBe('line 14');
    expect(shown.slice(-4)).toEqual(['password=[masked]', 'base64 [masked]', 'key: [masked]', 'done']);
  });

  it('is told to be missing where the node does not give it', async () => {
    const report = await execute(packageOf(runStep(job(ns, 'unlogged'))));
    expect(report.steps[0]?.logs).toMatchObject([{ text: '', missing: 'its node does not give it' }]);
  });

  it('gives the last line of a crash, masked', async () => {
    writtenBefore = 'starting\ncannot log in with correct horse';
    const pod = podTemplate('crashing', 'crash-loop', onNode(node));
    const path = cluster.path('api/v1', 'pods', 'crashing');
    await cluster.applyAs('test', path, {
      apiVersion: 'v1',
      kind: 'Pod',
      ...pod,
      metadata: { ...pod.metadata, name: 'crashing' },
    });
    const why = await until('the crash', async () => {
      const live = await cluster.api.get(path);
      return live && ((await explain(cluster.api, live)) || undefined);
    });
    expect(why).toMatch(/ended with exit code 1: Error, cannot log in with \[masked\]$/);
  });
});
