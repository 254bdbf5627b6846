import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { canonicalJson } from '../../domain/digest.ts';
import { sha256 } from '../../client/sha256.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { deployment } from '../support/kubernetes.ts';
import { policyText } from '../support/policies.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';

describe('a package on its way', () => {
  let connector: TestConnector;
  let uses = 0;
  const anotherName = () => `settings-${(uses += 1)}`;

  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  const settings = (name: string) => [applyStep(configMap(name, connector.namespace, { colour: 'blue' }))];
  const approve = ({ workflowId, planDigest }: WaitingPackage) =>
    connector.signal(workflowId, 'approve', { approver: BOB, planDigest });
  const stopOf = async ({ wpkId }: { wpkId: string }) => {
    const entry = (await connector.audit()).find(({ type, wpk }) => type === 'package.stopped' && wpk === wpkId);
    if (!entry) throw new Error('the stop is not in the audit log');
    return entry;
  };
  const typesIn = async ({ workflowId }: { workflowId: string }) =>
    (await connector.audit({ workflowId })).map(({ type }) => type);

  it('passes all phases and tells them in status, search attributes and audit log', async () => {
    const one = await connector.submitAndPlan({ steps: settings(anotherName()) });
    await approve(one);
    await connector.client.result(one.wpkId);
    const { timeline } = await connector.client.get(one.wpkId);
    expect(timeline.map(({ phase }) => phase)).toEqual([
      ...['verifying', 'planning', 'awaiting-approval', 'executing', 'succeeded'],
    ]);
    expect(await typesIn(one)).toEqual([
      ...['package.verified', 'package.planned', 'vote.recorded', 'package.approved'],
      ...['step.started', 'step.finished', 'package.succeeded'],
    ]);
    const description = await connector.client.client.workflow.getHandle(one.workflowId).describe();
    const attributes = description.typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]);
    expect(Object.fromEntries(attributes)).toMatchObject({
      ByocCluster: connector.clusterId,
      ByocPhase: 'succeeded',
      ByocRisk: 'low',
      ByocPlaybook: 'settings@1',
    });
    expect(await description.staticSummary()).toBe('change-settings (playbook settings), as submitted');
  });

  it('runs without a person where the policy approves exactly these steps and the risk is low', async () => {
    const steps = settings(anotherName());
    const stepsDigest = sha256(canonicalJson(steps));
    await connector.setPolicy(`${policy('')}autoApprove: [{ playbook: settings, stepsDigest: '${stepsDigest}' }]\n`);
    const listed = await connector.submit({ steps });
    const others = await connector.submitAndPlan({ steps: settings(anotherName()) });
    const risky = await connector.submitAndPlan({ steps, risk: 'medium' });
    expect(await connector.client.result(listed.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [] });
    await connector.setPolicy(policy(''));
    for (const { wpkId } of [others, risky]) await connector.client.stop(wpkId);
  });

  it('expires when nobody answers in time, and nothing is written', async () => {
    await connector.setPolicy(policy('timeoutSeconds: 1'));
    const name = anotherName();
    const one = await connector.submit({ steps: settings(name) });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'expired' });
    await connector.setPolicy(policy(''));
    expect(await connector.dataOf(name)).toBeUndefined();
    expect(await typesIn(one)).toEqual(['package.verified', 'package.planned', 'package.expired']);
  });

  it('expires with the package itself when that comes first', async () => {
    const one = await connector.submit({ steps: settings(anotherName()), expiresAt: new Date(Date.now() + 1_500) });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'expired' });
  });

  it('goes back with the new plan when the cluster changes between approval and execution', async () => {
    const name = anotherName();
    const one = await connector.submitAndPlan({ steps: settings(name) });
    await connector.kubectl('create', 'configmap', name, '-n', connector.namespace, '--from-literal=size=large');
    await approve(one);
    const status = await connector.untilReplanned(one);
    expect(status.planDigest).not.toBe(one.planDigest);
    expect(status.approvers).toEqual([]);
    expect(await connector.dataOf(name)).toEqual({ size: 'large' });
    expect(await connector.client.plan(one.wpkId)).toMatchObject({ objects: [{ change: 'update' }] });
    expect(await connector.client.replacedPlan(one.wpkId)).toMatchObject({ objects: [{ change: 'create' }] });
    const details = await connector.temporal('workflow', 'metadata', '--workflow-id', one.workflowId, '-o', 'json');
    for (const text of [details, (await connector.byoc('show', one.wpkId)).stdout]) {
      expect(text).toContain('The cluster changed');
      expect(text).toContain(one.planDigest);
      expect(text).toMatch(/- (create|ConfigMap)|not as approved/);
    }

    await approve({ ...one, planDigest: status.planDigest ?? '' });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
    expect(await connector.dataOf(name)).toEqual({ size: 'large', colour: 'blue' });
  });

  it('is planned again when the policy has changed, under the new one', async () => {
    const one = await connector.submitAndPlan({ steps: settings(anotherName()) });
    await connector.setPolicy(policy('low: 3'));
    await approve(one);
    expect(await connector.untilReplanned(one)).toMatchObject({ requirement: { quorum: 3 }, missing: 3 });
    await connector.setPolicy(policy(''));
    await connector.client.stop(one.wpkId);
  });

  it.each([
    ['forbids it meanwhile', policyText('allow: { kinds: [] }'), 'POLICY_DENIED'],
    ['cannot be read any more', 'apiVersion: [', 'POLICY_INVALID'],
  ])('is denied when the policy %s', async (_, text, code) => {
    const name = anotherName();
    const one = await connector.submitAndPlan({ steps: settings(name) });
    await connector.setPolicy(text);
    await approve(one);
    const result = await connector.client.result(one.wpkId);
    await connector.setPolicy(policy(''));
    expect(result).toMatchObject({ phase: 'denied', error: { code } });
    expect(await connector.dataOf(name)).toBeUndefined();
    expect(await typesIn(one)).toEqual(expect.arrayContaining(['call.refused', 'package.denied']));
  });

  it('stops while it waits for approval, and a later vote starts nothing', async () => {
    const name = anotherName();
    const one = await connector.submitAndPlan({ steps: settings(name) });
    const said = { by: BOB, reason: 'wrong version' };
    expect(await connector.client.stop(one.wpkId, said)).toMatchObject({ phase: 'stopped' });
    expect(await connector.client.get(one.wpkId)).toMatchObject({ phase: 'stopped', stop: said });
    await expect(
      connector.client.approve(one.wpkId, { approver: BOB, planDigest: one.planDigest }),
    ).rejects.toMatchObject({
      code: 'APPROVAL_CLOSED',
    });
    expect(await connector.dataOf(name)).toBeUndefined();
    expect(await typesIn(one)).toEqual(['package.verified', 'package.planned', 'package.stopped']);
    expect(await stopOf(one)).toMatchObject({
      ...{ actor: { id: BOB, proof: 'asserted' }, detail: { reason: 'wrong version' } },
    });
  });

  it.each<[string, readonly unknown[]]>([
    ['says nothing, as the Temporal UI does', []],
    ['says what cannot be read', [{ by: 7 }, 'bob', null, { reason: 'no name' }, { by: BOB, reason: {} }]],
  ])('stops just as well for whoever %s', async (_, said) => {
    const one = await connector.submitAndPlan({ steps: settings(anotherName()) });
    for (const argument of said) await connector.signal(one.workflowId, 'stopRequested', argument);
    await connector.temporal('workflow', 'cancel', '--workflow-id', one.workflowId);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'stopped' });
    const { actor, detail } = await stopOf(one);
    expect(actor).toEqual({ id: 'byoc-connector', proof: 'system' });
    expect(detail).not.toHaveProperty('reason');
  });

  it('keeps no more of who stops it and why than it can hold', async () => {
    const one = await connector.submitAndPlan({ steps: settings(anotherName()) });
    await connector.client.stop(one.wpkId, { by: 'b'.repeat(10_000), reason: 'r'.repeat(10_000) });
    const { stop } = await connector.client.get(one.wpkId);
    expect(stop).toEqual({ by: 'b'.repeat(256), reason: 'r'.repeat(1_000) });
  });

  it('stops in the middle of the execution: what was done stays, what would have come does not', async () => {
    const [first, second] = [anotherName(), anotherName()];
    // No node has this label, so the pods never get ready and the step waits.
    const template = {
      nodeSelector: { 'example.com/none': 'yes' },
      containers: [{ name: 'main', image: 'registry.example/app:1' }],
    };
    const labels = { app: first };
    const spec = { template: { metadata: { labels }, spec: template } };
    const wait = { for: 'ready', timeoutSeconds: 300 } as const;
    const one = await connector.submitAndPlan({
      steps: [
        { ...applyStep(deployment(connector.namespace, first, spec)), wait },
        { ...applyStep(configMap(second, connector.namespace, {})), id: 'later' },
      ],
    });
    await approve(one);
    await until('the step to wait', async () => (await connector.client.get(one.wpkId)).progress?.waitingFor);
    const stopped = await connector.client.stop(one.wpkId);
    expect(stopped).toMatchObject({ phase: 'stopped', report: { steps: [{ id: 'apply', outcome: 'partial' }] } });
    expect(await connector.read('deployment', first)).toBeDefined();
    expect(await connector.dataOf(second)).toBeUndefined();
    expect(await typesIn(one)).toEqual(expect.arrayContaining(['step.finished', 'package.stopped']));
  });
});

function policy(approvals: string): string {
  return policyText(`approvals: { acceptAsserted: true, ${approvals} }`);
}
