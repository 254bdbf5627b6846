import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { deployment } from '../support/kubernetes.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';

/** R31: an approval covers exactly one plan, and what others do to other parts of the objects is no other plan. */
describe('a package whose objects are changed while it waits for approval', () => {
  let connector: TestConnector;
  let ns: string;
  beforeAll(async () => {
    connector = await TestConnector.start();
    ns = connector.namespace;
  });
  afterAll(() => connector.stop());

  const approve = (one: WaitingPackage) =>
    connector.signalApproval(one.workflowId, { approver: BOB, planDigest: one.planDigest });
  const audited = async ({ workflowId }: WaitingPackage) =>
    (await connector.audit({ workflowId })).map(({ type }) => type).filter((type) => type.startsWith('package.'));

  it('is not carried out where something else would happen: nothing is written, and the new plan is put to the vote', async () => {
    const data = (value: string) => ({ colour: value });
    await connector.kubectl('create', 'configmap', 'other', '-n', ns, '--from-literal=colour=green');
    const one = await connector.submitAndPlan({
      steps: [applyStep(configMap('first', ns, data('blue')), configMap('second', ns, data('blue')))],
    });
    const approvedPlan = await connector.client.plan(one.wpkId);
    await connector.kubectl('create', 'configmap', 'second', '-n', ns, '--from-literal=size=large');

    await approve(one);
    const again = await connector.untilReplanned(one);
    expect(again.planDigest).not.toBe(one.planDigest);
    // The approval is void, and no object was touched, also not the one that is as it was.
    expect(await connector.client.get(one.wpkId)).toMatchObject({
      phase: 'awaiting-approval',
      approvers: [],
      missing: 1,
    });
    expect(await connector.dataOf('first')).toBeUndefined();
    expect(await connector.dataOf('second')).toEqual({ size: 'large' });
    expect(await audited(one)).not.toContain('package.approved');

    const newPlan = await connector.client.plan(one.wpkId);
    expect([approvedPlan, newPlan].map((plan) => plan?.objects.map(({ change }) => change))).toEqual([
      ['create', 'create'],
      ['create', 'update'],
    ]);
    await approve(again);
    expect(await connector.client.result(one.wpkId)).toMatchObject({
      phase: 'succeeded',
      planDigest: again.planDigest,
    });
    expect(await connector.dataOf('first')).toEqual(data('blue'));
    expect(await connector.dataOf('second')).toEqual({ colour: 'blue', size: 'large' });
  }, 60_000);

  it('is carried out as approved where only autoscalers, controllers and others wrote what is theirs', async () => {
    const labels = { app: 'shop' };
    const withImage = (image: string) => {
      const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image }] } };
      return { ...deployment(ns, 'shop'), spec: { selector: { matchLabels: labels }, template } };
    };
    const own = await connector.submitAndPlan({ steps: [applyStep(withImage('registry.example/app:1'))] });
    await approve(own);
    await connector.client.result(own.wpkId);

    const one = await connector.submitAndPlan({
      steps: [applyStep(withImage('registry.example/app:2')), { ...restart(), id: 'again' }],
    });
    const shop = ['deployment/shop', '-n', ns];
    await connector.kubectl('scale', ...shop, '--replicas=3'); // writes the status, too, and counts generations
    await connector.kubectl('rollout', 'status', ...shop, '--timeout=30s');
    await connector.kubectl('annotate', ...shop, 'controller.example/seen=yes');
    await connector.kubectl('label', ...shop, 'team=shop');
    await connector.kubectl('patch', ...shop, '--type=merge', '-p', '{"spec":{"minReadySeconds":1}}');

    await approve(one);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', planDigest: one.planDigest });
    expect(await connector.client.get(one.wpkId)).toMatchObject({ replans: 0 });
    expect(await connector.read('deployment', 'shop')).toMatchObject({
      metadata: { labels: { team: 'shop' }, annotations: { 'controller.example/seen': 'yes' } },
      spec: {
        replicas: 3,
        minReadySeconds: 1,
        template: { spec: { containers: [{ image: 'registry.example/app:2' }] } },
      },
    });
  }, 60_000);

  const restart = () => ({ action: 'restart' as const, target: { kind: 'Deployment', name: 'shop', namespace: ns } });

  it('is put to the vote again as often as that happens, and a rejection ends it', async () => {
    const one = await connector.submitAndPlan({ steps: [applyStep(configMap('restless', ns, { colour: 'blue' }))] });
    await connector.kubectl('create', 'configmap', 'restless', '-n', ns, '--from-literal=a=1');
    await approve(one);
    await connector.untilReplanned(one);
    const second = await connector.untilWaiting(one);
    await connector.kubectl('delete', 'configmap', 'restless', '-n', ns);
    await approve(second);
    await until('the second new plan', async () => (await connector.client.get(one.wpkId)).replans === 2);
    // The cluster is as it was when the first plan was approved, and so is the plan; the vote for it is spent.
    const third = await connector.untilWaiting(one);
    expect(third.planDigest).toBe(one.planDigest);
    await connector.signalRejection(one.workflowId, { approver: BOB, reason: 'too restless' });
    await expect(connector.client.result(one.wpkId)).resolves.toMatchObject({ phase: 'rejected' });
    expect(await connector.dataOf('restless')).toBeUndefined();
  }, 60_000);
});
