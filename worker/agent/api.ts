import type { Socket } from 'node:net';
import fastify from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { payloadDigest } from '../../activities/package/admission.ts';
import { sha256 } from '../../client/sha256.ts';
import { BODY_MAX_BYTES } from '../../domain/agent-api.ts';
import type { HealthReport } from '../../domain/agent-api.ts';
import type { AuditEvent } from '../../domain/audit.ts';
import type { ErrorCode, Problem } from '../../domain/errors.ts';
import { ConnectorError, toProblem } from '../../domain/errors.ts';
import type { Metrics } from '../metrics/registry.ts';
import type { AccessLog, Call } from './access-log.ts';
import type { AgentCaller, Authenticate } from './caller.ts';
import { acceptPackage, describeAccepted, readSigned } from './execute.ts';
import type { ExecuteDeps } from './execute.ts';
import { toOurs } from './fastify-error.ts';
import { networkOf, RateLimit } from './rate-limit.ts';
import type { AgentServer } from './server.ts';

export interface ApiDeps {
  /** What packages are taken in with; a process without the role takes none. */
  readonly intake: ExecuteDeps | undefined;
  readonly server: AgentServer;
  readonly authenticate: Authenticate;
  /** Whether anybody can prove who they are; without that nobody sends packages here. */
  readonly isProvable: boolean;
  /** Whether this process ends: others take packages in. */
  readonly isDraining: () => boolean;
  /** Every answer says so. */
  readonly simulated: boolean;
  readonly packagesPerMinute: number;
  readonly namespace: string;
  readonly health: () => HealthReport;
  readonly metrics: Metrics;
  readonly accessLog: AccessLog;
  /** Tells whoever is on call of a package that was refused; the cause goes no further. */
  readonly onRefused: (error: unknown, call: Pick<Call, 'address' | 'code'>, caller: AgentCaller) => void;
}

/** Packages that are verified and started at a time. */
const MAX_AT_ONCE = 8;
/** Failed attempts to prove who one is, and scrapes, of one network in a minute. */
const FAILED_PER_MINUTE = 600;
const SCRAPES_PER_MINUTE = 120;
/** A body that is refused unread: a small one is let in, so that the connection can be used again. */
const DRAINED_BYTES = 64 * 1024;
const RETRY_SOON_SECONDS = 1;

/** What is remembered of a call until it is answered. */
interface CallState {
  readonly startedAt: number;
  caller?: AgentCaller;
  code?: ErrorCode;
  retryAfterSeconds?: number;
  /** What the call was about, where that is known. */
  about?: Pick<AuditEvent, 'wpk' | 'wpkDigest' | 'workflowId' | 'runId'>;
  /** Set once the caller has proven who they are and was let in: the call gets an entry of its own. */
  isLetIn?: boolean;
}

/** The agent's HTTP API: `POST /execute`, `GET /health`, `/health/live`, `/health/ready`, `GET /metrics`. */
export function createApi(deps: ApiDeps): FastifyInstance {
  const { server, accessLog, metrics } = deps;
  const failures = new RateLimit({ perMinute: FAILED_PER_MINUTE, burst: FAILED_PER_MINUTE / 10 });
  const scrapes = new RateLimit({ perMinute: SCRAPES_PER_MINUTE, burst: SCRAPES_PER_MINUTE / 10 });
  const packages = new RateLimit({ perMinute: deps.packagesPerMinute, burst: Math.ceil(deps.packagesPerMinute / 6) });
  const states = new WeakMap<FastifyRequest, CallState>();
  const mark = deps.simulated ? ({ simulated: true } as const) : {};
  let atOnce = 0;

  const app = fastify({
    serverFactory: (listener) => server.make(listener),
    bodyLimit: BODY_MAX_BYTES,
    exposeHeadRoutes: false,
    clientErrorHandler: (error, socket) => answerClientError(error, socket),
    frameworkErrors: (error, request, reply) => void answerProblem(error, request, reply),
  });

  const stateOf = (request: FastifyRequest): CallState => {
    const state = states.get(request) ?? { startedAt: performance.now() };
    states.set(request, state);
    return state;
  };
  const limit = (rate: RateLimit, key: string, state: CallState) => {
    const seconds = rate.take(key, performance.now());
    if (seconds > 0) throw tooMany(state, seconds);
  };

  /** Who has failed too often is not heard for a while: a proof costs more to check than to make up. */
  async function callerOf(request: FastifyRequest, state: CallState): Promise<AgentCaller | undefined> {
    const network = networkOf(request.ip);
    const seconds = failures.look(network, performance.now());
    if (seconds > 0) throw tooMany(state, seconds);
    try {
      const caller = await deps.authenticate(proofOf(request));
      if (caller) state.caller = caller;
      return caller;
    } catch (error) {
      failures.take(network, performance.now());
      throw error;
    }
  }

  async function letIn(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const state = stateOf(request);
    if (!deps.intake || !deps.isProvable) throw new ConnectorError('ROUTE_OFF');
    if (deps.isDraining()) throw new ConnectorError('WORKER_DRAINING');
    const caller = await callerOf(request, state);
    if (!caller) throw new ConnectorError('CALLER_UNAUTHENTICATED');
    limit(packages, caller.id, state);
    if (atOnce >= MAX_AT_ONCE) throw tooMany(state, RETRY_SOON_SECONDS);
    atOnce += 1;
    reply.raw.once('close', () => (atOnce -= 1));
    state.isLetIn = true;
  }

  async function answerProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const state = stateOf(request);
    let told = toOurs(error);
    let problem = toProblem(told);
    if (state.isLetIn && state.caller) {
      deps.onRefused(told, { address: request.ip, code: problem.code }, state.caller);
      try {
        await accessLog.record(describeCall(request, problem.status, problem.code), state.caller, state.about ?? {});
      } catch (unrecorded) {
        told = unrecorded;
        problem = toProblem(told);
      }
    }
    state.code = problem.code;
    return sendProblem(reply, problem, state.retryAfterSeconds);
  }

  function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
    const code = CLIENT_ERRORS[error.code ?? ''] ?? 'CALL_MALFORMED';
    const problem = toProblem(new ConnectorError(code));
    const route = 'other';
    accessLog.count({ method: 'other', route, status: problem.status, address: socket.remoteAddress ?? '', code });
    metrics.onCall({ route, status: problem.status, code, seconds: 0 });
    if (!socket.writable) return void socket.destroy();
    const body = JSON.stringify(problem);
    socket.end(
      `HTTP/1.1 ${problem.status} Refused\r\nContent-Type: application/problem+json\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n` +
        `${deps.simulated ? 'Byoc-Simulated: true\r\n' : ''}\r\n${body}`,
    );
  }

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler(answerProblem);
  app.setNotFoundHandler((request, reply) => answerProblem(new ConnectorError('ROUTE_UNKNOWN'), request, reply));
  app.addHook('onRequest', (request, reply, done) => {
    stateOf(request);
    if (deps.simulated) void reply.header('byoc-simulated', 'true');
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const { caller, code, isLetIn, startedAt } = stateOf(request);
    const call = describeCall(request, reply.statusCode, code);
    if (!isLetIn) accessLog.count({ ...call, ...(caller && { caller }) });
    metrics.onCall({ ...call, seconds: (performance.now() - startedAt) / 1000 });
    done();
  });

  app.post('/execute', { onRequest: letIn }, async (request, reply) => {
    const state = stateOf(request);
    const signed = readSigned(request.body);
    const digest = payloadDigest(signed, sha256);
    if (digest) state.about = { wpkDigest: digest };
    if (!deps.intake) throw new ConnectorError('ROUTE_OFF');
    const { wpkDigest, ...submitted } = await acceptPackage(signed, deps.intake);
    const { wpkId: wpk, workflowId, runId } = submitted;
    state.about = { wpk, wpkDigest, workflowId, runId };
    if (state.caller) await accessLog.record(describeCall(request, 202), state.caller, state.about);
    return reply.code(202).send({ ...describeAccepted(submitted, deps.namespace), ...mark });
  });

  app.get('/health', async (request, reply) => {
    const report = deps.health();
    const isKnown = await isAuthenticated(request);
    return reply.code(report.ready ? 200 : 503).send(isKnown ? report : { status: report.status, ...mark });
  });
  app.get('/health/live', (_request, reply) => reply.send({ status: 'ok', ...mark }));
  app.get('/health/ready', (_request, reply) => {
    const { ready, status } = deps.health();
    return reply.code(ready ? 200 : 503).send({ status, ...mark });
  });

  /** A proof that does not hold tells nothing, like none; it is only counted. */
  async function isAuthenticated(request: FastifyRequest): Promise<boolean> {
    const state = stateOf(request);
    if (!deps.isProvable) return false;
    try {
      return (await callerOf(request, state)) !== undefined;
    } catch (error) {
      state.code = toProblem(error).code;
      return false;
    }
  }

  app.get('/metrics', async (request, reply) => {
    limit(scrapes, networkOf(request.ip), stateOf(request));
    metrics.setConnections(server.connections());
    return reply.type(metrics.contentType).send(await metrics.render());
  });

  return app;
}

/** Codes of Node's HTTP parser and time-outs. */
const CLIENT_ERRORS: Readonly<Record<string, ErrorCode>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'CALL_TOO_SLOW',
  HPE_HEADER_OVERFLOW: 'CALL_TOO_LARGE',
};

function tooMany(state: CallState, seconds: number): ConnectorError {
  state.retryAfterSeconds = seconds;
  return new ConnectorError('CALLS_TOO_MANY');
}

function proofOf(request: FastifyRequest): Parameters<Authenticate>[0] {
  return { authorization: request.headers.authorization, socket: request.raw.socket };
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];

function describeCall(request: FastifyRequest, status: number, code?: ErrorCode): Omit<Call, 'caller'> {
  return {
    method: METHODS.includes(request.method) ? request.method : 'other',
    route: request.routeOptions.url ?? 'other', // never the path itself, which is whatever a stranger likes
    status,
    address: request.ip,
    ...(code !== undefined && { code }),
  };
}

function sendProblem(reply: FastifyReply, problem: Problem, retryAfterSeconds: number | undefined): FastifyReply {
  const { raw } = reply.request;
  const announced = Number(raw.headers['content-length'] ?? (raw.headers['transfer-encoding'] ? Infinity : 0));
  if (!raw.complete && !(announced <= DRAINED_BYTES)) void reply.header('connection', 'close');
  if (problem.status === 401) void reply.header('www-authenticate', 'Bearer');
  if (retryAfterSeconds !== undefined) void reply.header('retry-after', String(retryAfterSeconds));
  // As bytes, or a parameter would be added to the media type, which has none.
  return reply
    .code(problem.status)
    .header('content-type', 'application/problem+json')
    .send(Buffer.from(JSON.stringify(problem)));
}
