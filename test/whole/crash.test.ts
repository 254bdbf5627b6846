import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Step } from '../../domain/wpk.ts';
import type { SubmittedPackage } from '../../client/connector-client.ts';
import { TestConnector } from '../support/connector.ts';
import { deployment } from '../support/kubernetes.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { SlowNetwork } from '../support/slow-network.ts';
import { sharedServices } from '../support/stack.ts';
import { until } from '../support/until.ts';

/**
 * Long enough to see the effect of a request in the cluster, and to kill the worker, before its answer arrives. At 2 s
 * nothing is written any more: the freeze is not known then.
 */
const HELD_MS = 1_500;
const OBJECTS = 150;
/** A dead worker's workflow task is given to another after 10 s, and an activity after 5 s without a heartbeat. */
const RECOVERY_MS = 60_000;

interface Workload {
  readonly metadata: { readonly generation: number };
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly [{ readonly args?: readonly string[] }] } };
  };
}

describe('a worker that is killed by SIGKILL', () => {
  let network: SlowNetwork;
  let connector: TestConnector;

  beforeAll(async () => {
    network = await SlowNetwork.start((await sharedServices()).kubernetes);
    connector = await TestConnector.start({ through: network });
  });
  afterAll(async () => {
    await connector.stop();
    await network.stop();
  });

  async function replaceWorker(): Promise<void> {
    await connector.killWorker();
    await connector.startWorker();
  }

  const untilWaiting = (one: SubmittedPackage) => connector.untilWaiting(one, RECOVERY_MS);
  async function approve(one: SubmittedPackage): Promise<void> {
    const { planDigest } = await untilWaiting(one);
    await connector.signalApproval(one.workflowId, { approver: 'bob@example.com', planDigest });
  }

  async function deploy(name: string): Promise<void> {
    const file = await connector.save(`${name}.json`, JSON.stringify(deployment(connector.namespace, name)));
    await connector.kubectl('apply', '--server-side', '-f', file);
    await connector.kubectl('rollout', 'status', `deployment/${name}`, '-n', connector.namespace, '--timeout=30s');
  }
  const workload = async (name: string) => (await connector.read('deployment', name)) as unknown as Workload;
  const argsOf = ({ spec }: Workload) => spec.template.spec.containers[0].args ?? [];
  async function replicaSetsOf(name: string): Promise<number> {
    const names = await connector.kubectl(
      'get',
      'replicasets',
      '-n',
      connector.namespace,
      '-l',
      `app=${name}`,
      '-o',
      'name',
    );
    return names.trim().split('\n').length;
  }

  const restart = (name: string): Step => ({
    id: 'restart',
    action: 'restart',
    target: { kind: 'Deployment', name, namespace: connector.namespace },
  });
  /** Adding to a list is what shows when it is done twice. */
  const append = (name: string): Step => ({
    id: 'append',
    action: 'patch',
    target: { kind: 'Deployment', name, namespace: connector.namespace },
    patch: {
      type: 'json',
      operations: [{ op: 'add', path: '/spec/template/spec/containers/0/args/-', value: 'once' }],
    },
  });

  /** Holds a package between its start, which takes many requests, and the step that a test is about. */
  const untilThere = (name: string): Step => ({
    id: 'gate',
    action: 'wait',
    target: { kind: 'ConfigMap', name, namespace: connector.namespace },
    for: 'ready',
    timeoutSeconds: 60,
  });

  it('while the answer to a claim is held back and others wait, leaves all to the next worker', async () => {
    const waiting = await connector.submitAndPlan({
      steps: [applyStep(configMap('waiting', connector.namespace, {}))],
    });
    await network.holdAnswers(HELD_MS);
    const claiming = await connector.submit({ steps: [applyStep(configMap('claiming', connector.namespace, {}))] });
    const claim = `wpk-${claiming.wpkId.toLowerCase()}`;
    await until('the claim', () =>
      connector.kubectl('get', 'configmap', claim, '-n', connector.stateNamespace, '--ignore-not-found'),
    );
    await connector.killWorker();
    await network.letAnswersThrough();
    await connector.startWorker();
    for (const one of [claiming, waiting]) {
      await approve(one);
      expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
    }
  }, 120_000);

  it.each([
    { change: 'restart', done: 'restarted once' },
    { change: 'append', done: 'appended once' },
  ] as const)(
    'while the answer to its $change is held back, has $done',
    async ({ change }) => {
      const name = `to-${change}`;
      const gate = `gate-of-${name}`;
      await deploy(name);
      await connector.kubectl(
        ...['patch', 'deployment', name, '-n', connector.namespace, '--type=json'],
        ...['-p', '[{"op":"add","path":"/spec/template/spec/containers/0/args","value":["first"]}]'],
      );
      const before = await workload(name);
      const one = await connector.submitAndPlan({ steps: [untilThere(gate), { restart, append }[change](name)] });
      const happened = async (type: string) =>
        (await connector.audit({ workflowId: one.workflowId })).filter((entry) => entry.type === type).length;
      await approve(one);
      await until('the gate', async () => (await happened('step.started')) === 1);
      await network.holdAnswers(HELD_MS);
      await connector.kubectl('create', 'configmap', gate, '-n', connector.namespace);
      await until(
        'the effect in the cluster',
        async () => {
          const { metadata } = await workload(name);
          return metadata.generation > before.metadata.generation;
        },
        RECOVERY_MS,
      );
      await connector.killWorker();
      const known = await happened('step.finished');
      await network.letAnswersThrough();
      await connector.startWorker();

      expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
      expect(known).toBe(1); // the gate's: of the other step's end the dead worker never learned
      const after = await workload(name);
      expect(after.metadata.generation).toBe(before.metadata.generation + 1);
      expect(await replicaSetsOf(name)).toBe(3);
      expect(argsOf(after)).toEqual(change === 'append' ? ['first', 'once'] : ['first']);
    },
    120_000,
  );

  it('at random moments of planning and execution, has done everything once in the end', async () => {
    await deploy('shop');
    const before = await workload('shop');
    const names = Array.from({ length: OBJECTS }, (_, index) => `many-${index}`);
    const manifests = names.map((name) => configMap(name, connector.namespace, { text: name.repeat(50) }));
    const moments = [Math.random() * 600, Math.random() * 900];

    const one = await connector.submit({ steps: [applyStep(...manifests), restart('shop')] });
    await sleep(moments[0]); // any moment will do: that is the test
    await replaceWorker();
    await approve(one);
    await sleep(moments[1]);
    await replaceWorker();

    const { phase } = await connector.client.result(one.wpkId);
    expect({ moments, phase }).toEqual({ moments, phase: 'succeeded' });
    const made = await connector.kubectl('get', 'configmaps', '-n', connector.namespace, '-o', 'name');
    expect(names.filter((name) => !made.includes(`configmap/${name}\n`))).toEqual([]);
    expect((await workload('shop')).metadata.generation).toBe(before.metadata.generation + 1);
    expect(await replicaSetsOf('shop')).toBe(2);
    const ends = (await connector.audit({ workflowId: one.workflowId })).filter(
      ({ type }) => type === 'package.succeeded',
    );
    expect(ends).toHaveLength(1);
  }, 180_000);

  it('leaves an audit log that verifies', async () => {
    expect(await connector.byoc('audit', 'verify', connector.prepared.auditDir)).toMatchObject({ code: 0 });
  });
});
