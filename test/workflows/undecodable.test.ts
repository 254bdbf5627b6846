import { deflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Payload } from '@temporalio/common';
import fc from 'fast-check';
import { taskQueueOf, workflowIdOf } from '../../domain/names.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { until } from '../support/until.ts';

const BOB = 'bob@example.com';
const SIGNALS_A_PACKAGE = 20;
const PACKAGES = 5;

describe('messages that cannot be decoded', () => {
  let connector: TestConnector;
  beforeAll(async () => {
    connector = await TestConnector.start();
  });
  afterAll(() => connector.stop());

  const service = () => connector.client.client.workflowService;
  const execution = ({ workflowId, runId }: WaitingPackage) => ({
    namespace: connector.services.temporal.namespace,
    workflowExecution: { workflowId, runId },
  });
  const sendSignal = (one: WaitingPackage, signalName: string, payloads: Payload[]) =>
    service().signalWorkflowExecution({
      ...execution(one),
      signalName,
      input: { payloads },
      header: { fields: headers(payloads) },
    });

  /** The run still hears what it is told, and none of its tasks has failed. */
  async function expectUnharmed(one: WaitingPackage): Promise<void> {
    await connector.signal(one.workflowId, 'approve', { approver: BOB, planDigest: one.planDigest });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
    const { events } = await connector.client.client.workflow.getHandle(one.workflowId).fetchHistory();
    expect((events ?? []).filter((event) => event.workflowTaskFailedEventAttributes)).toEqual([]);
  }

  it('are recorded without effect when the temporal command sends them', async () => {
    const one = await connector.submitAndPlan();
    const garbage = Buffer.from('\u0000not json\u00ff', 'latin1').toString('base64');
    const sent = [
      ['--input', '"no object"'],
      ['--input-meta', 'encoding=json/protobuf', '--input', '{}'],
      ...['binary/plain', 'binary/zlib', 'binary/encrypted', 'nonsense'].map((encoding) => [
        ...['--input-meta', `encoding=${encoding}`, '--input-base64', '--input', garbage],
      ]),
    ];
    for (const input of sent) {
      await connector.temporal('workflow', 'signal', '--workflow-id', one.workflowId, '--name', 'approve', ...input);
    }
    const votes = await until('the votes', async () => {
      const { votes } = await connector.client.get(one.wpkId);
      return votes.length === sent.length && votes;
    });
    expect(votes.map(({ refused }) => refused?.code)).toEqual(sent.map(() => 'APPROVAL_MALFORMED'));
    await expectUnharmed(one);
  });

  it('do no harm, whatever bytes and encodings they are of', async () => {
    const signal = fc.tuple(
      fc.constantFrom('approve', 'reject', 'no-such-signal'),
      fc.array(payload, { maxLength: 2 }),
    );
    const signals = fc.array(signal, { minLength: SIGNALS_A_PACKAGE, maxLength: SIGNALS_A_PACKAGE });
    await fc.assert(
      fc.asyncProperty(signals, async (sent) => {
        const one = await connector.submitAndPlan();
        await Promise.all(sent.map(([name, payloads]) => sendSignal(one, name, payloads)));
        await expectUnharmed(one);
      }),
      { numRuns: PACKAGES, endOnFailure: true },
    );
  });

  it('are refused with the reason as an update, and harm no query', async () => {
    const one = await connector.submitAndPlan();
    for (const broken of [{ metadata: { encoding: Buffer.from('binary/zlib') }, data: Buffer.from('x') }, {}]) {
      const args = { payloads: [broken] };
      const { outcome } = await service().updateWorkflowExecution({
        ...execution(one),
        waitPolicy: { lifecycleStage: 3 }, // completed
        request: { meta: { updateId: `update-${JSON.stringify(broken).length}` }, input: { name: 'decide', args } },
      });
      expect(outcome?.failure?.applicationFailureInfo?.type).toBe('APPROVAL_MALFORMED');
      const { namespace, workflowExecution } = execution(one);
      const query = { queryType: 'status', queryArgs: args };
      await expect(service().queryWorkflow({ namespace, execution: workflowExecution, query })).resolves.toBeDefined();
    }
    await expectUnharmed(one);
  });

  it('are recorded without effect where they are bombs, and the worker lives on', async () => {
    const one = await connector.submitAndPlan();
    const bomb = {
      metadata: { encoding: Buffer.from('binary/zlib') },
      data: deflateSync(Buffer.alloc(256 * 1024 * 1024)),
    };
    const nearly = { ...bomb, data: deflateSync(Buffer.alloc(8 * 1024 * 1024 - 1)) };
    await sendSignal(one, 'approve', [bomb]);
    await sendSignal(
      one,
      'reject',
      Array.from({ length: 50 }, () => nearly),
    );
    const votes = await until('the votes', async () => {
      const { votes } = await connector.client.get(one.wpkId);
      return votes.length === 2 && votes;
    });
    expect(votes.map(({ refused }) => refused?.code)).toEqual(['APPROVAL_MALFORMED', 'APPROVAL_MALFORMED']);
    await expectUnharmed(one);
  });

  it('leave the emergency stop working', async () => {
    const one = await connector.submitAndPlan();
    await sendSignal(one, 'approve', [{ metadata: { encoding: Buffer.from('binary/zlib') }, data: Buffer.from('x') }]);
    expect(await connector.client.stop(one.wpkId)).toMatchObject({ phase: 'stopped' });
  });

  it.each([
    ['cannot be decoded', [{ metadata: { encoding: Buffer.from('binary/zlib') }, data: Buffer.from('x') }]],
    ['is missing', []],
    ['is no package', [{ metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('[1]') }]],
  ])('deny a package whose argument %s, and the log tells', async (_, payloads) => {
    const workflowId = workflowIdOf(
      connector.clusterId,
      `unreadable-${payloads.length}-${payloads[0]?.data.length ?? 0}`,
    );
    await service().startWorkflowExecution({
      namespace: connector.services.temporal.namespace,
      requestId: workflowId,
      workflowId,
      workflowType: { name: 'executeWpk' },
      taskQueue: { name: taskQueueOf(connector.clusterId, 'execution') },
      input: { payloads },
    });
    const handle = connector.client.client.workflow.getHandle(workflowId);
    await expect(handle.result()).rejects.toMatchObject({ cause: { type: 'BUNDLE_MALFORMED' } });
    expect(await connector.audit({ workflowId })).toMatchObject([
      { type: 'call.refused', outcome: 'refused', detail: { code: 'BUNDLE_MALFORMED' } },
      { type: 'package.denied', outcome: 'refused' },
    ]);
  });
});

const bytes = fc.uint8Array({ maxLength: 200 });
const encoding = fc.oneof(
  fc.constantFrom('json/plain', 'binary/plain', 'binary/null', 'binary/zlib', 'json/protobuf', 'binary/protobuf'),
  fc.string({ maxLength: 20 }),
);
/** A stream that unpacks to more than a payload may be, one to nothing of meaning, and JSON of any kind. */
const data = fc.oneof(
  bytes,
  bytes.map((raw) => deflateSync(raw)),
  fc.constant(deflateSync(Buffer.alloc(9 * 1024 * 1024))),
  fc.json().map((text) => Buffer.from(text)),
);
const payload = fc.record({
  metadata: fc.option(
    encoding.map((name): Record<string, Uint8Array> => ({ encoding: Buffer.from(name) })),
    { nil: {} },
  ),
  data,
});

function headers(payloads: Payload[]): Record<string, Payload> {
  return Object.fromEntries(payloads.map((one, index) => [`header-${index}`, one]));
}
