import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { at, type KubeObject } from '../../../../activities/kubernetes/kube-object.ts';
import { STAMP_ANNOTATION } from '../../../../domain/names.ts';
import type { Manifest, Step } from '../../../../domain/wpk.ts';
import { digestOf, packageOf, podTemplate } from '../../../support/kubernetes.ts';
import { type TestCluster, testCluster } from '../../../support/kubernetes.ts';
import { until } from '../../../support/until.ts';

let cluster: TestCluster;
let ns: string;
beforeAll(async () => {
  cluster = await testCluster();
  ns = cluster.namespace;
});
afterAll(() => cluster.stop());

type Kind = 'Deployment' | 'StatefulSet' | 'DaemonSet';

const pathOf = (kind: Kind, name: string) => cluster.path('apis/apps/v1', `${kind.toLowerCase()}s`, name);
const read = async (kind: Kind, name: string) => (await cluster.api.get(pathOf(kind, name))) as KubeObject;
const imageOf = (workload: KubeObject) => {
  const containers = at(workload, 'spec', 'template', 'spec', 'containers');
  return Array.isArray(containers) ? at(containers[0], 'image') : undefined;
};
const rollbackStep = (kind: Kind, name: string, toRevision?: number): Step => ({
  id: 'undo',
  action: 'rollback',
  target: { kind, name, namespace: ns },
  ...(toRevision !== undefined && { toRevision }),
});
const plan = (...steps: Step[]) => {
  const wpk = packageOf(...steps);
  return cluster.newPlanner().dryRun(wpk, digestOf(wpk));
};

function workload(kind: Kind, name: string, image: string): Manifest {
  const template = podTemplate(name, undefined, { containers: [{ name: 'main', image }] });
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace: ns },
    spec: {
      selector: { matchLabels: { app: name } },
      template,
      ...(kind === 'StatefulSet' && { serviceName: name }),
    },
  };
}

/** Applies one version after the other and waits until each is a revision. */
async function versions(kind: Kind, name: string, ...images: string[]): Promise<void> {
  for (const [index, image] of images.entries()) {
    await cluster.applyAs('test', pathOf(kind, name), workload(kind, name, image));
    const plural = kind === 'Deployment' ? 'replicasets' : 'controllerrevisions';
    await until(`revision ${index + 1} of ${name}`, async () => {
      const path = `/apis/apps/v1/namespaces/${ns}/${plural}`;
      const found = await cluster.api.list(path, { atMost: 100, labelSelector: `app=${name}` });
      return found?.length === index + 1;
    });
  }
}

describe.each(['Deployment', 'StatefulSet', 'DaemonSet'] as const)('the rollback of a %s', (kind) => {
  const nameFor = (what: string) => `${what}-${kind.toLowerCase()}`;

  it('goes back to the revision before, as it was planned', async () => {
    const name = nameFor('back');
    await versions(kind, name, 'app:1', 'app:2', 'app:3');
    const { writes, problems } = await plan(rollbackStep(kind, name));
    expect(problems).toEqual([]);
    expect(writes[0]?.planned.changes).toContainEqual({
      path: '/spec/template/spec/containers/0/image',
      before: 'app:3',
      after: 'app:2',
      names: { '/spec/template/spec/containers/0': 'main' },
    });
    await cluster.run(packageOf(rollbackStep(kind, name)));
    expect(imageOf(await read(kind, name))).toBe('app:2');
  });

  it('goes back to the revision that is named', async () => {
    const name = nameFor('named');
    await versions(kind, name, 'app:1', 'app:2', 'app:3');
    await cluster.run(packageOf(rollbackStep(kind, name, 1)));
    expect(imageOf(await read(kind, name))).toBe('app:1');
  });

  it('goes back once: planned again, the revision before is not another one', async () => {
    const name = nameFor('once');
    await versions(kind, name, 'app:1', 'app:2');
    const wpk = packageOf(rollbackStep(kind, name));
    await cluster.run(wpk);
    const again = await cluster.newPlanner().dryRun(wpk, digestOf(wpk));
    expect(again.writes[0]?.planned.change).toBe('unchanged');
    const { metadata } = await read(kind, name);
    expect(metadata.annotations?.[STAMP_ANNOTATION]).toBe(`${wpk.metadata.id}/undo`);
  });

  it('is refused where there is no such revision', async () => {
    const name = nameFor('first');
    await versions(kind, name, 'app:1');
    expect((await plan(rollbackStep(kind, name))).problems[0]?.message).toMatch(
      /has no revision before the current one/,
    );
    expect((await plan(rollbackStep(kind, name, 9))).problems[0]?.message).toMatch(/has no revision 9/);
  });
});

describe('a rollback', () => {
  it('is refused while the rollout is paused', async () => {
    await versions('Deployment', 'paused', 'app:1', 'app:2');
    await cluster.merge(pathOf('Deployment', 'paused'), { spec: { paused: true } });
    expect((await plan(rollbackStep('Deployment', 'paused'))).problems[0]?.message).toMatch(/is paused/);
  });

  it('is refused after a step that changes the same workload, because nobody can say yet what it goes back to', async () => {
    await versions('Deployment', 'moving', 'app:1', 'app:2');
    const target = { kind: 'Deployment', name: 'moving', namespace: ns };
    const { problems } = await plan({ id: 'restart', action: 'restart', target }, rollbackStep('Deployment', 'moving'));
    expect(problems[0]?.message).toMatch(/the step restart changes it first/);
  });

  it('is for workloads with revisions alone', async () => {
    const target = { kind: 'ConfigMap', name: 'a', namespace: ns };
    const { problems } = await plan({ id: 'undo', action: 'rollback', target });
    expect(problems[0]?.message).toBe('a ConfigMap cannot be rolled back, only Deployment, StatefulSet, DaemonSet can');
  });
});
