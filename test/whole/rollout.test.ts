import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { TestConnector } from '../support/connector.ts';
import { deployment } from '../support/kubernetes.ts';
import { applyStep } from '../support/packages.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';

/** R1: a rollout of the connector replaces workers all the time; none of them is an emergency stop. */
describe('a worker that is told to end while a package waits for readiness', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    connector = await TestConnector.start({ voters: ['carol@example.com'] });
  });
  afterAll(async () => {
    await labelNodes(`${connector.namespace}-`);
    await connector.stop();
  });

  const labelNodes = (label: string) => connector.kubectl('label', 'nodes', '--all', label);

  it('leaves it to the next one, who carries it to its end', async () => {
    // Until a node has this label the pods wait to be placed, and the step with them.
    const template = {
      nodeSelector: { [connector.namespace]: 'open' },
      containers: [{ name: 'main', image: 'registry.example/app:1' }],
    };
    const spec = { template: { metadata: { labels: { app: 'shop' } }, spec: template } };
    const step = applyStep(deployment(connector.namespace, 'shop', spec));
    const one = await connector.submitAndPlan({ steps: [{ ...step, wait: { for: 'ready', timeoutSeconds: 300 } }] });
    await connector.signalApproval(one.workflowId, { approver: BOB, planDigest: one.planDigest });
    await until('the step to wait', async () => (await connector.client.get(one.wpkId)).progress?.waitingFor);

    const drained = connector.stopWorker();
    await connector.startWorker('worker-1');
    // A vote that comes when it has begun is too late, also for the one who goes on.
    await connector.signalRejection(one.workflowId, { approver: 'carol@example.com', reason: 'too late' });
    await drained;
    expect(await connector.client.get(one.wpkId)).toMatchObject({ phase: 'executing' });

    await labelNodes(`${connector.namespace}=open`);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
    const { timeline, votes } = await connector.client.get(one.wpkId);
    expect(timeline.map(({ phase }) => phase)).toEqual([
      ...['verifying', 'planning', 'awaiting-approval', 'executing', 'succeeded'],
    ]);
    expect(votes).toMatchObject([{ approver: BOB }, { decision: 'reject', refused: { code: 'APPROVAL_CLOSED' } }]);
    const types = (await connector.audit({ workflowId: one.workflowId })).map(({ type }) => type);
    expect(types.filter((type) => type.startsWith('package.'))).toEqual([
      ...['package.verified', 'package.planned', 'package.approved', 'package.succeeded'],
    ]);
  }, 120_000);

  it('leaves audit logs that verify', async () => {
    expect(await connector.byoc('audit', 'verify', connector.prepared.auditDir)).toMatchObject({ code: 0 });
  });
});
