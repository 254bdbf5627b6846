import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createControlPlane } from '../../../activities/control-plane/client.ts';
import type { ControlPlane } from '../../../activities/control-plane/client.ts';
import type { Services } from '../../../dev/stack.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { alertSignal, faultyServer, heartbeatOf } from '../../support/control-plane.ts';
import { sharedServices } from '../../support/stack.ts';

// R23, R25, R26: a control plane, or whatever answers in its place, that does not behave

const SECRET = 'the-token-that-nobody-may-see';
const identity = { token: () => Promise.resolve(SECRET) };

const ending: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0)) await end();
});

/** A client of a server that answers as told. */
async function clientOf(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<ControlPlane> {
  const server = await faultyServer(answer);
  const client = createControlPlane({ url: server.url, identity, requestTimeoutMs: 500 });
  ending.push(
    () => client.close(),
    () => server.stop(),
  );
  return client;
}

const beat = (client: ControlPlane) => asyncErrorOf(() => client.beat(heartbeatOf('c')));
const json = (response: ServerResponse, status: number, body: unknown, headers = {}) =>
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));

describe('a control plane that answers', () => {
  it.each([
    [401, {}, 'CONTROL_PLANE_DENIED'],
    [403, {}, 'CONTROL_PLANE_DENIED'],
    [404, {}, 'CONTROL_PLANE_UNAVAILABLE'],
    [404, { type: 'x', title: 'x', status: 404, code: 'not-registered' }, 'CONTROL_PLANE_NOT_REGISTERED'],
    [409, {}, 'CONTROL_PLANE_CONFLICT'],
    [400, {}, 'CONTROL_PLANE_REFUSED'],
    [413, {}, 'CONTROL_PLANE_REFUSED'],
    [429, {}, 'CONTROL_PLANE_BUSY'],
    [500, {}, 'CONTROL_PLANE_UNAVAILABLE'],
    [503, {}, 'CONTROL_PLANE_UNAVAILABLE'],
    [302, {}, 'CONTROL_PLANE_UNAVAILABLE'],
    [200, 'garbage', 'CONTROL_PLANE_UNAVAILABLE'],
    [200, { time: 'yesterday' }, 'CONTROL_PLANE_UNAVAILABLE'],
  ])('%i with %j is told as such', async (status, body, code) => {
    const error = await beat(await clientOf((_, response) => json(response, status, body)));
    expect(error.code).toBe(code);
    expect([error.message, String(error.cause)].join()).not.toContain(SECRET);
  });

  it('nothing at all is given up in time', async () => {
    const error = await beat(await clientOf(() => undefined));
    expect(error).toMatchObject({ code: 'CONTROL_PLANE_UNAVAILABLE', detail: 'It did not answer in time.' });
  });

  it('and never ends is given up in time', async () => {
    const client = await clientOf((_, response) => {
      response.writeHead(200);
      const dripping = setInterval(() => response.write(' '), 50);
      response.on('close', () => clearInterval(dripping));
    });
    expect((await beat(client)).code).toBe('CONTROL_PLANE_UNAVAILABLE');
  });

  it('far more than it may is cut off', async () => {
    const client = await clientOf((_, response) => response.end('x'.repeat(10 * 1024 * 1024)));
    expect((await beat(client)).detail).toBe('It answered more than 65536 bytes.');
  });

  it('by hanging up is tried once more', async () => {
    let calls = 0;
    const client = await clientOf((request, response) => {
      calls += 1;
      if (calls === 1) request.socket.destroy();
      else json(response, 200, {});
    });
    expect(await client.beat(heartbeatOf('c'))).toEqual({});
  });

  it('with a redirect is not followed, and the token stays here', async () => {
    const seen: unknown[] = [];
    const other = await faultyServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end('{}');
    });
    ending.push(() => other.stop());
    const error = await beat(await clientOf((_, response) => response.writeHead(307, { location: other.url }).end()));
    expect(error.detail).toContain('a redirect, which is not followed');
    expect(seen).toEqual([]);
  });

  it('with orders is not obeyed: time and minimum version are all that is taken from an answer', async () => {
    const time = new Date().toISOString();
    const answer = {
      time,
      minimumVersion: '9.0.0',
      execute: 'rm -rf /',
      packages: [{}],
      __proto__: { polluted: true },
    };
    const client = await clientOf((_, response) => json(response, 200, answer));
    expect(await client.beat(heartbeatOf('c'))).toEqual({ time, minimumVersion: '9.0.0' });
  });
});

describe('a control plane that asks to be left alone', () => {
  it.each([
    ['1', 1_000],
    [new Date(Date.now() + 600_000).toUTCString(), 300_000],
    ['86400', 300_000],
    ['soon', 30_000],
  ])('with Retry-After: %s is', async (retryAfter, atLeastMs) => {
    let calls = 0;
    const client = await clientOf((_, response) => {
      calls += 1;
      json(response, 429, {}, { 'retry-after': retryAfter });
    });
    expect((await beat(client)).code).toBe('CONTROL_PLANE_BUSY');
    expect((await beat(client)).code).toBe('CONTROL_PLANE_BUSY');
    expect(calls).toBe(1);
    if (atLeastMs > 1_000) return;
    await new Promise((resolve) => setTimeout(resolve, atLeastMs));
    await beat(client);
    expect(calls).toBe(2);
  });
});

describe('the clocks', () => {
  it.each([
    ['a good answer', 200, { time: new Date(Date.now() + 3_600_000).toISOString() }, {}],
    ['a refusal, by its header', 401, {}, { date: new Date(Date.now() + 3_600_000).toUTCString() }],
  ])('are compared with %s', async (_, status, body, headers) => {
    const client = await clientOf((_request, response) => json(response, status, body, headers));
    const error = await client.beat(heartbeatOf('c')).catch((thrown: Error) => thrown);
    expect(Math.abs((client.clockOffsetMs() ?? 0) - 3_600_000)).toBeLessThan(5_000);
    if (error instanceof Error) expect(error.message).toMatch(/clock and ours are 3[56]\d\d s apart/);
  });
});

describe('what is sent', () => {
  it('is compressed where it is a signal, and named by its id', async () => {
    let headers: IncomingMessage['headers'] = {};
    const client = await clientOf((request, response) => {
      headers = request.headers;
      json(response, 202, {});
    });
    await client.signal(alertSignal('c', 'a-1'));
    expect(headers).toMatchObject({
      authorization: `Bearer ${SECRET}`,
      'content-encoding': 'gzip',
      'idempotency-key': 'a-1',
    });
  });
});

describe('the certificate of the control plane', () => {
  let services: Services;
  beforeAll(async () => {
    services = await sharedServices();
  });

  it('is verified: without its authority nothing is sent', async () => {
    let asked = 0;
    const asking = { token: () => Promise.resolve(`${(asked += 1)}`) };
    const client = createControlPlane({ url: services.controlPlane.url, identity: asking });
    ending.push(() => client.close());
    const error = await beat(client);
    expect(error).toMatchObject({
      code: 'CONTROL_PLANE_UNAVAILABLE',
      detail: expect.stringContaining('does not verify (UNABLE_TO_VERIFY_LEAF_SIGNATURE)'),
    });
  });

  it('must be for the name that is asked', async () => {
    const { url, caFile } = services.controlPlane;
    const client = createControlPlane({ url: url.replace('127.0.0.1', '127.0.0.2'), tls: { ca: caFile }, identity });
    ending.push(() => client.close());
    expect((await beat(client)).code).toBe('CONTROL_PLANE_UNAVAILABLE');
  });
});
