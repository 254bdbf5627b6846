import { X509Certificate } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ConnectorClient } from '../../../client/connector-client.ts';
import type { Authority, Certificate, CertificateOptions } from '../../../dev/authority.ts';
import { createAuthority } from '../../../dev/authority.ts';
import type { Services } from '../../../dev/stack.ts';
import type { TlsFiles } from '../../../domain/tls-settings.ts';
import { connectTemporal } from '../../../worker/temporal.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { callOverAndOver } from '../../support/over-and-over.ts';
import { sharedServices } from '../../support/stack.ts';
import { TestTlsFiles } from '../../support/tls-files.ts';
import { TlsFront } from '../../support/tls-front.ts';
import { until } from '../../support/until.ts';

// R23: both connections to Temporal, the worker's (Rust) and the client library's (gRPC for Node), before the real server

interface Temporal {
  call(): Promise<unknown>;
  close(): Promise<unknown>;
}

type Env = Record<string, string>;

const KINDS: readonly { readonly name: string; readonly open: (env: Env) => Promise<Temporal> }[] = [
  {
    name: 'a worker',
    async open(env) {
      const { connection } = await connectTemporal(env, { everyMs: 200 });
      return { call: () => connection.workflowService.getSystemInfo({}), close: () => connection.close() };
    },
  },
  {
    name: 'the client library',
    async open(env) {
      const client = await ConnectorClient.connect('nobody', env);
      return { call: () => client.list(), close: () => client.close() };
    },
  },
];

let services: Services;
let files: TestTlsFiles;
let authority: Authority;
let stranger: Authority;
let good: Certificate;

beforeAll(async () => {
  services = await sharedServices();
  files = await TestTlsFiles.create();
  [authority, stranger] = [await createAuthority(), await createAuthority()];
  good = await authority.issue('temporal');
});
afterAll(() => files.remove());

const front = (server: Certificate = good) =>
  TlsFront.start(services.temporal, { ...server, clientCa: authority.ca, alpn: ['h2'] });
const us = (more: CertificateOptions = {}, from = authority) => from.issue('connector', { use: 'client', ...more });

function envOf(port: number, { ca, cert, key }: TlsFiles): Env {
  return {
    TEMPORAL_ADDRESS: `localhost:${port}`,
    TEMPORAL_NAMESPACE: services.temporal.namespace,
    ...(ca !== undefined && { TEMPORAL_TLS_SERVER_CA_CERT_PATH: ca }),
    ...(cert !== undefined && { TEMPORAL_TLS_CLIENT_CERT_PATH: cert }),
    ...(key !== undefined && { TEMPORAL_TLS_CLIENT_KEY_PATH: key }),
  };
}

describe.each(KINDS)('the connection of $name', ({ open }) => {
  it('is made with a server that the authority vouches for, and shows our certificate', async () => {
    const at = await front();
    const ours = await us();
    const temporal = await open(envOf(at.port, await files.save({ ca: authority.ca, ...ours })));
    try {
      await temporal.call();
      expect(at.accepted).toContain(new X509Certificate(ours.cert).serialNumber);
    } finally {
      await temporal.close();
      await at.close();
    }
  });

  it.each([
    ['of another authority', async () => ({ ca: stranger.ca })],
    [
      'whose certificate has expired',
      async () => ({ server: await authority.issue('temporal', { notAfter: new Date(Date.now() - 60_000) }) }),
    ],
    [
      'whose certificate is for another name',
      async () => ({ server: await authority.issue('temporal', { names: [{ type: 'dns', value: 'x.test' }] }) }),
    ],
  ])('is never made with a server %s', async (_, make) => {
    const { ca = authority.ca, server }: { ca?: string; server?: Certificate } = await make();
    const at = await front(server);
    try {
      const env = envOf(at.port, await files.save({ ca, ...(await us()) }));
      expect((await asyncErrorOf(() => open(env))).code).toBe('TEMPORAL_UNAVAILABLE');
      expect(at.accepted).toEqual([]);
    } finally {
      await at.close();
    }
  });

  it.each([
    ['without a certificate', async () => ({})],
    ['with one of another authority', async () => us({}, stranger)],
    ['with one that has expired', async () => us({ notAfter: new Date(Date.now() - 60_000) })],
  ])('is refused %s', async (_, make) => {
    const at = await front();
    try {
      const env = envOf(at.port, await files.save({ ca: authority.ca, ...(await make()) }));
      expect((await asyncErrorOf(() => open(env))).code).toBe('TEMPORAL_UNAVAILABLE');
      expect(at.accepted).toEqual([]);
    } finally {
      await at.close();
    }
  });

  it('changes over to another certificate when the files hold one; no call fails', async () => {
    const at = await front();
    const [before, after] = [await us(), await us()];
    const tls = await files.save({ ca: authority.ca, ...before });
    const temporal = await open(envOf(at.port, tls));
    const calling = callOverAndOver(() => temporal.call(), 2);
    try {
      await until('the first calls', () => calling.calls > 10);
      await files.write(tls, { cert: after.cert }); // its key comes later: until then the old pair serves on
      await sleep(1_000);
      await files.write(tls, { key: after.key });
      const serial = new X509Certificate(after.cert).serialNumber;
      await until('the new certificate', () => at.accepted.includes(serial));
      const callsThen = calling.calls;
      await until('calls after that', () => calling.calls > callsThen + 10);
      expect(calling.failures).toEqual([]);
    } finally {
      await calling.stop();
      await temporal.close();
      await at.close();
    }
  }, 40_000);

  it('logs in with another API key when its file holds one; no call fails', async () => {
    const accepted = new Set(['key-of-before']);
    const seen = new Set<string>();
    const at = await cloud(good, (key) => seen.add(key) && accepted.has(key));
    const [{ ca }, TEMPORAL_API_KEY_FILE] = [await files.save({ ca: authority.ca }), files.nothing];
    await writeFile(TEMPORAL_API_KEY_FILE, 'key-of-before\n');
    const temporal = await open({ ...envOf(at.port, { ca }), TEMPORAL_API_KEY_FILE });
    const calling = callOverAndOver(() => temporal.call(), 2);
    try {
      await until('the first calls', () => calling.calls > 10);
      await writeFile(TEMPORAL_API_KEY_FILE, 'key-of-nobody'); // it is not let in: the old one serves on
      await until('the wrong key', () => seen.has('key-of-nobody'));
      accepted.add('key-of-after');
      await writeFile(TEMPORAL_API_KEY_FILE, 'key-of-after');
      await until('the new key', () => seen.has('key-of-after'));
      await until('calls with the new key alone', () => {
        const isAlone = !seen.has('key-of-before');
        seen.clear();
        return isAlone;
      });
      accepted.delete('key-of-before');
      const callsThen = calling.calls;
      await until('calls after that', () => calling.calls > callsThen + 10);
      expect(calling.failures).toEqual([]);
    } finally {
      await calling.stop();
      await temporal.close();
      await at.close();
      await rm(TEMPORAL_API_KEY_FILE);
    }
  }, 60_000);

  it('is refused in clear to another machine, and with a switch that turns verification off', async () => {
    const plain = { TEMPORAL_ADDRESS: 'temporal.example.com:7233' };
    expect((await asyncErrorOf(() => open(plain))).code).toBe('CONFIG_INVALID');
    expect((await asyncErrorOf(() => open({ ...plain, TEMPORAL_TLS: 'false' }))).code).toBe('CONFIG_INVALID');
    const blind = { ...envOf(1, {}), TEMPORAL_TLS: 'true', TEMPORAL_TLS_DISABLE_HOST_VERIFICATION: 'true' };
    expect((await asyncErrorOf(() => open(blind))).code).toBe('CONFIG_INVALID');
  });

  it('says which settings are wrong where a file is missing or holds something else', async () => {
    const missing = envOf(1, { ca: files.nothing });
    expect((await asyncErrorOf(() => open(missing))).code).toBe('CONFIG_INVALID');
    const [one, other] = [await us(), await us()];
    const mixed = envOf(1, await files.save({ ca: authority.ca, cert: one.cert, key: other.key }));
    expect((await asyncErrorOf(() => open(mixed))).detail).toContain('is not that of the certificate');
  });
});

/**
 * Answers as Temporal Cloud does, with nothing in its answers: the real server here knows no API keys.
 * @param isLetIn whether a key is good
 */
async function cloud(pair: Certificate, isLetIn: (key: string) => boolean) {
  const server = createSecureServer(pair);
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  server.on('stream', (stream, { authorization = '' }) => {
    const isKnown = isLetIn(authorization.replace(/^Bearer /, ''));
    stream.on('error', () => undefined); // whoever called is gone
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': isKnown ? '0' : '16' }));
    stream.end(isKnown ? EMPTY_MESSAGE : undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port, // it listens on a port
    async close() {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** As gRPC frames it: not compressed, no bytes. */
const EMPTY_MESSAGE = Buffer.alloc(5);
