import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DateTime } from 'luxon';
import { sha256 } from '../../client/sha256.ts';
import { digestOfSteps } from '../../domain/policy.ts';
import { TestConnector } from '../support/connector.ts';
import { deployment } from '../support/kubernetes.ts';
import { applyStep, configMap, sign } from '../support/packages.ts';
import { policyText, trustingPolicy } from '../support/policies.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';

/** The current policy always decides (R37), also of what waits and of what is under way. */
describe('a policy that changes while the connector runs', () => {
  let connector: TestConnector;
  let uses = 0;
  beforeAll(async () => {
    connector = await TestConnector.start({ policy: trustingPolicy(), voters: ['carol@example.com'] });
  });
  afterAll(() => connector.stop());

  const settings = (name: string) => [applyStep(configMap(name, connector.namespace, {}))];
  const anotherName = () => `settings-${(uses += 1)}`;
  const approve = (workflowId: string, planDigest: string) =>
    connector.signalApproval(workflowId, { approver: BOB, planDigest });

  it('has a package that waits planned again, without anybody voting', async () => {
    const name = anotherName();
    const one = await connector.submitAndPlan({ steps: settings(name) });
    await connector.untilListed(one.wpkId);
    await connector.setPolicy(trustingPolicy('maxValiditySeconds: 80000'));
    const view = await connector.untilReplanned(one);
    expect(view.planDigest).not.toBe(one.planDigest);
    await approve(one.workflowId, one.planDigest); // for the plan under the old policy
    await approve(one.workflowId, view.planDigest);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
    expect((await connector.client.get(one.wpkId)).votes.map(({ refused }) => refused?.code)).toEqual([
      'APPROVAL_PLAN_MISMATCH',
      undefined,
    ]);
  });

  it('denies a package that waits, once it forbids it', async () => {
    const name = anotherName();
    const one = await connector.submitAndPlan({ steps: settings(name) });
    await connector.untilListed(one.wpkId);
    await connector.setPolicy(trustingPolicy('allow: { kinds: [Deployment] }'));
    expect(await connector.client.result(one.wpkId)).toMatchObject({
      phase: 'denied',
      error: { code: 'POLICY_DENIED' },
    });
    await connector.setPolicy(trustingPolicy());
    expect(await connector.dataOf(name)).toBeUndefined();
  });

  it('ends a package at the next write, once it forbids it', async () => {
    const [first, second] = [anotherName(), anotherName()];
    const labels = { app: first };
    // No node has this label, so the pods never get ready and the first step waits.
    const pods = {
      nodeSelector: { 'example.com/none': 'yes' },
      containers: [{ name: 'main', image: 'example/app:1' }],
    };
    const spec = { template: { metadata: { labels }, spec: pods } };
    const wait = { for: 'ready', timeoutSeconds: 60 } as const;
    const one = await connector.submitAndPlan({
      steps: [
        { ...applyStep(deployment(connector.namespace, first, spec)), wait },
        { ...applyStep(configMap(second, connector.namespace, {})), id: 'later' },
      ],
    });
    await approve(one.workflowId, one.planDigest);
    await until('the first step to wait', async () => (await connector.client.get(one.wpkId)).progress?.waitingFor);
    await connector.setPolicy(trustingPolicy('allow: { kinds: [Deployment] }'));
    await connector.kubectl('scale', 'deployment', first, '--replicas=0', '-n', connector.namespace);
    const result = await connector.client.result(one.wpkId);
    await connector.setPolicy(trustingPolicy());
    expect(result).toMatchObject({ phase: 'denied', error: { code: 'POLICY_DENIED' } });
    expect(await connector.dataOf(second)).toBeUndefined();
  });

  it('loses nothing that waits while it is broken', async () => {
    const waits = await connector.submitAndPlan({ steps: settings(anotherName()) });
    await connector.setPolicy(policyText('alow: {}'));
    const { wpkId } = await connector.submit({ steps: settings(anotherName()) });
    const result = await connector.client.result(wpkId);
    expect(result).toMatchObject({ phase: 'denied', error: { code: 'POLICY_INVALID' } });
    expect(result.error?.message).toContain('line 3, column 1');
    await connector.setPolicy(trustingPolicy());
    await approve(waits.workflowId, waits.planDigest);
    expect(await connector.client.result(waits.wpkId)).toMatchObject({ phase: 'succeeded' });
  });

  describe('and has maintenance windows', () => {
    /** A window that opens so many minutes from now, on the clock of a place far away. */
    const windowIn = (minutes: number, effect: 'allow' | 'deny') => {
      const timeZone = 'Pacific/Auckland';
      const at = (offset: number) =>
        DateTime.now().setZone(timeZone).plus({ minutes: offset }).toFormat("yyyy-MM-dd'T'HH:mm");
      return `windows: [{ name: night, effect: ${effect}, timeZone: ${timeZone}, start: '${at(minutes)}', end: '${at(minutes + 60)}' }]`;
    };

    it('lets an approved package wait until one opens, and people may still say no', async () => {
      await connector.setPolicy(trustingPolicy(windowIn(60, 'allow')));
      const name = anotherName();
      const one = await connector.submitAndPlan({ steps: settings(name) });
      await approve(one.workflowId, one.planDigest);
      const view = await until('the vote', async () => {
        const found = await connector.client.get(one.wpkId);
        return found.approvers.length === 1 && found;
      });
      expect(view).toMatchObject({ phase: 'awaiting-approval', missing: 0, window: { open: false } });
      expect(view.window).toHaveProperty('opensAt');
      const shown = await connector.byoc('show', one.wpkId);
      const waits =
        /approved; waits for the window night, opens \d{4}-.*Z \((\d{4}-\d\d-\d\d )?\d\d:\d\d Pacific\/Auckland\)/;
      expect(shown.stdout).toMatch(waits);
      expect((await connector.byoc('list')).stdout).toMatch(waits);
      await connector.client.reject(one.wpkId, { approver: 'carol@example.com', reason: 'not tonight' });
      expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'rejected' });
      expect(await connector.dataOf(name)).toBeUndefined();
    });

    it('runs by itself what waits when one opens: what people approved, without another plan, and what needs nobody', async () => {
      const OPENS_IN_SECONDS = 20;
      const [approved, auto] = [anotherName(), anotherName()];
      const wpk = connector.wpk({ steps: settings(auto), playbook: 'automatic' });
      const listed = `autoApprove: [{ playbook: automatic, stepsDigest: '${digestOfSteps(sha256, wpk)}' }]`;
      const opensAt = DateTime.utc().plus({ seconds: OPENS_IN_SECONDS }).startOf('second');
      const [start, end] = [opensAt, opensAt.plus({ hours: 1 })].map((at) => at.toFormat("yyyy-MM-dd'T'HH:mm:ss"));
      const window = `{ name: soon, effect: allow, timeZone: UTC, start: '${start}', end: '${end}' }`;
      await connector.setPolicy(trustingPolicy(`${listed}\nwindows: [${window}]`));
      const one = await connector.submitAndPlan({ steps: settings(approved) });
      await approve(one.workflowId, one.planDigest);
      const other = await connector.client.submit(sign(wpk, connector.prepared.privateKeyPem));
      const waiting = await connector.untilWaiting(other);
      expect(await connector.client.get(waiting.wpkId)).toMatchObject({ window: { open: false }, missing: 0 });
      expect(await connector.dataOf(auto)).toBeUndefined();

      for (const { wpkId } of [one, other]) {
        expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded' });
        const { timeline } = await connector.client.get(wpkId);
        const began = timeline.find(({ phase }) => phase === 'executing')?.at ?? '';
        expect(Date.parse(began)).toBeGreaterThanOrEqual(opensAt.toMillis() - 50);
      }
      const { timeline } = await connector.client.get(one.wpkId);
      expect(timeline.filter(({ phase }) => phase === 'planning')).toHaveLength(1);
      expect(await connector.dataOf(auto)).toEqual({});
      await connector.setPolicy(trustingPolicy());
    }, 90_000);

    it('runs an approved package when the windows change and let it', async () => {
      await connector.setPolicy(trustingPolicy(windowIn(-10, 'deny')));
      const name = anotherName();
      const one = await connector.submitAndPlan({ steps: settings(name) });
      await connector.untilListed(one.wpkId);
      await connector.setPolicy(trustingPolicy(windowIn(-10, 'allow')));
      const view = await connector.untilReplanned(one);
      await approve(one.workflowId, view.planDigest);
      expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
      await connector.setPolicy(trustingPolicy());
    });
  });
});
