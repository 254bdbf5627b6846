import { createHmac } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Agent, request } from 'undici';
import type { HealthReport } from '../../domain/agent-api.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import { generateKeyPair } from '../../client/sign.ts';
import { TestConnector } from '../support/connector.ts';
import { listeningPorts } from '../support/listening.ts';
import { applyStep, configMap, sign } from '../support/packages.ts';
import { TokenIssuer } from '../support/token-issuer.ts';
import { until } from '../support/until.ts';

// R15, R20, R26

const CANARY = 'canary-3f9c1d';

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Record<string, unknown>;
  readonly text: string;
}

describe("the agent's HTTP API", () => {
  let connector: TestConnector;
  let issuer: TokenIssuer;
  let url: string;
  let names = 0;

  beforeAll(async () => {
    issuer = await TokenIssuer.create();
    connector = await TestConnector.start({
      clothes: 'development', // plain HTTP, so that what is sent can be sent wrongly; TLS is in agent-tls.test.ts
      env: {
        BYOC_AGENT_PORT: '0',
        BYOC_AGENT_JWT_ISSUER: issuer.issuer,
        BYOC_AGENT_JWT_KEYS: 'jwks.json',
        BYOC_AGENT_RATE: '600',
      },
      files: { 'jwks.json': await issuer.jwks() },
    });
    url = await addressOf(connector);
  });
  afterAll(async () => {
    await connector.stop();
    await dispatcher.close();
  });

  const audience = () => `byoc/${connector.clusterId}`;
  const good = async () => `Bearer ${await issuer.token(audience())}`;
  const signed = () => {
    const name = `agent-${(names += 1)}`;
    return connector.signed({ steps: [applyStep(configMap(name, connector.namespace, { colour: 'blue' }))] });
  };
  const execute = async (body: unknown, authorization?: string, headers: Record<string, string> = {}) =>
    send(`${url}/execute`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(authorization && { authorization }), ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  const calls = async () => (await connector.audit()).filter(({ type }) => type === 'http.call');

  it('takes a signed package from the control plane, which then runs as any other', async () => {
    const answer = await execute(signed(), await good());
    expect(answer).toMatchObject({ status: 202, body: { links: { health: '/health' } } });
    const id = String(answer.body['id']);
    expect(answer.body['workflowId']).toBe(`wpk/${connector.clusterId}/${id}`);
    const { planDigest } = await connector.untilView(id, ({ phase }) => phase === 'awaiting-approval');
    if (planDigest === undefined) throw new Error('there is no plan');
    await connector.client.approve(id, { approver: 'bob@example.com', planDigest });
    expect(await connector.client.result(id)).toMatchObject({ phase: 'succeeded' });
    expect((await calls()).at(-1)).toMatchObject({
      actor: { id: `${issuer.issuer} control-plane`, proof: 'verified' },
      outcome: 'succeeded',
      wpk: id,
      detail: { method: 'POST', route: '/execute', via: 'jwt', address: '127.0.0.1', status: 202 },
    });
  });

  it('answers 409 for an id that was used', async () => {
    const one = signed();
    expect((await execute(one, await good())).status).toBe(202);
    expect(await execute(one, await good())).toMatchObject({ status: 409, body: { code: 'WPK_ALREADY_USED' } });
  });

  it.each([
    ['signed by an unknown key', () => sign(connector.wpk(), generateKeyPair().privateKeyPem), 403, 'KEY_UNKNOWN'],
    ['for another cluster', () => connector.signed({ clusterId: 'another' }), 403, 'WPK_WRONG_CLUSTER'],
    ['that has expired', () => connector.signed({ expiresAt: new Date(Date.now() - 1_000) }), 403, 'WPK_EXPIRED'],
    ['whose payload was changed', () => tampered(signed()), 403, 'SIGNATURE_INVALID'],
  ])('starts no run for a package %s, and keeps the attempt', async (_what, make, status, code) => {
    const before = (await connector.client.list()).length;
    const answer = await execute(make(), await good());
    expect(answer).toMatchObject({ status, body: { code, status } });
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(Object.keys(answer.body).sort()).toEqual(['code', 'status', 'title', 'type']);
    expect((await connector.client.list()).length).toBe(before);
    expect((await calls()).at(-1)).toMatchObject({ outcome: 'refused', detail: { status, code } });
  });

  it.each([
    ['no token', async () => undefined],
    ['something that is no token', async () => 'Bearer nonsense'],
    ['a token for another cluster', async () => `Bearer ${await issuer.token('byoc/another')}`],
    [
      'a token of another issuer',
      async () => `Bearer ${await issuer.token(audience(), { iss: 'https://else.where' })}`,
    ],
    ['a token that has expired', async () => `Bearer ${await issuer.token(audience(), ago(600))}`],
    ['a token of tomorrow', async () => `Bearer ${await issuer.token(audience(), ago(-86_400))}`],
    [
      'a token that is too old, however long it says it holds',
      async () => `Bearer ${await issuer.token(audience(), { ...ago(7_200), exp: soon() })}`,
    ],
    ['a token without subject', async () => `Bearer ${await issuer.token(audience(), { sub: undefined })}`],
    ['a token of another key', async () => `Bearer ${await (await TokenIssuer.create()).token(audience())}`],
    ['a token that says it needs no signature', async () => `Bearer ${unsigned(issuer, audience())}`],
    ['a token signed with the published key as a secret', async () => `Bearer ${await confused(issuer, audience())}`],
  ])('refuses a caller with %s', async (_what, make) => {
    const answer = await execute(signed(), await make());
    expect(answer).toMatchObject({ status: 401, body: { code: 'CALLER_UNAUTHENTICATED' } });
  });

  it.each([
    ['no JSON', 'nonsense', 'application/json', 400, 'CALL_MALFORMED'],
    ['another form', '{"payload":"","bundle":{},"more":1}', 'application/json', 400, 'CALL_MALFORMED'],
    ['an empty body', '', 'application/json', 400, 'CALL_MALFORMED'],
    ['another type', '<a/>', 'application/xml', 415, 'CALL_UNSUPPORTED'],
  ])('answers a body that is %s with %s', async (_what, body, type, status, code) => {
    expect(await execute(body, await good(), { 'content-type': type })).toMatchObject({ status, body: { code } });
  });

  it('refuses what is too large by what it announces, before it is sent', async () => {
    const head = [
      'POST /execute HTTP/1.1',
      'Host: agent',
      `Authorization: ${await good()}`,
      'Content-Type: application/json',
      'Content-Length: 100000000',
    ];
    expect(await raw(url, `${head.join('\r\n')}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 413 .*"code":"CALL_TOO_LARGE"/s);
  });

  it('takes the largest package that there may be', async () => {
    const padding = configMap('large', connector.namespace, { text: 'x'.repeat(900_000) });
    expect(await execute(connector.signed({ steps: [applyStep(padding)] }), await good())).toMatchObject({
      status: 202,
    });
  });

  it('cuts off who sends too slowly', async () => {
    const answer = await raw(url, 'POST /execute HTTP/1.1\r\nHost: agent\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 408 .*"code":"CALL_TOO_SLOW"/s);
  });

  it('answers what it does not have with 404, as a problem', async () => {
    expect(await send(`${url}/nothing`)).toMatchObject({ status: 404, body: { code: 'ROUTE_UNKNOWN' } });
    expect(await send(`${url}/execute`)).toMatchObject({ status: 404, body: { code: 'ROUTE_UNKNOWN' } });
  });

  it('is all that the worker listens with', async () => {
    expect(await listeningPorts(connector.workerPid)).toEqual([`tcp ${new URL(url).port}`]);
  });

  it('tells anybody whether it is well, and the details those who prove who they are', async () => {
    expect(await send(`${url}/health`)).toMatchObject({ status: 200, text: '{"status":"degraded"}' });
    expect(await send(`${url}/health`, { headers: { authorization: 'Bearer a.b.c' } })).toMatchObject({
      text: '{"status":"degraded"}',
    });
    const { body } = await send(`${url}/health`, { headers: { authorization: await good() } });
    const report = body as unknown as HealthReport;
    expect(report).toMatchObject({ ready: true, clusterId: connector.clusterId, freeze: { state: 'open' } });
    expect(report.audit.head).toMatchObject({ chain: `${connector.clusterId}.worker-0` });
    expect(report.audit.bucket).toMatchObject({ objectLock: true });
    // In development one account does all, and votes count that prove nothing; whoever reads the health must see it.
    expect(report.components.filter(({ state }) => state !== 'ok')).toMatchObject([
      { name: 'applying-account', state: 'degraded', sentence: expect.stringContaining('BYOC_APPLY_SERVICE_ACCOUNT') },
      { name: 'policy', state: 'degraded', sentence: expect.stringContaining('acceptAsserted') },
    ]);
    expect((await send(`${url}/health/live`)).status).toBe(200);
    expect((await send(`${url}/health/ready`)).status).toBe(200);
  });

  it('is not ready while the policy is broken, and is again when it is repaired', async () => {
    const policy = 'apiVersion: neuralops.io/v1\nkind: Policy\napprovals:\n  acceptAsserted: true\n';
    await connector.setPolicy('nonsense: true\n');
    await until('the health to be down', async () => (await send(`${url}/health`)).text === '{"status":"down"}');
    expect((await send(`${url}/health/ready`)).status).toBe(503);
    expect((await send(`${url}/health/live`)).status).toBe(200);
    expect(await execute(signed(), await good())).toMatchObject({ status: 500, body: { code: 'POLICY_INVALID' } });
    await connector.setPolicy(policy);
    await until('the health to be back', async () => (await send(`${url}/health/ready`)).status === 200);
  });

  it('shows the freeze in health and metrics, and is ready all the same', async () => {
    await connector.byoc('stop', '--all', '--reason', 'a test');
    const details = async () =>
      (await send(`${url}/health`, { headers: { authorization: await good() } })).body as unknown as HealthReport;
    const seen = (state: string) =>
      until(`the freeze to be ${state}`, async () => (await details()).freeze?.state === state);
    try {
      await seen('frozen');
      expect(await details()).toMatchObject({ ready: true, freeze: { state: 'frozen', reason: 'a test' } });
      expect((await send(`${url}/metrics`)).text).toContain('byoc_freeze_state{state="frozen"} 1');
    } finally {
      await connector.byoc('resume', '--reason', 'over');
    }
    await seen('open');
  });

  it('serves metrics of packages, votes, refusals, keys, audit and itself', async () => {
    const { text, headers } = await send(`${url}/metrics`);
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    for (const line of [
      /^byoc_packages_total\{stage="succeeded"\} [1-9]/m,
      /^byoc_votes_total\{decision="approve",proof="asserted",result="counted"\} [1-9]/m,
      /^byoc_keys\{use="packages",state="trusted"\} 1$/m,
      /^byoc_policy_broken 0$/m,
      /^byoc_audit_unuploaded_entries \d/m,
      /^byoc_audit_upload_failing_seconds 0$/m,
      /^byoc_agent_calls_total\{route="\/execute",status="401",code="CALLER_UNAUTHENTICATED"\} [1-9]/m,
      /^byoc_component_state\{component="temporal",state="ok"\} 1$/m,
      /^byoc_ready 1$/m,
      /^process_resident_memory_bytes \d/m,
    ]) {
      expect(text).toMatch(line);
    }
  });

  it('writes an entry for a flood of refused calls and counts them, and tells nothing secret anywhere', async () => {
    const before = (await connector.audit()).length;
    const flood = Array.from({ length: 200 }, () => execute(`{"payload":"${CANARY}"}`, `Bearer ${CANARY}.a.b`));
    const statuses = new Set((await Promise.all(flood)).map(({ status }) => status));
    expect([...statuses].sort()).toEqual([401, 429]);
    const { text } = await send(`${url}/metrics`);
    await connector.stopWorker();
    const entries = (await connector.audit()).slice(before);
    expect(entries.length).toBeLessThan(20);
    const counted = entries.flatMap(({ type, detail }) =>
      type === 'http.calls' ? (detail['calls'] as { route: string; code?: string; count: number }[]) : [],
    );
    const refused = counted.filter(({ route, code }) => route === '/execute' && code !== undefined);
    expect(refused.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThanOrEqual(200);
    const told = [text, JSON.stringify(await connector.audit()), JSON.stringify(await connector.log())].join('\n');
    expect(told).not.toContain(CANARY);
    await connector.startWorker();
    url = await addressOf(connector);
  });

  it('refuses more packages than one caller may send, and says when to come back', async () => {
    const authorization = await good();
    const answers = await Promise.all(Array.from({ length: 150 }, () => execute('{}', authorization)));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]).toMatchObject({ body: { code: 'CALLS_TOO_MANY' } });
    expect(Number(refused[0]?.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  });
});

/** Where the worker that runs listens. */
async function addressOf(connector: TestConnector): Promise<string> {
  const line = await until('the agent to listen', async () =>
    (await connector.log()).find(({ message }) => message === 'the agent listens'),
  );
  return `http://127.0.0.1:${String(line['port'])}`;
}

/** No more connections than the agent lets one machine have. */
const dispatcher = new Agent({ connections: 32 });

async function send(url: string, options: Parameters<typeof request>[1] = {}): Promise<Answer> {
  const { statusCode, headers, body } = await request(url, { dispatcher, ...options });
  const text = await body.text();
  const isJson = String(headers['content-type']).includes('json');
  return { status: statusCode, headers, text, body: isJson ? (JSON.parse(text) as Answer['body']) : {} };
}

/** Sends text and nothing more; resolves to what came back until the other side ended. */
function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let received = '';
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.setEncoding('utf8').on('data', (chunk: string) => (received += chunk));
    socket.on('close', () => resolve(received)).on('error', reject);
  });
}

const soon = () => Math.floor(Date.now() / 1000) + 300;

function ago(seconds: number): { iat: number; exp: number } {
  return { iat: soon() - 300 - seconds, exp: soon() - seconds };
}

function tampered({ payload, bundle }: SignedWpk): SignedWpk {
  const text = Buffer.from(payload, 'base64').toString('utf8').replace('blue', 'grey');
  return { payload: Buffer.from(text).toString('base64'), bundle };
}

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

function claimsOf({ issuer: iss }: TokenIssuer, aud: string): object {
  return { iss, aud, sub: 'control-plane', ...ago(0) };
}

function unsigned(issuer: TokenIssuer, audience: string): string {
  return `${part({ alg: 'none' })}.${part(claimsOf(issuer, audience))}.`;
}

/** What a verifier takes that lets a token choose how it is verified. */
async function confused(issuer: TokenIssuer, audience: string): Promise<string> {
  const text = `${part({ alg: 'HS256', kid: 'key-1' })}.${part(claimsOf(issuer, audience))}`;
  const secret = await issuer.jwks();
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}
