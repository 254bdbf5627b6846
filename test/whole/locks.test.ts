import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ConnectorError } from '../../domain/errors.ts';
import { startWorker } from '../../dev/connector.ts';
import type { Program } from '../../dev/process.ts';
import type { Step } from '../../domain/wpk.ts';
import type { SubmittedPackage } from '../../client/connector-client.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { neverReady } from '../support/kubernetes.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { SlowNetwork } from '../support/slow-network.ts';
import { sharedServices } from '../support/stack.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';

describe('packages that are executed at the same time', () => {
  let network: SlowNetwork;
  let connector: TestConnector;
  let uses = 0;
  const anotherName = () => `locked-${(uses += 1)}`;

  beforeAll(async () => {
    network = await SlowNetwork.start((await sharedServices()).kubernetes);
    connector = await TestConnector.start({ through: network });
  });
  afterAll(async () => {
    await connector.stop();
    await network.stop();
  });

  const approve = ({ workflowId, planDigest }: WaitingPackage) =>
    connector.signalApproval(workflowId, { approver: BOB, planDigest });
  const phaseOf = async ({ wpkId }: SubmittedPackage) => (await connector.client.result(wpkId)).phase;
  /** Approves a package each time that another one has outdated its plan, until it has succeeded. */
  async function seeThrough(one: WaitingPackage): Promise<void> {
    let approved = '';
    await until(
      'it to succeed',
      async () => {
        const { phase, planDigest = '' } = await connector.client.get(one.wpkId);
        if (phase === 'awaiting-approval' && planDigest !== approved) {
          approved = planDigest;
          await approve({ ...one, planDigest });
        }
        return phase === 'succeeded';
      },
      90_000,
    );
  }
  /** Also while no worker answers, because it was killed. */
  const untilWaitingFor = (one: SubmittedPackage, what: string) =>
    until(
      `it to wait for ${what}`,
      async () => {
        try {
          return (await connector.client.get(one.wpkId)).progress?.waitingFor?.includes(what);
        } catch (error) {
          if (error instanceof ConnectorError && error.traits.retryable) return undefined;
          throw error;
        }
      },
      60_000,
    );

  /** From its first step's start to its last one's end, as the audit log has it. */
  async function spanOf({ workflowId }: SubmittedPackage): Promise<readonly [string, string]> {
    const steps = (await connector.audit({ workflowId })).filter(({ type }) => type.startsWith('step.'));
    return [steps[0]?.time ?? '', steps.at(-1)?.time ?? ''];
  }

  /** Some steps that all write the same objects, each with the name of the package and of the step. */
  const steps = (objects: readonly string[], by: string): Step[] =>
    Array.from({ length: 5 }, (_, index) => {
      const manifests = objects.map((name) => configMap(name, connector.namespace, { by, step: String(index) }));
      return { ...applyStep(...manifests), id: `step-${index}` };
    });

  async function holding(name: string): Promise<WaitingPackage> {
    const one = await connector.submitAndPlan({ steps: [neverReady(name, connector.namespace)] });
    await approve(one);
    await untilWaitingFor(one, name);
    return one;
  }
  const scale = (name: string): Step => ({
    id: 'scale',
    action: 'scale',
    target: { kind: 'Deployment', name, namespace: connector.namespace },
    replicas: 1,
  });

  it('on the same objects, never interleave', async () => {
    const objects = Array.from({ length: 4 }, anotherName);
    // The objects must be there, or each package's plan is outdated when the other one has made them.
    const first = await connector.submitAndPlan({
      steps: [applyStep(...objects.map((name) => configMap(name, connector.namespace, {})))],
    });
    await approve(first);
    expect(await phaseOf(first)).toBe('succeeded');

    const packages = await Promise.all(
      ['a', 'b', 'c'].map((by) => connector.submitAndPlan({ steps: steps(objects, by) })),
    );
    await network.holdAnswers(100);
    await Promise.all(packages.map(seeThrough));
    await network.letAnswersThrough();
    const spans = (await Promise.all(packages.map(spanOf))).sort(([a], [b]) => a.localeCompare(b));
    spans.slice(1).forEach(([start], index) => expect(start >= (spans[index]?.[1] ?? '')).toBe(true));
    const found = await Promise.all(objects.map((name) => connector.dataOf(name)));
    expect(new Set(found.map((data) => JSON.stringify(data))).size).toBe(1);
  }, 120_000);

  it('says what it waits for, since when, and goes on when that is stopped', async () => {
    const name = anotherName();
    const holder = await holding(name);
    const waiting = await connector.submitAndPlan({ steps: [scale(name)] });
    await approve(waiting);
    const held = `work package ${holder.wpkId}, which has held Deployment ${connector.namespace}/${name} since 20`;
    await untilWaitingFor(waiting, held);
    expect((await connector.byoc('show', waiting.wpkId)).stdout).toContain(`for ${held}`);
    expect(await connector.read('deployment', name)).toMatchObject({ spec: { replicas: 2 } });
    await connector.client.stop(holder.wpkId);
    expect(await phaseOf(waiting)).toBe('succeeded');
    expect(await connector.read('deployment', name)).toMatchObject({ spec: { replicas: 1 } });
  }, 60_000);

  it('on fifty different objects, all run, and not one after the other', async () => {
    const packages = await Promise.all(
      Array.from({ length: 50 }, () => connector.submit({ steps: steps([anotherName()], 'fifty') })),
    );
    const waiting = await Promise.all(packages.map((one) => connector.untilWaiting(one)));
    await network.holdAnswers(50);
    await Promise.all(waiting.map(approve));
    expect(new Set(await Promise.all(packages.map(phaseOf)))).toEqual(new Set(['succeeded']));
    await network.letAnswersThrough();
    const spans = await Promise.all(packages.map(spanOf));
    const atOnce = spans.map(([start]) => spans.filter(([from, to]) => from <= start && start < to).length);
    expect(Math.max(...atOnce)).toBeGreaterThan(5);
  }, 180_000);

  it('do not wait for one whose worker was killed and whose run was ended from outside', async () => {
    const name = anotherName();
    const holder = await holding(name);
    await connector.killWorker();
    await connector.client.client.workflow.getHandle(holder.workflowId).terminate('a test');
    await connector.startWorker();
    const waiting = await connector.submitAndPlan({ steps: [scale(name)] });
    await approve(waiting);
    expect(await phaseOf(waiting)).toBe('succeeded');
  }, 90_000);

  it('wait for one whose worker was killed, which another worker ends', async () => {
    const name = anotherName();
    const holder = await holding(name);
    await connector.killWorker();
    await connector.startWorker();
    const waiting = await connector.submitAndPlan({ steps: [scale(name)] });
    await approve(waiting);
    await untilWaitingFor(waiting, holder.wpkId);
    await untilWaitingFor(holder, name); // at it again
    await connector.client.stop(holder.wpkId);
    expect(await phaseOf(waiting)).toBe('succeeded');
  }, 90_000);
});

describe('a worker that stood still while another one took its package over', () => {
  const OBJECTS = 200;
  let network: SlowNetwork;
  let connector: TestConnector;
  let second: Program | undefined;
  let folder: string;

  beforeAll(async () => {
    network = await SlowNetwork.start((await sharedServices()).kubernetes);
    connector = await TestConnector.start({ through: network });
    folder = await mkdtemp(join(tmpdir(), 'byoc-second-'));
  });
  afterAll(async () => {
    await second?.stop();
    await connector.stop();
    await network.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('writes nothing for it any more', async () => {
    const names = Array.from({ length: OBJECTS }, (_, index) => `many-${index}`);
    const one = await connector.submitAndPlan({
      steps: [applyStep(...names.map((name) => configMap(name, connector.namespace, {})))],
    });
    await network.holdAnswers(200);
    await connector.signalApproval(one.workflowId, { approver: BOB, planDigest: one.planDigest });
    const made = async () =>
      (await connector.kubectl('get', 'configmaps', '-n', connector.namespace, '-o', 'name')).match(/many-/g)?.length ??
      0;
    await until('some objects', async () => (await made()) > 20);
    connector.pauseWorker();
    expect(await made()).toBeLessThan(OBJECTS);
    await network.letAnswersThrough();
    // It goes its own way to the API server, so that nothing holds up what the first one still has under way.
    const env = {
      ...connector.prepared.env,
      BYOC_WRITER: 'worker-1',
      KUBECONFIG: connector.services.kubernetes.kubeconfig,
    };
    second = await startWorker({ ...connector.prepared, folder, env });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });

    await connector.kubectl('delete', 'configmaps', '-n', connector.namespace, ...names);
    connector.continueWorker();
    await sleep(5_000);
    expect(await made()).toBe(0);
  }, 240_000); // Temporal gives the paused worker's open polls some more tasks, each of which times out
});
