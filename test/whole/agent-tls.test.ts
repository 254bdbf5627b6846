import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Agent, request } from 'undici';
import type { HealthReport } from '../../domain/agent-api.ts';
import type { Authority, Certificate } from '../../dev/authority.ts';
import { createAuthority } from '../../dev/authority.ts';
import { TestConnector } from '../support/connector.ts';
import { TokenIssuer } from '../support/token-issuer.ts';
import { until } from '../support/until.ts';

// R15, R23

const CONTROL_PLANE = 'spiffe://acme/control-plane';
/** The agent looks every 10 s for other certificates, and asks for keys again after 5 s at the earliest. */
const NOTICED_WITHIN_MS = 25_000;

describe("the agent's HTTP API over TLS", () => {
  let connector: TestConnector;
  let authority: Authority;
  let issuer: TokenIssuer;
  let keyServer: KeyServer;
  let port: number;
  const agents: Agent[] = [];

  beforeAll(async () => {
    authority = await createAuthority();
    issuer = await TokenIssuer.create();
    keyServer = await KeyServer.start(await serverPair(), () => issuer.jwks());
    const { cert, key } = await serverPair();
    connector = await TestConnector.start({
      clothes: 'development', // with certificates of the test's own
      env: {
        BYOC_AGENT_PORT: '0',
        BYOC_AGENT_HOST: '127.0.0.1',
        BYOC_AGENT_TLS_CERT: 'agent.crt',
        BYOC_AGENT_TLS_KEY: 'agent.key',
        BYOC_AGENT_CLIENT_CA: 'clients.crt',
        BYOC_AGENT_CLIENT_NAMES: `URI:${CONTROL_PLANE}`,
        BYOC_AGENT_JWT_ISSUER: issuer.issuer,
        BYOC_AGENT_JWT_KEYS: keyServer.url,
        BYOC_AGENT_JWT_CA: 'clients.crt',
      },
      files: { 'agent.crt': cert, 'agent.key': key, 'clients.crt': authority.ca },
    });
    const line = (await connector.log()).find(({ message }) => message === 'the agent listens');
    port = Number(line?.['port']);
  });
  afterAll(async () => {
    await Promise.all(agents.filter(({ closed }) => !closed).map((agent) => agent.close()));
    await connector.stop();
    await keyServer.stop();
  });

  const serverPair = () => authority.issue('agent');
  const clientPair = (name: string, from = authority, notAfter?: Date) =>
    from.issue('client', { use: 'client', names: [{ type: 'url', value: name }], ...(notAfter && { notAfter }) });
  const agentWith = (pair?: Certificate) => {
    const agent = new Agent({ connect: { ca: authority.ca, ...pair } });
    agents.push(agent);
    return agent;
  };
  /** A body that is nothing: who is let in is told so, who is not is told that. */
  const knock = async (pair?: Certificate, token?: string) => {
    const dispatcher = agentWith(pair);
    const { statusCode, body } = await request(`https://127.0.0.1:${port}/execute`, {
      dispatcher,
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
      body: '{}',
    });
    await body.dump();
    await dispatcher.close(); // one machine may not have many connections
    return statusCode;
  };
  const [letIn, refused] = [400, 401];
  const token = () => issuer.token(`byoc/${connector.clusterId}`);

  it('lets in who brings a certificate with a name that is allowed, and takes their package', async () => {
    const pair = await clientPair(CONTROL_PLANE);
    expect(await knock(pair)).toBe(letIn);
    const { statusCode } = await request(`https://127.0.0.1:${port}/execute`, {
      dispatcher: agentWith(pair),
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(connector.signed()),
    });
    expect(statusCode).toBe(202);
    const entry = (await connector.audit()).findLast(({ type }) => type === 'http.call');
    expect(entry).toMatchObject({ actor: { id: `URI:${CONTROL_PLANE}` }, detail: { via: 'certificate' } });
  });

  it.each([
    ['no certificate', async () => undefined],
    ['a certificate with another name', () => clientPair('spiffe://acme/control-plane/other')],
    ['a certificate of another authority', async () => clientPair(CONTROL_PLANE, await createAuthority())],
    ['a certificate that has expired', () => clientPair(CONTROL_PLANE, authority, new Date(Date.now() - 60_000))],
    ['the certificate of a server', () => serverPair()],
  ])('refuses who brings %s', async (_what, make) => {
    expect(await knock(await make())).toBe(refused);
  });

  it('answers probes without a certificate', async () => {
    const { statusCode, body } = await request(`https://127.0.0.1:${port}/health/live`, { dispatcher: agentWith() });
    expect([statusCode, await body.json()]).toEqual([200, { status: 'ok' }]);
  });

  it('verifies tokens with the keys that a server publishes, and asks that one only once', async () => {
    expect(await knock(undefined, await token())).toBe(letIn);
    const asked = keyServer.asked;
    expect(await knock(undefined, await token())).toBe(letIn);
    expect(keyServer.asked).toBe(asked);
  });

  it('asks for keys again when a token names one that it does not know, but not for each such token', async () => {
    const strangers = await Promise.all([1, 2, 3, 4].map(() => TokenIssuer.create()));
    await issuer.addKey();
    const asked = keyServer.asked;
    const good = await token();
    await until('the new key to count', async () => (await knock(undefined, good)) === letIn, NOTICED_WITHIN_MS);
    for (const stranger of strangers) {
      await stranger.addKey();
      await stranger.addKey();
      expect(await knock(undefined, await stranger.token(`byoc/${connector.clusterId}`))).toBe(refused);
    }
    expect(keyServer.asked - asked).toBeLessThanOrEqual(2);
  });

  it('goes on with the keys that it has while their server is away, and says in the health that it is', async () => {
    await keyServer.stop();
    const good = await token();
    expect(await knock(undefined, good)).toBe(letIn);
    const [header = '', ...rest] = (await (await TokenIssuer.create()).token('anybody')).split('.');
    const dispatcher = agentWith();
    const unknown = Buffer.from(header, 'base64url').toString('utf8').replace('key-1', 'key-99');
    await until('the keys to be asked for', async () => {
      await sleep(500); // who fails too often is not heard for a while
      await knock(undefined, [Buffer.from(unknown).toString('base64url'), ...rest].join('.'));
      const { body } = await request(`https://127.0.0.1:${port}/health`, {
        dispatcher,
        headers: { authorization: `Bearer ${good}` },
      });
      const { components } = (await body.json()) as HealthReport;
      return components.some(({ name, code }) => name === 'caller-keys' && code === 'CALLERS_UNAVAILABLE');
    });
    expect(await knock(undefined, good)).toBe(letIn);
  });

  it('serves another certificate when the files change, and believes another authority then', async () => {
    const before = await clientPair(CONTROL_PLANE);
    const other = await createAuthority();
    const { cert, key } = await serverPair();
    const folder = connector.prepared.folder;
    await Promise.all([
      writeFile(join(folder, 'agent.crt'), cert),
      writeFile(join(folder, 'agent.key'), key),
      writeFile(join(folder, 'clients.crt'), other.ca),
    ]);
    await until(
      'the new certificate',
      async () => (await servedBy(port, authority.ca)) === cert.trim(),
      NOTICED_WITHIN_MS,
    );
    expect(await knock(before)).toBe(refused);
    expect(await knock(await clientPair(CONTROL_PLANE, other))).toBe(letIn);
  });
});

/** The certificate that a server shows, in PEM. */
function servedBy(port: number, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ca }, () => {
      resolve(socket.getPeerX509Certificate()?.toString().trim() ?? '');
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

/** Whoever publishes keys, over TLS. */
class KeyServer {
  readonly #server: Server;
  asked = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start({ cert, key }: Certificate, jwks: () => Promise<string>): Promise<KeyServer> {
    const server = createServer({ cert, key }, (_request, response) => {
      started.asked += 1;
      void jwks().then((text) => response.end(text));
    });
    const started = new KeyServer(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return started;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}/keys`;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
