import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { runControllers } from './controllers.ts';
import { answer, expired, unauthorized } from './answer.ts';
import type { ApiAnswer, Target } from './request.ts';
import { targetOf } from './request.ts';
import { seed } from './seed.ts';
import { selects } from './selectors.ts';
import type { Change } from './store.ts';
import { ObjectStore } from './store.ts';

export interface SimulatedApiServer {
  readonly url: string;
  /** PEM of its certificate, which is its own authority. */
  readonly ca: string;
  /** Whoever has it may do everything. */
  readonly token: string;
  close(): Promise<void>;
}

export interface ApiServerOptions {
  readonly tls: { readonly cert: string; readonly key: string };
  /** How long a workload takes to say that it is ready; 0.3 s where it is left out. */
  readonly readyAfterMs?: number;
}

const WATCH_SECONDS = 60;

/** Serves an empty cluster from memory, on this machine only. What it was is gone when it is closed. */
export async function startApiServer({ tls, readyAfterMs = 300 }: ApiServerOptions): Promise<SimulatedApiServer> {
  const store = new ObjectStore();
  seed(store);
  const stopControllers = runControllers(store, { readyAfterMs });
  const token = randomBytes(24).toString('base64url');
  const wanted = Buffer.from(`Bearer ${token}`);
  const isKnown = ({ headers }: IncomingMessage) => {
    const given = Buffer.from(headers.authorization ?? '');
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  };

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://localhost');
    if (!isKnown(request)) return send(response, unauthorized());
    const { pathname: path, searchParams: query } = url;
    const target = targetOf(path);
    if (target && request.method === 'GET' && ['true', '1'].includes(query.get('watch') ?? '')) {
      return watch(store, target, query, response);
    }
    const header = (name: string) => String(request.headers[name] ?? '');
    const asked = {
      ...{ method: request.method ?? 'GET', path, query, body: await text(request) },
      ...{ contentType: header('content-type'), accept: header('accept'), userAgent: header('user-agent') },
    };
    send(response, answer(store, asked));
  }

  const server = createServer(tls, (request, response) => {
    serve(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // it listens on a port
  return {
    url: `https://127.0.0.1:${port}`,
    ca: tls.cert,
    token,
    async close() {
      stopControllers();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function send(response: ServerResponse, { status, body }: ApiAnswer): void {
  const isText = typeof body === 'string';
  const bytes = Buffer.from(isText ? body : JSON.stringify(body));
  const type = isText ? 'text/plain' : 'application/json';
  response.writeHead(status, { 'content-type': type, 'content-length': bytes.length }).end(bytes);
}

/** Without a resourceVersion what is there comes first; with one, what happened since. */
function watch(
  store: ObjectStore,
  { kind, namespace, name }: Target,
  query: URLSearchParams,
  response: ServerResponse,
): void {
  const from = Number(query.get('resourceVersion') ?? 0);
  const missed = from > 0 ? store.since(from) : [];
  if (!missed) return send(response, expired());
  const isSelected = selects(query);
  const isWatched = (change: Pick<Change, 'kind' | 'object'>) =>
    change.kind === kind &&
    (namespace === undefined || change.object.metadata.namespace === namespace) &&
    (name === undefined || change.object.metadata.name === name) &&
    isSelected(change.object);
  const tell = ({ type, object }: Pick<Change, 'type' | 'object'>) =>
    response.write(`${JSON.stringify({ type, object })}\n`);
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();
  const present = store.list(kind, namespace).map((object) => ({ type: 'ADDED', kind, object }) as const);
  for (const one of from > 0 ? missed : present) if (isWatched(one)) tell(one);
  const stop = store.listen((change) => {
    if (isWatched(change)) tell(change);
  });
  const seconds = Number(query.get('timeoutSeconds')) || WATCH_SECONDS;
  const timer = setTimeout(() => response.end(), seconds * 1_000).unref();
  response.on('close', () => {
    stop();
    clearTimeout(timer);
  });
}
