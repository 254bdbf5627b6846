import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { defaultPayloadConverter } from '@temporalio/common';
import { pino } from 'pino';
import { Agent, request } from 'undici';
import { createAuthority } from '../../dev/authority.ts';
import { environmentOf } from '../../dev/environment.ts';
import { Program, untilHealthy } from '../../dev/process.ts';
import { taskQueueOf } from '../../domain/names.ts';
import type { CodecServer } from '../../worker/codec-server/codec-server.ts';
import { openCodecServer } from '../../worker/codec-server/codec-server.ts';
import { readCodecServerConfig } from '../../worker/codec-server/settings.ts';
import type { WaitingPackage } from '../support/connector.ts';
import { TestConnector } from '../support/connector.ts';
import { startForeigner } from '../support/foreign/start.ts';
import { applyStep, configMap } from '../support/packages.ts';
import { TokenIssuer } from '../support/token-issuer.ts';
import { until } from '../support/until.ts';
import { asyncErrorOf } from '../support/expect-code.ts';
import { workflowBundle } from '../support/workflow-bundle.ts';

// R6, R20, R23, R26

const CANARY = 'canary-77ab90';
const BOB = 'bob@example.com';
const UI = 'https://temporal.example.com';

describe('the codec server', () => {
  let connector: TestConnector;
  let issuer: TokenIssuer;
  let folder: string;
  let server: CodecServer;
  let dispatcher: Agent;
  let one: WaitingPackage;
  const lines: string[] = [];

  beforeAll(async () => {
    issuer = await TokenIssuer.create();
    const authority = await createAuthority();
    const { cert, key } = await authority.issue('codec server');
    folder = await mkdtemp(join(tmpdir(), 'byoc-codec-'));
    const files = { 'jwks.json': await issuer.jwks(), 'tls.crt': cert, 'tls.key': key };
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
    // Of production only that payloads are encrypted, and only where a test says so.
    connector = await TestConnector.start({ clothes: 'development', encrypted: true });
    const env = {
      ...environmentOf(connector.services),
      BYOC_CLUSTER_ID: connector.clusterId,
      BYOC_CODEC_HOST: '127.0.0.1',
      BYOC_CODEC_PORT: '0',
      BYOC_CODEC_TLS_CERT: join(folder, 'tls.crt'),
      BYOC_CODEC_TLS_KEY: join(folder, 'tls.key'),
      BYOC_CODEC_ORIGINS: UI,
      BYOC_CODEC_JWT_ISSUER: issuer.issuer,
      BYOC_CODEC_JWT_KEYS: join(folder, 'jwks.json'),
      NODE_ENV: 'production',
    };
    const logger = pino({ messageKey: 'message' }, { write: (line: string) => void lines.push(line) });
    server = await openCodecServer(readCodecServerConfig(env), env, logger);
    dispatcher = new Agent({ connect: { ca: authority.ca } });
    one = await connector.submitAndPlan({
      steps: [applyStep(configMap('shown', connector.namespace, { colour: CANARY }))],
    });
  });
  afterAll(async () => {
    await server.close();
    await dispatcher.close();
    await connector.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const token = (claims = {}) => issuer.token(`byoc/${connector.clusterId}/payloads`, { sub: BOB, ...claims });
  const namespace = () => connector.services.temporal.namespace;
  const call = async (
    path: string,
    body: unknown,
    { headers = {}, method = 'POST' }: { headers?: Record<string, string>; method?: 'POST' | 'OPTIONS' } = {},
  ) => {
    const answer = await request(`${server.url}${path}`, {
      dispatcher,
      method,
      headers: { 'content-type': 'application/json', 'x-namespace': namespace(), ...headers },
      ...(method === 'POST' && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, headers: answer.headers, text };
  };
  const authorized = async (claims = {}) => ({ authorization: `Bearer ${await token(claims)}` });
  /** What Temporal answers the query for the plan with, as the UI hands it on. */
  const encryptedPlan = async () => {
    const { queryResult } = await connector.client.client.workflowService.queryWorkflow({
      namespace: namespace(),
      execution: { workflowId: one.workflowId },
      query: { queryType: 'plan' },
    });
    return { payloads: (queryResult?.payloads ?? []).map(inBase64) };
  };
  const inBase64 = ({
    metadata,
    data,
  }: {
    metadata?: Record<string, Uint8Array> | null;
    data?: Uint8Array | null;
  }) => ({
    metadata: Object.fromEntries(
      Object.entries(metadata ?? {}).map(([name, value]) => [name, Buffer.from(value).toString('base64')]),
    ),
    data: Buffer.from(data ?? []).toString('base64'),
  });
  const textIn = (text: string) => {
    const { payloads } = JSON.parse(text) as { payloads: { data: string }[] };
    return Buffer.from(payloads[0]?.data ?? '', 'base64').toString();
  };

  it('shows a plan to somebody who proves who they are, once it is in the audit log', async () => {
    const before = (await connector.audit()).filter(({ type }) => type === 'payload.read').length;
    const answer = await call('/decode', await encryptedPlan(), { headers: { ...(await authorized()), origin: UI } });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({ 'access-control-allow-origin': UI, 'cache-control': 'no-store' });
    expect(textIn(answer.text)).toContain(CANARY);
    await call('/decode', await encryptedPlan(), { headers: await authorized() });
    const reads = (await connector.audit()).filter(({ type }) => type === 'payload.read');
    expect(reads.length).toBe(before + 1);
    expect(reads.at(-1)).toMatchObject({
      actor: { id: `${issuer.issuer} ${BOB}` },
      detail: { namespace: namespace() },
    });
    expect(lines.join('')).toContain('payloads were shown');
    expect(lines.join('')).not.toContain(CANARY);
  });

  it.each([
    ['no token', async () => ({})],
    ['a token for something else', async () => authorized({ aud: `byoc/${connector.clusterId}` })],
    ['a token of another issuer', async () => authorized({ iss: 'https://else.where' })],
    ['a token that has expired', async () => authorized({ exp: Math.floor(Date.now() / 1000) - 600 })],
  ])('shows nothing to somebody with %s', async (_, headers) => {
    const answer = await call('/decode', await encryptedPlan(), { headers: await headers() });
    expect(answer).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
    expect(answer.text).not.toContain(CANARY);
    expect(Object.keys(JSON.parse(answer.text) as object).sort()).toEqual(['code', 'status', 'title', 'type']);
  });

  it('asks browsers to let the Temporal UI in, and nobody else', async () => {
    const preflight = await call('/decode', '', { method: 'OPTIONS', headers: { origin: UI } });
    expect(preflight).toMatchObject({
      status: 204,
      headers: {
        'access-control-allow-origin': UI,
        'access-control-allow-methods': 'POST',
        'access-control-allow-headers': 'authorization, content-type, x-namespace',
      },
    });
    for (const method of ['OPTIONS', 'POST'] as const) {
      const headers = { origin: 'https://evil.example.com', ...(await authorized()) };
      const answer = await call('/decode', await encryptedPlan(), { method, headers });
      expect(answer.status).toBe(403);
      expect(answer.headers['access-control-allow-origin']).toBeUndefined();
      // The page itself is only told that it could not connect.
      expect(JSON.parse(lines.at(-1) ?? '{}')).toMatchObject({ code: 'ORIGIN_DENIED', origin: headers.origin });
    }
  });

  it.each([
    ['of another namespace', { headers: { 'x-namespace': 'else' } }, 404],
    ['that is no JSON', { body: '{' }, 400],
    ['that holds no payloads', { body: { payloads: [1] } }, 400],
    ['as text, which any page may send', { headers: { 'content-type': 'text/plain' } }, 415],
    ['that is too large', { body: JSON.stringify({ payloads: [{ data: 'a'.repeat(17 * 1024 * 1024) }] }) }, 413],
    ['of another route', { path: '/' }, 404],
  ])('refuses a call %s', async (_, { path = '/decode', body, headers = {} }: Call, status) => {
    const all = { ...(await authorized()), ...headers };
    expect(await call(path, body ?? (await encryptedPlan()), { headers: all })).toMatchObject({ status });
  });

  it('says of a payload that it cannot decrypt that it cannot, and shows the others', async () => {
    const { payloads } = await encryptedPlan();
    const broken = payloads.map((payload) => ({ ...payload, data: payload.data.replace(/^.{8}/, 'AAAAAAAA') }));
    const answer = await call('/decode', { payloads: [...broken, ...payloads] }, { headers: await authorized() });
    const { payloads: shown } = JSON.parse(answer.text) as { payloads: { data: string }[] };
    const texts = shown.map(({ data }) => Buffer.from(data, 'base64').toString());
    expect(texts).toEqual([expect.stringContaining('__malformed__'), expect.stringContaining(CANARY)]);
  });

  it('encrypts a vote of the Temporal UI, which counts', async () => {
    const other = await connector.submitAndPlan();
    const vote = defaultPayloadConverter.toPayload({ approver: BOB, planDigest: other.planDigest });
    const answer = await call('/encode', { payloads: [inBase64(vote)] }, { headers: await authorized() });
    const { payloads } = JSON.parse(answer.text) as { payloads: ReturnType<typeof inBase64>[] };
    expect(Buffer.from(payloads[0]?.metadata['encoding'] ?? '', 'base64').toString()).toBe('binary/encrypted');
    await connector.client.client.workflowService.signalWorkflowExecution({
      namespace: namespace(),
      workflowExecution: { workflowId: other.workflowId },
      signalName: 'approve',
      input: { payloads: payloads.map(inBytes) },
    });
    expect(await connector.client.result(other.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
  });

  it('lets whoever is known in behind an ingress from which others fail, who are told less and less', async () => {
    const payloads = await encryptedPlan();
    const stranger = { authorization: 'Bearer a.b.c' };
    const answers: number[] = [];
    while (answers.length < 80) answers.push((await call('/decode', payloads, { headers: stranger })).status);
    expect(new Set(answers)).toEqual(new Set([401, 429]));
    expect((await call('/decode', payloads, { headers: await authorized() })).status).toBe(200);
  });

  /** As the command starts it, on this machine. */
  async function start(): Promise<{ program: Program; url: string }> {
    const program = new Program({
      name: 'codec-server',
      command: process.execPath,
      args: [join(import.meta.dirname, '../../client/cli/main.ts'), 'codec-server', '--port', '0'],
      env: {
        ...environmentOf(connector.services),
        BYOC_CLUSTER_ID: connector.clusterId,
        BYOC_CODEC_JWT_ISSUER: issuer.issuer,
        BYOC_CODEC_JWT_KEYS: join(folder, 'jwks.json'),
        PATH: '/usr/bin:/bin',
        HOME: folder,
      },
      logFile: join(folder, 'codec-server.log'),
    });
    await untilHealthy(program, () => Promise.resolve(/Listening at/.test(program.output())), { timeoutMs: 30_000 });
    return { program, url: /Listening at (\S+);/.exec(program.output())?.[1] ?? '' };
  }

  it.each(['SIGINT', 'SIGTERM'] as const)('ends at %s, when what is under way has its answer', async (signal) => {
    const { program, url } = await start();
    const body = { payloads: [inBase64(defaultPayloadConverter.toPayload('x'))] };
    connector.pauseWorker();
    try {
      const reading = request(`${url}/decode`, {
        dispatcher,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-namespace': namespace(), ...(await authorized()) },
        body: JSON.stringify(body),
      });
      await until('the reading to wait for a worker', async () => (await readings()).length > 0);
      process.kill(program.pid ?? 0, signal);
      await until('the server to close', () => Promise.resolve(/Closing/.test(program.output())));
      connector.continueWorker();
      expect((await reading).statusCode).toBe(200);
      await until('the command to end', () => Promise.resolve(!program.running));
      expect(program.describeEnd()).toContain('exit code 0');
    } finally {
      connector.continueWorker();
      await program.kill();
    }
  });
  /** Those that no worker has recorded yet. */
  const readings = async () => {
    const query = `WorkflowType = 'payloadRead' AND ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH 'byoc/${connector.clusterId}/'`;
    const found: { readonly workflowId: string }[] = [];
    for await (const one of connector.client.client.workflow.list({ query })) found.push(one);
    return found;
  };

  describe('as the command starts it, on this machine', () => {
    let program: Program;
    let url: string;
    beforeAll(async () => {
      ({ program, url } = await start());
    });
    afterAll(() => program.stop());

    it('shows the temporal command a history, its query results and its details, with a token', async () => {
      const codec = ['--codec-endpoint', url, '--codec-auth', `Bearer ${await token()}`];
      const workflow = ['--workflow-id', one.workflowId];
      const shown = await connector.temporal('workflow', 'show', ...workflow, '--output', 'json', ...codec);
      const hidden = await connector.temporal('workflow', 'show', ...workflow, '--output', 'json');
      expect(packageIn(shown)).toContain(CANARY);
      expect(() => packageIn(hidden)).toThrow();
      expect(hidden).not.toContain(CANARY);
      const plan = await connector.temporal('workflow', 'query', ...workflow, '--type', 'plan', ...codec);
      expect(plan).toContain(CANARY);
      const metadata = await connector.temporal('workflow', 'metadata', ...workflow, ...codec);
      expect(metadata).toContain('byoc approve');
    });

    it('shows it nothing without one', async () => {
      const command = `temporal workflow query --workflow-id '${one.workflowId}' --type plan --codec-endpoint ${url}`;
      const { stdout, stderr } = await connector.shell(command);
      expect(stdout + stderr).not.toContain(CANARY);
    });

    it('lets the temporal command vote', async () => {
      const other = await connector.submitAndPlan();
      const vote = JSON.stringify({ approver: BOB, planDigest: other.planDigest });
      await connector.temporal(
        ...['workflow', 'signal', '--workflow-id', other.workflowId, '--name', 'approve', '--input', vote],
        ...['--codec-endpoint', url, '--codec-auth', `Bearer ${await token()}`],
      );
      expect(await connector.client.result(other.wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
    });

    it('goes on when the worker was switched off, which tells of what was encrypted where it stands', async () => {
      const { wpkId, workflowId, planDigest } = await connector.submitAndPlan({
        steps: [applyStep(configMap('ended', connector.namespace, { colour: CANARY }))],
      });
      await connector.client.approve(wpkId, { approver: BOB, planDigest });
      await connector.client.result(wpkId);
      await connector.stopWorker();
      await connector.startWorker('worker-0', {
        BYOC_PAYLOAD_CODEC: 'off',
        BYOC_WORKFLOW_BUNDLE: await workflowBundle(),
      });
      try {
        const codec = ['--codec-endpoint', url, '--codec-auth', `Bearer ${await token({ sub: 'dave@example.com' })}`];
        const workflow = ['--workflow-id', workflowId];
        const shown = await connector.temporal('workflow', 'show', ...workflow, '--output', 'json', ...codec);
        expect(packageIn(shown)).toContain(CANARY);
        expect(await connector.audit()).toContainEqual(
          expect.objectContaining({
            type: 'payload.read',
            actor: expect.objectContaining({ id: `${issuer.issuer} dave@example.com` }),
          }),
        );

        expect(await connector.client.get(wpkId)).toMatchObject({ sealed: true, phase: 'succeeded' });
        const command = await connector.byoc('show', wpkId);
        expect(command).toMatchObject({ code: 0, stdout: expect.stringContaining('succeeded') });
        expect(command.stdout).toContain('here and in the worker');
        expect(await asyncErrorOf(() => connector.client.plan(wpkId))).toMatchObject({ code: 'PAYLOAD_SEALED' });
        const query = await connector.shell(`temporal workflow query --workflow-id '${workflowId}' --type plan`);
        expect(query.stderr).toContain('This run is encrypted, and the worker has no key for it.');

        // One that is under way cannot be asked while its task fails; while it does, Temporal itself may break a query off.
        await until('a word about the worker', async () => {
          const waiting = await connector.byoc('show', one.wpkId);
          return /is not known without the key|WORKER_UNAVAILABLE/.test(waiting.stdout + waiting.stderr);
        });
        const listed = await connector.byoc('list');
        expect(listed).toMatchObject({ code: 0, stdout: expect.stringContaining(one.wpkId) });
      } finally {
        await connector.stopWorker();
        await connector.startWorker();
      }
      // Its task failed meanwhile; Temporal tries it again after a while.
      const found = await until('the package', () => connector.client.get(one.wpkId).catch(() => undefined));
      expect(found).toMatchObject({ phase: 'awaiting-approval', planDigest: one.planDigest });
    }, 120_000);
  });

  it('says that a reading is not recorded when its run is ended from outside, and shows nothing', async () => {
    const { workflow } = connector.client.client;
    connector.pauseWorker();
    try {
      const reading = plainReading('erin@example.com');
      const run = await until('the run of the reading', async () => (await readings())[0]);
      await workflow.getHandle(run.workflowId).terminate();
      const answer = await reading;
      expect(answer).toMatchObject({ status: 503, text: expect.stringContaining('READING_UNRECORDED') });
    } finally {
      connector.continueWorker();
    }
  });

  it('shows nothing where somebody else answers in Temporal that it is recorded', async () => {
    await connector.stopWorker();
    const rogue = await startForeigner(connector, taskQueueOf(connector.clusterId, 'execution'), 'rogue-workflows.ts');
    try {
      const reading = () => plainReading('mallory@example.com');
      expect(await reading()).toMatchObject({ status: 503, text: expect.stringContaining('READING_UNRECORDED') });
      expect(lines.join('')).toContain("has not the cluster's payload keys");
      await rogue.kill();
      await connector.startWorker();
      await until('a worker of ours to record it', async () => (await reading()).status === 200);
    } finally {
      await rogue.kill();
    }
  });

  it('shows nothing while it cannot be recorded', async () => {
    await connector.stopWorker();
    const reading = () => plainReading('carol@example.com');
    expect((await reading()).status).toBe(503);
    await connector.startWorker();
    await until('the next try to be answered', async () => (await reading()).status === 200);
  });
  const plainReading = async (sub: string) =>
    call(
      '/decode',
      { payloads: [inBase64(defaultPayloadConverter.toPayload('x'))] },
      { headers: await authorized({ sub }) },
    );
});

/** The package that the first event of a history holds. */
function packageIn(history: string): string {
  const { events } = JSON.parse(history) as {
    events: { workflowExecutionStartedEventAttributes: { input: { payloads: { data: string }[] } } }[];
  };
  const data = events[0]?.workflowExecutionStartedEventAttributes.input.payloads[0]?.data ?? '';
  const { payload } = JSON.parse(Buffer.from(data, 'base64').toString()) as { payload: string };
  return Buffer.from(payload, 'base64').toString();
}

interface Call {
  readonly path?: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

function inBytes({ metadata, data }: { metadata: Record<string, string>; data: string }) {
  return {
    metadata: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, Buffer.from(value, 'base64')])),
    data: Buffer.from(data, 'base64'),
  };
}
