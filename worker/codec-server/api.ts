import type { Payload, PayloadCodec } from '@temporalio/common';
import { decode, encode } from '@temporalio/common/lib/internal-non-workflow/index.js';
import fastify from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { ConnectorError, toProblem } from '../../domain/errors.ts';
import type { Authenticate } from '../agent/caller.ts';
import { toOurs } from '../agent/fastify-error.ts';
import { networkOf, RateLimit } from '../agent/rate-limit.ts';
import type { AgentServer } from '../agent/server.ts';
import { readPayloads, writePayloads } from './payloads-json.ts';

export interface CodecApiDeps {
  readonly server: AgentServer;
  /** Left out in development: then it is enough to be on this machine. */
  readonly authenticate: Authenticate | undefined;
  readonly codecs: PayloadCodec[];
  /** The Temporal namespace whose payloads these are. */
  readonly namespace: string;
  readonly origins: readonly string[];
  /** Resolves once it is in the audit log that somebody looks. Throws what keeps it from being there. */
  readonly onRead: (caller: string) => Promise<void>;
  readonly logger: Logger;
}

/** A few payloads of the most that Temporal takes, in base64. */
const BODY_MAX_BYTES = 16 * 1024 * 1024;
/** A page of the Temporal UI asks for each event of a history by itself. */
const CALLS_PER_MINUTE = 3_000;
const FAILED_PER_MINUTE = 600;
const MAX_AT_ONCE = 8;
/** A host name of 253 characters with its scheme and port; what is longer is no page's. */
const MAX_ORIGIN_CHARS = 270;
const WHOEVER_IS_HERE = 'somebody on this machine';

/** Temporal's codec server protocol: `POST /decode` and `POST /encode`. @see https://docs.temporal.io/codec-server */
export function createCodecApi(deps: CodecApiDeps): FastifyInstance {
  const { server, authenticate, codecs, namespace, origins, onRead, logger } = deps;
  const calls = new RateLimit({ perMinute: CALLS_PER_MINUTE, burst: CALLS_PER_MINUTE / 2 });
  const failures = new RateLimit({ perMinute: FAILED_PER_MINUTE, burst: FAILED_PER_MINUTE / 10 });
  const callers = new WeakMap<FastifyRequest, string>();
  let atOnce = 0;

  const app = fastify({
    serverFactory: (listener) => server.make(listener),
    bodyLimit: BODY_MAX_BYTES,
    exposeHeadRoutes: false,
  });

  /** Pages are told apart by their origin, which a browser does not let them forge; programs send none. */
  function allowOrigin({ headers: { origin } }: FastifyRequest, reply: FastifyReply): void {
    if (origin === undefined) return;
    if (!origins.includes(origin)) throw new ConnectorError('ORIGIN_DENIED');
    void reply.header('access-control-allow-origin', origin).header('vary', 'origin');
  }

  async function letIn(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    callers.set(request, await callerOf(request));
    if (calls.take(callers.get(request) ?? '', performance.now()) > 0 || atOnce >= MAX_AT_ONCE) {
      throw new ConnectorError('CALLS_TOO_MANY');
    }
    atOnce += 1;
    reply.raw.once('close', () => (atOnce -= 1));
    // What another namespace holds is none of this server's, whoever asks.
    if (request.headers['x-namespace'] !== namespace) throw new ConnectorError('ROUTE_UNKNOWN');
  }

  async function callerOf(request: FastifyRequest): Promise<string> {
    if (!authenticate) return WHOEVER_IS_HERE;
    const { authorization } = request.headers;
    try {
      const caller = await authenticate({ authorization, socket: request.raw.socket });
      if (caller) return caller.id;
      throw new ConnectorError('CALLER_UNAUTHENTICATED');
    } catch (error) {
      // Behind an ingress everybody comes from one network: whoever is known gets in, however often somebody else there is
      // not. A token cannot be guessed; what is bounded is what strangers are told, and with it the alerts.
      const isStranger = error instanceof ConnectorError && error.code === 'CALLER_UNAUTHENTICATED';
      const isOneTooMany = isStranger && failures.take(networkOf(request.ip), performance.now()) > 0;
      throw isOneTooMany ? new ConnectorError('CALLS_TOO_MANY') : error;
    }
  }

  function answerProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const problem = toProblem(toOurs(error));
    const about = {
      route: request.routeOptions.url,
      code: problem.code,
      caller: callers.get(request),
      ip: request.ip,
      origin: request.headers.origin?.slice(0, MAX_ORIGIN_CHARS),
    };
    if (problem.code === 'CALLER_UNAUTHENTICATED') {
      logger.error({ alert: 'authentication-failed', ...about }, 'a caller was not accepted');
    } else logger.warn({ ...about, err: error }, 'a call was refused');
    if (problem.status === 401) void reply.header('www-authenticate', 'Bearer');
    return reply
      .code(problem.status)
      .header('content-type', 'application/problem+json')
      .send(Buffer.from(JSON.stringify(problem)));
  }

  async function answer(request: FastifyRequest, work: (payloads: Payload[]) => Promise<Payload[]>): Promise<object> {
    const payloads = await work(readPayloads(request.body));
    const about = { caller: callers.get(request), ip: request.ip, payloads: payloads.length };
    logger.info(about, request.routeOptions.url === '/decode' ? 'payloads were shown' : 'payloads were encrypted');
    return writePayloads(payloads);
  }

  app.removeAllContentTypeParsers();
  // A page of another origin could send text without asking first.
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler(answerProblem);
  app.setNotFoundHandler((request, reply) => answerProblem(new ConnectorError('ROUTE_UNKNOWN'), request, reply));
  app.addHook('onRequest', (request, reply, done) => {
    void reply.header('cache-control', 'no-store');
    try {
      allowOrigin(request, reply);
      done();
    } catch (error) {
      done(error as Error); // a ConnectorError
    }
  });

  app.options('/*', (_request, reply) =>
    reply
      .code(204)
      .header('access-control-allow-methods', 'POST')
      .header('access-control-allow-headers', 'authorization, content-type, x-namespace')
      .header('access-control-max-age', '600')
      .send(),
  );
  app.post('/decode', { onRequest: letIn }, (request) =>
    answer(request, async (payloads) => {
      await onRead(callers.get(request) ?? WHOEVER_IS_HERE);
      return decode(codecs, payloads);
    }),
  );
  // The Temporal UI and command have what people send encrypted here, such as their votes.
  app.post('/encode', { onRequest: letIn }, (request) => answer(request, (payloads) => encode(codecs, payloads)));
  app.get('/health', (_request, reply) => reply.send({ status: 'ok' }));

  return app;
}
