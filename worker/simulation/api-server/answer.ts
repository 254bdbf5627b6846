import { apiVersionOf, discoveryDocument } from './kinds.ts';
import { notFound, Refusal } from './refusal.ts';
import type { ApiAnswer, ApiRequest, Target } from './request.ts';
import { targetOf } from './request.ts';
import { selects } from './selectors.ts';
import type { ObjectStore } from './store.ts';
import { liveAt, patch, post, put, remove, removeAll } from './writes.ts';

/** The version that the simulated API server says it is: never taken for a real one. */
const SIMULATED_VERSION = 'v1.34.3-simulated';

/** Answers one request as the API server does, but for what docs/simulation.md says it leaves out. */
export function answer(store: ObjectStore, request: ApiRequest): ApiAnswer {
  try {
    const document = documentAt(request.path);
    return document === undefined ? answerAt(store, request) : { status: 200, body: document };
  } catch (error) {
    if (error instanceof Refusal) return { status: error.status, body: error.body };
    throw error;
  }
}

function documentAt(path: string): unknown {
  switch (path) {
    case '/version':
      return { major: '1', minor: '34', gitVersion: SIMULATED_VERSION, platform: 'simulated' };
    case '/livez':
    case '/readyz':
    case '/healthz':
      return 'ok';
    case '/api':
      return discoveryDocument('api');
    case '/apis':
      return discoveryDocument('apis');
    default:
      return undefined;
  }
}

function answerAt(store: ObjectStore, request: ApiRequest): ApiAnswer {
  const target = targetOf(request.path);
  if (!target) throw new NothingServed();
  const { kind, namespace, name, subresource } = target;
  if (subresource !== undefined) throw notFound(kind, name ?? '');
  if (name === undefined) {
    if (request.method === 'POST') return post(store, target, request);
    if (request.method !== 'GET' && request.method !== 'DELETE') throw notAllowed();
    const listed = { status: 200, body: list(store, target, request) };
    if (request.method === 'DELETE') removeAll(store, target, request);
    return listed;
  }
  const place = { kind, namespace, name };
  switch (request.method) {
    case 'GET':
      return { status: 200, body: liveAt(store, place) };
    case 'PUT':
      return put(store, place, request);
    case 'PATCH':
      return patch(store, place, request);
    case 'DELETE':
      return remove(store, place, request);
    default:
      throw notAllowed();
  }
}

/** A path of no kind: the API server's HTTP layer answers, in plain text. */
class NothingServed extends Refusal {
  override readonly body = '404 page not found\n';

  constructor() {
    super(404, 'NotFound', '');
  }
}

function notAllowed(): Refusal {
  return new Refusal(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
}

/** The whole collection, or page by page where a limit is given. */
function list(store: ObjectStore, { kind, namespace }: Target, { query, accept }: ApiRequest): unknown {
  const all = store.list(kind, namespace).filter(selects(query));
  const from = Number(query.get('continue') ?? 0);
  const limit = Number(query.get('limit') ?? 0) || Infinity;
  const items = all.slice(from, from + limit);
  const left = all.length - from - items.length;
  const metadata = {
    resourceVersion: store.revision,
    ...(left > 0 && { continue: String(from + items.length), remainingItemCount: left }),
  };
  if (accept.includes('as=PartialObjectMetadataList')) {
    const only = items.map((object) => ({ metadata: object.metadata }));
    return { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items: only };
  }
  const bare = items.map(({ apiVersion: _version, kind: _kind, ...rest }) => rest);
  return { kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind), metadata, items: bare };
}

export function unauthorized(): ApiAnswer {
  const { status, body } = new Refusal(401, 'Unauthorized', 'Unauthorized');
  return { status, body };
}

export function expired(): ApiAnswer {
  const { status, body } = new Refusal(410, 'Expired', 'too old resource version');
  return { status, body };
}
