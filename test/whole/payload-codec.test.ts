import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Payload } from '@temporalio/common';
import { defaultPayloadConverter } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import { WorkflowFailedError } from '@temporalio/client';
import { Agent, request } from 'undici';
import { EncryptionCodec } from '../../client/data-converter/encryption-codec.ts';
import { KeyRing } from '../../client/data-converter/key-ring.ts';
import type { ConnectorClient, SubmittedPackage } from '../../client/connector-client.ts';
import type { Step } from '../../domain/wpk.ts';
import { TestConnector } from '../support/connector.ts';
import { scheduleIdOf, taskQueueOf } from '../../domain/names.ts';
import { asyncErrorOf } from '../support/expect-code.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { ownStack, sharedServices } from '../support/stack.ts';
import { TokenIssuer } from '../support/token-issuer.ts';
import { until } from '../support/until.ts';
import { callVault } from '../support/vault.ts';

// R26, R28

const CANARY = 'canary-8c5e1f02';
const BOB = 'bob@example.com';
const KEYLESS = { BYOC_PAYLOAD_CODEC: 'off' };

describe('a connector that encrypts what it tells Temporal', () => {
  let connector: TestConnector;
  let keyless: ConnectorClient;
  let issuer: TokenIssuer;
  const dispatcher = new Agent();

  beforeAll(async () => {
    issuer = await TokenIssuer.create();
    connector = await TestConnector.start({
      clothes: 'development', // and only this of production: what is asserted is read as well as what is signed
      encrypted: true,
      env: { BYOC_AGENT_PORT: '0', BYOC_AGENT_JWT_ISSUER: issuer.issuer, BYOC_AGENT_JWT_KEYS: 'jwks.json' },
      files: { 'jwks.json': await issuer.jwks() },
    });
    keyless = await connector.keyless();
  });
  afterAll(async () => {
    await connector.stop();
    await keyless.close();
    await dispatcher.close();
  });

  const secret = (name: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: connector.namespace, annotations: { note: CANARY } },
    stringData: { password: CANARY },
  });
  /** A package that has the canary wherever a package can have it. */
  const told = (name: string) => ({
    steps: [applyStep(secret(name), configMap(`${name}-settings`, connector.namespace, { [CANARY]: CANARY }))],
  });
  const service = () => connector.client.client.workflowService;
  const execution = ({ workflowId, runId }: SubmittedPackage) => ({
    namespace: connector.services.temporal.namespace,
    execution: { workflowId, runId },
  });
  const rawHistory = async (one: SubmittedPackage) =>
    (await service().getWorkflowExecutionHistory(execution(one))).history ?? {};
  const encodingsOf = (history: temporal.api.history.v1.IHistory) => [
    ...new Set(payloadsIn(temporal.api.history.v1.History.toObject(history as never)).map(encodingOf)),
  ];
  const approve = ({ wpkId }: SubmittedPackage, planDigest: string) =>
    connector.client.approve(wpkId, { approver: BOB, planDigest, comment: CANARY });

  it('says in summary and details, which the UI has its own server show, nothing that Temporal may not read', async () => {
    const one = await connector.submitAndPlan(told('undisclosed'));
    const run = connector.client.client.workflow.getHandle(one.workflowId);
    expect(await (await run.describe()).staticSummary()).toBeUndefined();
    const { currentDetails } = await run.query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(currentDetails).toContain(`byoc show ${one.wpkId}`);
    for (const word of [CANARY, 'change-settings', 'undisclosed']) expect(currentDetails).not.toContain(word);
    await connector.client.stop(one.wpkId);
  });

  it('carries a package out of which Temporal sees nothing: not in its history, nor wherever else it keeps things', async () => {
    const one = await connector.submitAndPlan(told('hidden'));
    expect(await connector.client.plan(one.wpkId)).toMatchObject({ digest: one.planDigest });
    await approve(one, one.planDigest);
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });

    const history = await rawHistory(one);
    expect(history.events?.length).toBeGreaterThan(10);
    expect(encodingsOf(history)).toEqual(['binary/encrypted']);
    const description = await service().describeWorkflowExecution(execution(one));
    const { namespace, execution: workflow } = execution(one);
    const query = (queryType: string) =>
      service().queryWorkflow({ namespace, execution: workflow, query: { queryType } });
    const answers = await Promise.all(['status', 'plan', '__temporal_workflow_metadata'].map(query));
    const shown = [
      await connector.temporal('workflow', 'show', '--workflow-id', one.workflowId, '--output', 'json'),
      await connector.temporal('workflow', 'describe', '--workflow-id', one.workflowId, '--output', 'json'),
    ];
    for (const place of [history, description, ...answers, ...shown]) {
      const bytes = everythingIn(place);
      for (const word of [CANARY, 'change-settings', 'hidden-settings', BOB, one.planDigest]) {
        expect({ word, isTold: tells(bytes, word) }).toEqual({ word, isTold: false });
      }
    }
    // What is in clear is what docs/data-protection.md says.
    expect(
      await connector.temporal('workflow', 'describe', '--workflow-id', one.workflowId, '--output', 'json'),
    ).toContain('ByocPhase');
  });

  it('tells nothing of a failure but its code', async () => {
    const wrong = { ...configMap(`Wrong_${CANARY}`, connector.namespace, {}) };
    const one = await connector.submit({ steps: [applyStep(wrong)] });
    const result = await connector.client.result(one.wpkId);
    expect(result).toMatchObject({
      phase: 'failed',
      error: { code: 'PLAN_REJECTED', message: expect.stringContaining(CANARY) },
    });
    const history = await rawHistory(one);
    expect(tells(everythingIn(history), CANARY)).toBe(false);
    const failure = history.events?.at(-1)?.workflowExecutionFailedEventAttributes?.failure;
    expect(failure).toMatchObject({
      message: 'Encoded failure',
      stackTrace: '',
      applicationFailureInfo: { type: 'PLAN_REJECTED' },
    });
    expect(await keyless.result(one.wpkId)).toMatchObject({ phase: 'failed', error: { code: 'PLAN_REJECTED' } });
  });

  it('tells of what it is at only to those with the key', async () => {
    const wait: Step = {
      id: 'wait',
      action: 'wait',
      target: { kind: 'ConfigMap', name: `never-${CANARY}`, namespace: connector.namespace },
      for: { jsonPath: '$.data.never', equals: CANARY },
      timeoutSeconds: 600,
    };
    const one = await connector.submitAndPlan({ steps: [wait] });
    await approve(one, one.planDigest);
    const view = await connector.untilView(one.wpkId, ({ progress }) => progress !== undefined);
    expect(view).toMatchObject({ phase: 'executing', progress: { step: 'wait' } });
    expect(await keyless.get(one.wpkId)).toMatchObject({ sealed: true, phase: 'executing' });
    expect(await keyless.get(one.wpkId)).not.toHaveProperty('progress');
    const { pendingActivities } = await service().describeWorkflowExecution(execution(one));
    const [pending] = pendingActivities ?? [];
    expect(pending?.heartbeatDetails?.payloads?.map(encodingOf)).toEqual(['binary/encrypted']);
    // A stop is given although the command's Vault is away.
    const stopped = await connector.byocWith({ VAULT_ADDR: 'https://127.0.0.1:1' }, 'stop', one.wpkId);
    expect(stopped).toMatchObject({ code: 0, stdout: 'stopped\n' });
  });

  it('takes a package by POST /execute that Temporal never sees in clear', async () => {
    const { port } = (await until('the agent to listen', async () =>
      (await connector.log()).find(({ message }) => message === 'the agent listens'),
    )) as { port: number };
    const answer = await request(`http://127.0.0.1:${port}/execute`, {
      dispatcher,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${await issuer.token(`byoc/${connector.clusterId}`)}`,
      },
      body: JSON.stringify(connector.signed(told('by-http'))),
    });
    expect(answer.statusCode).toBe(202);
    const { id } = (await answer.body.json()) as { id: string };
    const {
      planDigest = '',
      workflowId,
      runId,
    } = await connector.untilView(id, ({ phase }) => phase === 'awaiting-approval');
    const history = await rawHistory({ wpkId: id, workflowId, runId });
    expect(encodingsOf(history)).toEqual(['binary/encrypted']);
    expect(tells(everythingIn(history), CANARY)).toBe(false);
    await connector.client.reject(id, { approver: BOB, planDigest, reason: 'no longer wanted' });
  });

  it("leaves the connector's own runs readable, which processes without a key take part in", async () => {
    const schedule = scheduleIdOf(connector.clusterId, 'reconcile');
    await connector.client.client.schedule.getHandle(schedule).trigger();
    const run = await until('a run of the schedule', async () => {
      const { recentActions } = (await connector.client.client.schedule.getHandle(schedule).describe()).info;
      return recentActions.at(-1)?.action.workflow;
    });
    await connector.client.client.workflow.getHandle(run.workflowId).result();
    const history = await rawHistory({ wpkId: '', workflowId: run.workflowId, runId: run.firstExecutionRunId });
    expect(encodingsOf(history)).toEqual(['json/plain']);
  });

  it('says nothing again in clear that somebody copies into a run whose payloads are plain', async () => {
    const one = await connector.submitAndPlan(told('copied'));
    const { events } = await rawHistory(one);
    const input = events?.[0]?.workflowExecutionStartedEventAttributes?.input ?? null;
    expect(input?.payloads?.map(encodingOf)).toEqual(['binary/encrypted']);
    const workflowId = scheduleIdOf(connector.clusterId, 'copied');
    const { runId } = await service().startWorkflowExecution({
      namespace: connector.services.temporal.namespace,
      requestId: workflowId,
      workflowId,
      workflowType: { name: 'executeWpk' },
      taskQueue: { name: taskQueueOf(connector.clusterId, 'execution') },
      input,
    });
    const handle = connector.client.client.workflow.getHandle(workflowId);
    await expect(handle.result()).rejects.toMatchObject({ cause: { type: 'CALLER_UNTRUSTED' } });
    expect(tells(everythingIn(await rawHistory({ wpkId: '', workflowId, runId: runId ?? '' })), CANARY)).toBe(false);
    await connector.client.stop(one.wpkId);
  });

  it.each(['executeWpk', 'rollbackWpk'])(
    'says of a %s under an id of its own runs that it is none, and nothing of what was sent or is wrong with it',
    async (type) => {
      const signed = connector.signed({ ...told('plain'), clusterId: `other-${CANARY}` });
      const workflowId = scheduleIdOf(connector.clusterId, `plain-${type}`);
      const handle = await connector.client.client.workflow.signalWithStart(type, {
        args: [type === 'executeWpk' ? signed : { signed }],
        workflowId,
        taskQueue: taskQueueOf(connector.clusterId, 'execution'),
        signal: 'approve', // which has to be there before the run has ended
        signalArgs: [{ approver: BOB, statement: { nobody: 'signed this' } }],
      });
      const failure: unknown = await handle.result().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(WorkflowFailedError);
      const { events = [] } = await handle.fetchHistory();
      // What was sent, and is handed on as it is, is the sender's own words.
      const answers = (events ?? []).filter(
        (event) =>
          !event.workflowExecutionStartedEventAttributes &&
          !event.workflowExecutionSignaledEventAttributes &&
          !event.activityTaskScheduledEventAttributes,
      );
      const bytes = everythingIn(answers);
      expect(bytes).toContain('CALLER_UNTRUSTED');
      for (const word of [CANARY, 'WPK_WRONG_CLUSTER', 'It names', 'could not be checked']) {
        expect({ word, isTold: tells(bytes, word) }).toEqual({ word, isTold: false });
      }
      const [refused] = (await connector.audit({ workflowId })).filter(({ type: of }) => of === 'call.refused');
      expect(refused?.detail).toMatchObject({
        code: 'CALLER_UNTRUSTED',
        detail: expect.stringContaining('is not the run of a package'),
      });
    },
  );

  it('lets a control plane without a key start, follow and stop packages, and vote', async () => {
    const submitted = await keyless.submit(connector.signed(told('keyless')));
    const { wpkId } = submitted;
    const { planDigest } = await connector.untilWaiting(submitted);
    expect(await keyless.get(wpkId)).toMatchObject({ sealed: true, phase: 'awaiting-approval', votes: [] });
    expect(await asyncErrorOf(() => keyless.plan(wpkId))).toMatchObject({ code: 'PAYLOAD_SEALED' });
    await connector.untilListed(wpkId);
    expect(await keyless.list()).toContainEqual(expect.objectContaining({ wpkId, phase: 'awaiting-approval' }));
    expect(
      await asyncErrorOf(() => keyless.approve(wpkId, { approver: BOB, planDigest: `sha256:${'0'.repeat(64)}` })),
    ).toMatchObject({
      code: 'APPROVAL_PLAN_MISMATCH',
    });
    const phases: string[] = [];
    const watching = (async () => {
      for await (const { phase } of keyless.watch(wpkId)) phases.push(phase);
    })();
    expect(await keyless.approve(wpkId, { approver: BOB, planDigest })).toMatchObject({ sealed: true });
    await watching;
    expect(phases.at(-1)).toBe('succeeded');
    expect(await keyless.result(wpkId)).toEqual({ phase: 'succeeded', wpkId, approvers: [] });

    const other = await keyless.submit(connector.signed(told('keyless-stopped')));
    await connector.untilWaiting(other);
    expect(await keyless.stop(other.wpkId, { by: 'oncall', reason: 'wrong one' })).toMatchObject({ phase: 'stopped' });
    const [stopped] = (await connector.audit({ workflowId: other.workflowId })).filter(
      ({ type }) => type === 'package.stopped',
    );
    expect(stopped).toMatchObject({ actor: { id: 'oncall' }, detail: { reason: 'wrong one' } });
  });

  it('counts a plain vote of the temporal command, and none that is encrypted with another key', async () => {
    const one = await connector.submitAndPlan(told('votes'));
    const stranger = new EncryptionCodec(
      new KeyRing({ load: () => Promise.resolve([{ name: 'first', secret: randomBytes(32) }]) }),
      { clusterId: connector.clusterId, namespace: connector.services.temporal.namespace },
    );
    const vote = { approver: BOB, planDigest: one.planDigest };
    const signal = (payloads: Payload[]) =>
      service().signalWorkflowExecution({
        namespace: connector.services.temporal.namespace,
        workflowExecution: { workflowId: one.workflowId },
        signalName: 'approve',
        input: { payloads },
      });
    await signal(await stranger.encode([defaultPayloadConverter.toPayload(vote)]));
    const { votes } = await connector.untilView(one.wpkId, (view) => view.votes.length === 1);
    expect(votes[0]?.refused?.code).toBe('APPROVAL_MALFORMED');

    const stopped = await connector.submitAndPlan(told('stopped'));
    await service().signalWorkflowExecution({
      namespace: connector.services.temporal.namespace,
      workflowExecution: { workflowId: stopped.workflowId },
      signalName: 'no-such-signal',
      input: { payloads: await stranger.encode([defaultPayloadConverter.toPayload('x')]) },
    });
    expect(await connector.client.stop(stopped.wpkId)).toMatchObject({ phase: 'stopped' });

    await connector.temporal(
      ...['workflow', 'signal', '--workflow-id', one.workflowId, '--name', 'approve', '--input', JSON.stringify(vote)],
    );
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
    for (const run of [one, stopped]) {
      expect((await rawHistory(run)).events?.filter((event) => event.workflowTaskFailedEventAttributes)).toEqual([]);
    }
  });

  it('shows the byoc command with a key everything, and without one where the package stands', async () => {
    const one = await connector.submitAndPlan(told('command'));
    const sighted = await connector.byoc('show', one.wpkId);
    expect(sighted).toMatchObject({ code: 0, stdout: expect.stringContaining(one.planDigest) });
    const blind = await connector.byocWith(KEYLESS, 'show', one.wpkId);
    expect(blind).toMatchObject({ code: 0, stdout: expect.stringContaining('The rest is encrypted') });
    expect(blind.stdout).not.toContain(one.planDigest);
    expect(blind.stdout).toContain('How many approvals are missing, and until when, is not known without the key.');
    expect(blind.stdout).not.toContain('more needed');
    expect(
      await connector.byocWith(KEYLESS, 'approve', one.wpkId, '--as', BOB, '--plan', one.planDigest),
    ).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('PAYLOAD_SEALED'),
    });
    expect(await connector.byoc('approve', one.wpkId, '--as', BOB, '--plan', one.planDigest)).toMatchObject({
      code: 0,
    });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded' });
  });

  it('goes over to another key in the middle of a run, without a restart, and reads both after one', async () => {
    const one = await connector.submitAndPlan(told('rotated'));
    await connector.putVaultEntry('payload-keys/second', {
      key: randomBytes(32).toString('base64'),
      writeFrom: new Date(Date.now() - 1_000).toISOString(),
    });
    const environment = { ...connector.prepared.env };
    expect(environment['BYOC_PAYLOAD_CODEC']).toBe('vault');
    // Another process knows the new key before the worker does.
    expect(await connector.byoc('approve', one.wpkId, '--as', BOB, '--plan', one.planDigest)).toMatchObject({
      code: 0,
    });
    expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
    const ids = payloadsIn(temporal.api.history.v1.History.toObject((await rawHistory(one)) as never)).map((payload) =>
      Buffer.from(payload.metadata?.['encryption-key-id'] ?? []).toString(),
    );
    expect(ids[0]).toBe(`${connector.clusterId}/first`);
    expect(ids.at(-1)).toBe(`${connector.clusterId}/second`);

    await connector.stopWorker();
    await connector.startWorker();
    expect(await connector.client.get(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
    const read = (await connector.audit()).filter(({ type }) => type === 'secret.read');
    expect(JSON.stringify(read)).toContain(`byoc/${connector.clusterId}/payload-keys/second`);
  });

  it('does not start where there is no key, and says so', async () => {
    await connector.stopWorker();
    for (const name of ['first', 'second']) {
      const path = `secret/metadata/byoc/${connector.clusterId}/payload-keys/${name}`;
      await callVault(connector.services.vault, 'DELETE', path);
    }
    await expect(connector.startWorker()).rejects.toThrow('PAYLOAD_KEYS_UNAVAILABLE');
  });
});

describe('a connector whose Vault goes away', () => {
  it('goes on encrypting and decrypting with the keys that it has', async () => {
    const own = await ownStack(['vault']);
    const connector = await TestConnector.start({
      clothes: 'development',
      encrypted: true,
      services: { ...(await sharedServices()), vault: own.vault },
    });
    try {
      const one = await connector.submitAndPlan();
      await own.kill('openbao');
      await connector.client.approve(one.wpkId, { approver: BOB, planDigest: one.planDigest });
      expect(await connector.client.result(one.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
      const { events } = await connector.client.client.workflow.getHandle(one.workflowId).fetchHistory();
      expect(payloadsIn(events?.at(-1)).map(encodingOf)).toEqual(['binary/encrypted']);
    } finally {
      await connector.stop();
      await own.stop();
    }
  }, 120_000);
});

describe('a connector whose workflows were bundled for plain payloads', () => {
  it('does not start to encrypt', async () => {
    const error: unknown = await TestConnector.start({
      clothes: 'development',
      env: { BYOC_PAYLOAD_CODEC: 'vault' },
    }).catch((thrown: unknown) => thrown);
    expect(String(error)).toContain('BYOC_WORKFLOW_BUNDLE was made for BYOC_PAYLOAD_CODEC=off');
  });
});

/** Every payload of a message, but search attributes, which Temporal itself has to read, and markers of the SDK's own. */
function payloadsIn(value: unknown): Payload[] {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [];
  if ('metadata' in value && 'data' in value) return [value as Payload];
  return Object.entries(value).flatMap(([name, one]) => (CLEAR.has(name) ? [] : payloadsIn(one)));
}

/** `patch-data` and `data` say which patch, and which local activity, a marker is for: names of ours and times. */
const CLEAR: ReadonlySet<string> = new Set(['searchAttributes', 'patch-data', 'data']);

function encodingOf({ metadata }: Payload): string {
  return Buffer.from(metadata?.['encoding'] ?? []).toString();
}

/** All text and bytes of a message, whichever way they are wrapped. */
function everythingIn(value: unknown): string {
  if (typeof value === 'string') return value;
  if (ArrayBuffer.isView(value))
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
  if (typeof value !== 'object' || value === null) return '';
  return Object.entries(value)
    .map(([name, one]) => `${name}\n${everythingIn(one)}`)
    .join('\n');
}

/** Whether a text holds a word as it is, or in base64 once or twice. */
function tells(text: string, word: string): boolean {
  const inBase64 = (one: string) =>
    ['', 'x', 'xx'].map((before) => {
      const encoded = Buffer.from(before + one).toString('base64');
      // Without what depends on the letters before and after it.
      return encoded.slice(before === '' ? 0 : 4, -4);
    });
  const once = inBase64(word);
  return [word, ...once, ...once.flatMap(inBase64)].some((one) => one.length > 3 && text.includes(one));
}
