import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  CONTROL_PLANE_AUDIENCE,
  heartbeatSchema,
  idempotencyKeyOf,
  INSIGHT_AUDIENCE,
  LIVENESS_MS,
  PROBLEMS,
  registrationSchema,
  signalSchema,
} from '../../domain/control-plane.ts';
import type { Answer, Signal } from '../../domain/control-plane.ts';
import { isSimulated } from '../../domain/simulation.ts';
import { readBody } from './body.ts';
import { HeadGuard } from './head-guard.ts';
import { describeCluster, describeClusters } from './overview.ts';
import { RateLimit } from './rate-limit.ts';
import { Refusal } from './refusal.ts';
import { Store } from './store.ts';
import type { Caller, TokenOptions } from './tokens.ts';
import { createTokenVerifier } from './tokens.ts';

export interface ControlPlaneOptions extends TokenOptions {
  /** 0 for any free one. */
  readonly port: number;
  /** Certificate and key in PEM; plain HTTP, on loopback, where they are left out. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** The SQLite file. */
  readonly file: string;
  /** For `/clusters`: who reads and revokes here is no connector. */
  readonly operatorToken: string;
  readonly minimumVersion?: string;
  /** Requests of one cluster in a minute. */
  readonly requestsPerMinute?: number;
  readonly liveness?: { readonly alive: number; readonly stale: number };
  readonly onRefused?: (line: {
    readonly method: string;
    readonly path: string;
    readonly code: string;
    readonly why: string;
  }) => void;
}

export interface ControlPlaneServer {
  readonly url: string;
  close(): Promise<void>;
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

type Handler = (request: IncomingMessage, caller: Caller) => Promise<Reply>;

/**
 * The reference control plane: all that docs/control-plane.md asks of one, and nothing else. Small rather than fast; real
 * in what it checks and in what it keeps.
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlaneServer> {
  const { minimumVersion, liveness = LIVENESS_MS } = options;
  const store = new Store(options.file);
  const guard = new HeadGuard(store);
  const verify = createTokenVerifier(options);
  const limit = new RateLimit(options.requestsPerMinute ?? 600);
  const answer = (): Answer => ({
    time: new Date().toISOString(),
    ...(minimumVersion !== undefined && { minimumVersion }),
  });

  const handlers: Readonly<Record<string, Handler>> = {
    'POST /register': async (request, caller) => {
      const { value } = await readBody(request, registrationSchema);
      assertOwn(caller, value.clusterId, CONTROL_PLANE_AUDIENCE);
      const known = store.cluster(value.clusterId);
      if (known && known.registration.clusterUid !== value.clusterUid) {
        throw new Refusal('cluster-conflict', `registered with ${known.registration.clusterUid}`);
      }
      const pinned = known?.auditKeys ?? [];
      const added = value.auditKeys.filter((key) => !pinned.includes(key));
      // Another key is taken, because one can be lost; but somebody should know, because it is also how a log is replaced.
      if (known && added.length > 0) {
        const alarm = {
          kind: 'key-changed',
          chain: value.clusterId,
          expected: digestOf(pinned),
          found: digestOf(added),
        } as const;
        store.alarm(value.clusterId, alarm, Date.now());
      }
      const isNew = store.register(value, [...pinned, ...added], Date.now());
      return { status: isNew ? 201 : 200, body: answer() };
    },

    'PUT /healthz': async (request, caller) => {
      const { value } = await readBody(request, heartbeatSchema);
      const { auditKeys } = registered(store, caller, value.clusterId, CONTROL_PLANE_AUDIENCE);
      if (value.heads) guard.take(value.clusterId, value.heads, auditKeys, Date.now());
      store.beat(value, Date.now());
      return { status: 200, body: answer() };
    },

    'POST /signals': async (request, caller) => {
      const { value, digest } = await readBody<Signal>(request, signalSchema);
      registered(store, caller, value.clusterId, ...(value.kind === 'metrics' ? AUDIENCES : [CONTROL_PLANE_AUDIENCE]));
      const key = idempotencyKeyOf(value);
      if (request.headers['idempotency-key'] !== key) {
        throw new Refusal('malformed', 'Idempotency-Key is not the id of what is sent');
      }
      if (store.saveSignal(value, key, digest, Date.now()) === 'conflict')
        throw new Refusal('idempotency-conflict', key);
      return { status: 202, body: answer() };
    },
  };
  const paths = new Set(Object.keys(handlers).map((route) => route.split(' ')[1]));

  async function asConnector(request: IncomingMessage, path: string): Promise<Reply> {
    const handler = handlers[`${request.method} ${path}`];
    if (!handler) throw new Refusal(paths.has(path) ? 'method-not-allowed' : 'not-found', path);
    const caller = await verify(request.headers.authorization);
    if (isSimulated(caller.clusterId) !== (options.simulatedKeys !== undefined))
      throw new Refusal('forbidden', 'what is simulated and what is real do not go together');
    if (store.isRevoked(caller.clusterId, caller.issuedAt))
      throw new Refusal('unauthenticated', 'the token was revoked');
    limit.take(caller.clusterId);
    return handler(request, caller);
  }

  /** For people, and no part of the contract: what is remembered of the clusters, and revoking their tokens. */
  function asOperator(request: IncomingMessage, path: string): Reply {
    if (!isSame(request.headers.authorization ?? '', `Bearer ${options.operatorToken}`)) {
      throw new Refusal('unauthenticated', 'no operator');
    }
    const [, , id, action] = path.split('/').map(decodeURIComponent);
    const overview = { store, liveness, now: Date.now() };
    if (id === undefined) return { status: 200, body: describeClusters(overview) };
    if (request.method === 'POST' && action === 'revoke') {
      store.revokeTokens(id, Math.floor(Date.now() / 1000) + 1);
      return { status: 200, body: {} };
    }
    const found = store.cluster(id);
    if (!found) throw new Refusal('not-registered', id);
    if (request.method === 'POST' && action === 'forget') {
      store.forget(id);
      return { status: 200, body: {} };
    }
    if (action === 'heads') return { status: 200, body: newestOf(store.heads(id)) };
    return { status: 200, body: describeCluster(overview, found) };
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').replace(/\?.*$/, '');
    try {
      const isOperators = path === '/clusters' || path.startsWith('/clusters/');
      const { status, body } = isOperators ? asOperator(request, path) : await asConnector(request, path);
      send(response, status, 'application/json', body);
    } catch (error) {
      const { code, headers, message } = error instanceof Refusal ? error : new Refusal('internal', String(error));
      options.onRefused?.({ method: request.method ?? '', path, code, why: message });
      const { status, title } = PROBLEMS[code];
      const problem = { type: `https://neuralops.io/problems/${code}`, title, status, code };
      // What is left of a body that nobody reads ends with the connection.
      if (!request.complete) response.setHeader('connection', 'close');
      send(response, status, 'application/problem+json', problem, headers);
    }
  }

  const listener = (request: IncomingMessage, response: ServerResponse) => void serve(request, response);
  const limits = { requestTimeout: 15_000, headersTimeout: 10_000, maxHeaderSize: 32 * 1024 };
  const server = options.tls
    ? createHttpsServer({ ...options.tls, ...limits }, listener)
    : createHttpServer(limits, listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo; // it listens on a port
  return {
    url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      store.close();
    },
  };
}

/** Metrics may go to a service of their own; this one takes them too. */
const AUDIENCES = [CONTROL_PLANE_AUDIENCE, INSIGHT_AUDIENCE];

function assertOwn(caller: Caller, clusterId: string, ...audiences: readonly string[]): void {
  if (caller.clusterId !== clusterId) throw new Refusal('forbidden', `the token is for ${caller.clusterId}`);
  if (!audiences.some((one) => caller.audiences.includes(one)))
    throw new Refusal('forbidden', 'the token is for something else');
}

function registered(store: Store, caller: Caller, clusterId: string, ...audiences: readonly string[]) {
  assertOwn(caller, clusterId, ...audiences);
  const found = store.cluster(clusterId);
  if (!found) throw new Refusal('not-registered', clusterId);
  return found;
}

function newestOf(heads: ReturnType<Store['heads']>): unknown {
  return [...new Map(heads.map(({ signed }) => [signed.head.chain, signed])).values()];
}

function send(response: ServerResponse, status: number, type: string, body: unknown, headers = {}): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text), ...headers }).end(text);
}

function digestOf(keys: readonly string[]): string {
  return createHash('sha256').update(keys.join('\n')).digest('hex');
}

/** In a time that does not tell how much of it is right. */
function isSame(given: string, wanted: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}
