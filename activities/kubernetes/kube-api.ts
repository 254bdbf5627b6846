import { setTimeout as sleep } from 'node:timers/promises';
import { errors, Pool, type Dispatcher } from 'undici';
import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import { LineSplitter } from '../../domain/line-splitter.ts';
import { ApiStatusError } from './api-status-error.ts';
import { createTlsContext } from '../tls/context.ts';
import type { TlsWatch } from '../tls/context.ts';
import { certificateFacts } from '../tls/material.ts';
import { tlsTroubleIn } from '../tls/trouble.ts';
import { verifyingConnector } from '../tls/undici-agents.ts';
import { createCredentialSource, type Credentials, type KubeAccess } from './credentials.ts';
import { at, type KubeObject } from './kube-object.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** The API server itself ends requests after 60 s; dry runs pass webhooks of up to 30 s. */
const REQUEST_TIMEOUT_MS = 60_000;
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** Of a whole collection as well: a pod has 512 MiB. */
const MAX_LIST_CHARACTERS = MAX_RESPONSE_BYTES;
/** Objects may have more than 1 MiB each: a page that is too large costs the whole list. */
const PAGE_SIZE = 250;
/** Of a list: metav1 `PartialObjectMetadataList`. */
const ACCEPT_METADATA = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const MAX_TRIES = 4;
/** For how long after it could not be reached an API server may not know yet who has which rights. */
const RIGHTS_LOADED_WITHIN_MS = 15_000;
const MAX_RETRY_AFTER_MS = 5_000;

/** A request that changes something, or would. */
export interface WriteCall {
  readonly method: 'PATCH' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly contentType: string;
  readonly body: string;
}

export interface ListOptions {
  readonly atMost: number;
  /** As in kubectl's `-l`. */
  readonly labelSelector?: string;
  /** As in kubectl's `--field-selector`. */
  readonly fieldSelector?: string;
  /** Leaves out all but the metadata, so that nothing is read that is not needed. */
  readonly onlyMetadata?: boolean;
}

export interface WatchOptions {
  readonly object: string;
  readonly resourceVersion?: string;
  /** After which the server is to end it. */
  readonly timeoutSeconds: number;
}

/** `BOOKMARK` holds nothing but a newer resourceVersion to go on from. */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: KubeObject;
}

/** What can't change the cluster. */
export interface KubeReader {
  /** The address of the API server. */
  readonly server: string;
  /** One object, or undefined where there is none. */
  get(path: string, signal?: AbortSignal): Promise<KubeObject | undefined>;
  /** A document that is no object, such as the discovery documents; `accept` as in HTTP. */
  getDocument(path: string, accept: string, signal?: AbortSignal): Promise<unknown>;
  /** A text that may not be there at the moment, such as a pod's log; asked for once. */
  getText(path: string, query: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<string>;
  /**
   * The objects of a collection, or undefined where there are more than `atMost`, they are larger than 64 MiB together,
   * or they cannot be paged through.
   */
  list(path: string, options: ListOptions, signal?: AbortSignal): Promise<KubeObject[] | undefined>;
  /** Sends a write with `dryRun=All`: the server validates, admits and answers, and keeps nothing. */
  dryRun(call: WriteCall, signal?: AbortSignal): Promise<KubeObject>;
  /** What identifies the cluster for good: the UID of the namespace kube-system. */
  clusterUid(signal?: AbortSignal): Promise<string>;
}

/** What tells of changes. */
export interface KubeWatcher {
  /**
   * What happens to one object from now on, or after a resourceVersion: its name is `object`, its collection `path`.
   * Ends when the server ends it; an abort of the signal ends it too, and throws the signal's reason.
   * @throws {ApiStatusError} 410 for a resourceVersion that is too old
   */
  watch(path: string, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent>;
}

/** What can change the cluster: for the writer alone. */
export interface KubeApi extends KubeReader, KubeWatcher {
  /**
   * Takes no signal: a write under way is awaited, never torn, so that what is reported of it is true.
   * @param mayWrite asked right before it is sent, and again before it is sent again because the server was too busy:
   *   where it throws, nothing is sent
   */
  write(call: WriteCall, mayWrite?: () => Promise<void>): Promise<KubeObject>;
  close(): Promise<void>;
}

export interface KubeApiOptions {
  /** Connections kept open to the API server; 16 where it is left out. */
  readonly connections?: number;
  /** How long an answer may take to begin, and to go on; 60 s where it is left out. */
  readonly requestTimeoutMs?: number;
  /** Is told about the certificates. */
  readonly onTls?: TlsWatch;
}

const NOT_ACCEPTED = 'The API server does not accept the credentials of the connector.';

interface Sent {
  readonly method: 'GET' | WriteCall['method'];
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Whether sending it twice is as good as once: reads and dry runs. */
  readonly repeatable: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly maySend?: (() => Promise<void>) | undefined;
}

/**
 * Speaks HTTP/1.1 to the API server of a kubeconfig's current context through a keep-alive pool.
 * All methods throw KUBERNETES_UNAVAILABLE when the server can't be reached or keeps answering 429 or 5xx, and the
 * reason of the signal when it is aborted. Reads throw KUBERNETES_FORBIDDEN for a missing right; `dryRun` and `write`
 * throw `ApiStatusError`, because what a refusal means depends on what was asked.
 * @throws {ConnectorError} CONFIG_INVALID for a kubeconfig that can't be used safely
 */
export function createKubeApi(kubeConfig: KubeAccess, options: KubeApiOptions = {}): KubeApi {
  const { connections = 16, requestTimeoutMs = REQUEST_TIMEOUT_MS, onTls } = options;
  const source = createCredentialSource(kubeConfig);
  const { origin, pathname } = new URL(source.server);
  const base = pathname.replace(/\/$/, '');
  let pool: { dispatcher: Pool; tls: Credentials['tls'] } | undefined;
  let clusterUid: string | undefined;
  let awayAt = -Infinity;
  const { onConnected } = createTlsContext({}, onTls);

  function unavailable(cause: unknown): ConnectorError {
    const trouble = tlsTroubleIn(cause);
    const detail = trouble === undefined ? `(${source.server})` : `(${source.server}): ${trouble}.`;
    return new ConnectorError('KUBERNETES_UNAVAILABLE', detail, { cause });
  }

  function poolFor(tls: Credentials['tls']): Pool {
    if (pool?.tls === tls) return pool.dispatcher;
    void pool?.dispatcher.close(); // lets what is under way finish on the old certificate
    const dispatcher = new Pool(origin, {
      connections,
      allowH2: false,
      connect: verifyingConnector(tls, { timeoutMs: CONNECT_TIMEOUT_MS, onConnected }),
      headersTimeout: requestTimeoutMs,
      bodyTimeout: requestTimeoutMs,
      maxResponseSize: MAX_RESPONSE_BYTES,
    });
    pool = { dispatcher, tls };
    if (onTls) tellOf(tls, onTls);
    return dispatcher;
  }

  async function sendOnce(
    sent: Sent,
    { tls, headers }: Credentials,
  ): Promise<{ status: number; retryAfter: string; text: string }> {
    const query = new URLSearchParams(sent.query).toString();
    const options: Dispatcher.RequestOptions = {
      method: sent.method,
      path: `${base}${sent.path}${query && `?${query}`}`,
      headers: { accept: 'application/json', ...headers, ...sent.headers },
      ...(sent.body === undefined ? {} : { body: sent.body }),
      ...(sent.signal ? { signal: sent.signal } : {}),
    };
    const response = await poolFor(tls).request(options);
    const retryAfter = response.headers['retry-after'];
    return { status: response.statusCode, retryAfter: String(retryAfter ?? ''), text: await response.body.text() };
  }

  /** An API server that has just started refuses everybody: it has not loaded its roles yet. Taken for a no, that would end a package. */
  const isStarting = (refusal: ApiStatusError) =>
    refusal.isMissingRight && performance.now() - awayAt < RIGHTS_LOADED_WITHIN_MS;

  /** Resolves to the body of a success. */
  async function send(sent: Sent): Promise<string> {
    for (let attempt = 1, renew = false; ; attempt++) {
      sent.signal?.throwIfAborted();
      const credentials = await source.current(renew);
      await sent.maySend?.();
      try {
        const { status, retryAfter, text } = await sendOnce(sent, credentials);
        if (status < 300) return text;
        const refusal = new ApiStatusError(status, text, sent.path);
        if (!refusal.isTemporary && !isStarting(refusal)) {
          if (status !== 401) throw refusal;
          // Whoever gives out tokens may be late: nothing is wrong with what was asked.
          if (renew) throw new ConnectorError('KUBERNETES_UNAVAILABLE', NOT_ACCEPTED, { cause: refusal });
          renew = true; // it may have been rotated since it was read
        } else if (attempt < MAX_TRIES && (status === 429 || status === 403 || sent.repeatable)) {
          await sleep(backoffMs(attempt, retryAfter), undefined, sent.signal ? { signal: sent.signal } : {});
        } else {
          throw new ConnectorError('KUBERNETES_UNAVAILABLE', refusal.message, { cause: refusal });
        }
      } catch (error) {
        sent.signal?.throwIfAborted();
        if (error instanceof ApiStatusError || error instanceof ConnectorError) throw error;
        if (isTooLarge(error)) {
          throw new ConnectorError('KUBERNETES_UNAVAILABLE', 'The answer is larger than 64 MiB.', { cause: error });
        }
        // The server closes idle connections: a read that was put on one is simply sent again.
        if (sent.repeatable && attempt === 1) continue;
        awayAt = performance.now();
        throw unavailable(error);
      }
    }
  }

  /** Resolves to undefined where there is nothing (404), or no longer (410, of the next page of a list). */
  async function read(path: string, query: Record<string, string>, accept: string, signal?: AbortSignal) {
    try {
      return await send({ method: 'GET', path, query, headers: { accept }, repeatable: true, signal });
    } catch (error) {
      if (!(error instanceof ApiStatusError)) throw error;
      if (error.status !== 404 && error.status !== 410) throw error.toConnectorError('KUBERNETES_UNAVAILABLE');
      // A proxy's "not found" says nothing about the object: taken for its absence, it would be created, or be done.
      if (!error.isFromApiServer) throw somethingElseAnswers();
      return undefined;
    }
  }

  async function readJson(path: string, accept: string, signal?: AbortSignal): Promise<unknown> {
    const text = await read(path, {}, accept, signal);
    return text === undefined ? undefined : parseBody(text);
  }

  async function get(path: string, signal?: AbortSignal): Promise<KubeObject | undefined> {
    return (await readJson(path, 'application/json', signal)) as KubeObject | undefined; // the API server's own form
  }

  async function list(path: string, options: ListOptions, signal?: AbortSignal) {
    const { atMost, labelSelector, fieldSelector, onlyMetadata = false } = options;
    const accept = onlyMetadata ? ACCEPT_METADATA : 'application/json';
    const objects: KubeObject[] = [];
    let next = '';
    let characters = 0;
    do {
      const query = {
        limit: String(PAGE_SIZE),
        ...(labelSelector ? { labelSelector } : {}),
        ...(fieldSelector ? { fieldSelector } : {}),
        ...(next ? { continue: next } : {}),
      };
      const text = await read(path, query, accept, signal).catch(tooLargeAsNull);
      if (text === undefined) return next ? undefined : objects;
      characters += text?.length ?? 0;
      if (text === null || characters > MAX_LIST_CHARACTERS) return undefined;
      const page = listSchema.parse(parseBody(text));
      if (objects.length + page.items.length + page.metadata.remainingItemCount > atMost) return undefined;
      // The items of a list leave out what the list says once.
      const kind = page.kind.replace(/List$/, '');
      for (const item of page.items) objects.push({ ...item, apiVersion: page.apiVersion, kind } as KubeObject);
      next = page.metadata.continue;
    } while (next);
    return objects;
  }

  async function* watch(
    path: string,
    { object, resourceVersion, timeoutSeconds }: WatchOptions,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent> {
    const { tls, headers } = await source.current();
    const query = new URLSearchParams({
      watch: 'true',
      allowWatchBookmarks: 'true',
      fieldSelector: `metadata.name=${object}`,
      timeoutSeconds: String(timeoutSeconds),
      ...(resourceVersion && { resourceVersion }),
    });
    const request = { method: 'GET', path: `${base}${path}?${query.toString()}`, headers, signal } as const;
    try {
      const { statusCode, body } = await poolFor(tls).request(request);
      if (statusCode >= 300) throw new ApiStatusError(statusCode, await body.text(), path);
      const lines = new LineSplitter(MAX_RESPONSE_BYTES);
      for await (const chunk of body) {
        for (const { bytes } of lines.push(chunk as Uint8Array)) yield eventIn(bytes, path);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ApiStatusError || error instanceof ConnectorError) throw error;
      throw unavailable(error);
    }
  }

  async function change(
    call: WriteCall,
    query: Record<string, string>,
    sent: Pick<Sent, 'repeatable' | 'signal' | 'maySend'>,
  ) {
    const { method, path, body, contentType } = call;
    const headers = { 'content-type': contentType };
    const text = await send({ method, path, body, headers, query: { ...call.query, ...query }, ...sent });
    return parseBody(text) as KubeObject; // the API server's own form
  }

  return {
    server: source.server,
    get,
    list,
    getDocument: (path, accept, signal) => readJson(path, accept, signal),
    watch,
    async getText(path, query, signal) {
      try {
        return await send({ method: 'GET', path, query, headers: { accept: '*/*' }, repeatable: false, signal });
      } catch (error) {
        throw error instanceof ApiStatusError ? error.toConnectorError('KUBERNETES_UNAVAILABLE') : error;
      }
    },
    dryRun: (call, signal) => change(asDryRun(call), { dryRun: 'All' }, { repeatable: true, signal }),
    write: (call, maySend) => change(call, {}, { repeatable: false, maySend }),
    async clusterUid(signal) {
      clusterUid ??= (await get('/api/v1/namespaces/kube-system', signal))?.metadata.uid;
      if (!clusterUid)
        throw new ConnectorError('KUBERNETES_UNAVAILABLE', 'The namespace kube-system is not there yet.');
      return clusterUid;
    },
    async close() {
      await pool?.dispatcher.close();
      pool = undefined;
    },
  };
}

const listSchema = z.object({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.object({ continue: z.string().default(''), remainingItemCount: z.number().default(0) }),
  items: z
    .array(z.looseObject({}))
    .nullish()
    .transform((items) => items ?? []),
});

/** @throws {ApiStatusError} for the event that says that the watch cannot go on */
function eventIn(line: Uint8Array, path: string): WatchEvent {
  const event = parseBody(new TextDecoder().decode(line)) as { type: string; object: unknown }; // the server's own form
  if (event.type !== 'ERROR') return event as WatchEvent;
  throw new ApiStatusError(Number(at(event.object, 'code') ?? 500), JSON.stringify(event.object), path);
}

/** What cannot be read as certificates fails as a connection does. */
function tellOf({ ca, cert }: Credentials['tls'], watch: TlsWatch): void {
  const pem = (value: unknown) => (typeof value === 'string' || Buffer.isBuffer(value) ? value.toString() : undefined);
  const [authorities, own] = [pem(ca), pem(cert)];
  try {
    const material = { ...(authorities && { ca: authorities }), ...(own && { cert: own }) };
    for (const facts of certificateFacts(material)) watch.onCertificate(facts);
  } catch (error) {
    watch.onTrouble(error as Error); // certificateFacts throws nothing else
  }
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw somethingElseAnswers(); // the parser's own error quotes the text
  }
}

function somethingElseAnswers(): ConnectorError {
  return new ConnectorError('KUBERNETES_UNAVAILABLE', 'Something else than the API server answers there.');
}

function isTooLarge(error: unknown): boolean {
  return error instanceof errors.ResponseExceededMaxSizeError;
}

function tooLargeAsNull(error: unknown): null {
  if (error instanceof ConnectorError && isTooLarge(error.cause)) return null;
  throw error;
}

/**
 * For a deletion with a body the API server takes its options from the body alone: with `dryRun` in the query only, it
 * would delete.
 */
function asDryRun(call: WriteCall): WriteCall {
  if (call.method !== 'DELETE') return call;
  const options = JSON.parse(call.body) as Readonly<Record<string, unknown>>; // our own DeleteOptions
  return { ...call, body: JSON.stringify({ ...options, dryRun: ['All'] }) };
}

function backoffMs(attempt: number, retryAfter: string): number {
  const asked = Number(retryAfter) * 1_000;
  const wanted = asked > 0 ? asked : 100 * 2 ** attempt;
  return Math.min(wanted, MAX_RETRY_AFTER_MS);
}
