import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { errors, request } from 'undici';
import type { Dispatcher } from 'undici';
import type { Answer } from '../../domain/control-plane.ts';
import { answerSchema, problemSchema } from '../../domain/control-plane.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { TlsSource } from '../tls/context.ts';
import { tlsTroubleIn } from '../tls/trouble.ts';
import { verifyingAgents } from '../tls/undici-agents.ts';
import type { Identity } from '../vault/identity.ts';

export interface ChannelOptions {
  /** Base address; https, except on this machine. */
  readonly url: string;
  /** Whom to trust, and who we are. */
  readonly tls?: TlsSource;
  /** Asked before each request. */
  readonly identity: Identity;
  /** For the whole of a request, its answer included; 10 s where it is left out. */
  readonly requestTimeoutMs?: number;
}

export interface Sent {
  readonly method: 'POST' | 'PUT';
  readonly path: string;
  readonly body: unknown;
  /** Sent along with a body that is compressed. */
  readonly idempotencyKey?: string;
}

/**
 * The way to the control plane. What comes back is data and small, and nothing in it is carried out; redirects are not
 * followed, because the token would go along.
 */
export interface Channel {
  /**
   * @throws {ConnectorError} CONTROL_PLANE_UNAVAILABLE (no answer, one that is none, 5xx, a redirect), CONTROL_PLANE_BUSY
   *   (429, and until its Retry-After is over without asking), CONTROL_PLANE_DENIED (401, 403),
   *   CONTROL_PLANE_NOT_REGISTERED, CONTROL_PLANE_CONFLICT (409), CONTROL_PLANE_REFUSED (any other 4xx); what `identity` throws
   */
  send(sent: Sent): Promise<Answer>;
  /** How far the other side's clock is ahead, ms, by its last answer, a refusal included. */
  clockOffsetMs(): number | undefined;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** All that an answer may say fits into a hundredth of it. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** Nobody may silence a connector for longer. */
const MAX_RETRY_AFTER_MS = 5 * 60_000;
const DEFAULT_RETRY_AFTER_MS = 30_000;
/** A clock that is further off makes tokens look expired, or not valid yet. */
const CLOCK_TROUBLE_MS = 60_000;

const compress = promisify(gzip);

export function createChannel({ url, tls, identity, requestTimeoutMs = REQUEST_TIMEOUT_MS }: ChannelOptions): Channel {
  const agents = verifyingAgents(tls, {
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    connections: 4,
    maxResponseSize: MAX_ANSWER_BYTES,
  });
  const base = url.replace(/\/+$/, '');
  let clockOffsetMs: number | undefined;
  let busyUntil = -Infinity;

  async function exchange(sent: Sent): Promise<{ readonly answer: Dispatcher.ResponseData; readonly text: string }> {
    const token = await identity.token();
    const text = JSON.stringify(sent.body);
    const isSignal = sent.idempotencyKey !== undefined;
    const options = {
      method: sent.method,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        accept: 'application/json, application/problem+json',
        ...(isSignal && { 'content-encoding': 'gzip', 'idempotency-key': sent.idempotencyKey }),
      },
      body: isSignal ? await compress(text) : text,
    };
    for (let attempt = 1; ; attempt++) {
      const sentAt = Date.now();
      try {
        const answer = await request(`${base}${sent.path}`, {
          ...options,
          dispatcher: await agents.current(),
          signal: AbortSignal.timeout(requestTimeoutMs),
        });
        const receivedAt = Date.now();
        const body = await answer.body.text();
        clockOffsetMs = offsetOf(timeIn(answer, body), sentAt, receivedAt) ?? clockOffsetMs;
        return { answer, text: body };
      } catch (error) {
        // Idle connections are closed by the other side, perhaps just now; all that is sent may be sent twice.
        if (attempt === 1 && error instanceof errors.SocketError) continue;
        throw unavailable(whyNot(error), error);
      }
    }
  }

  return {
    async send(sent) {
      if (performance.now() < busyUntil) throw new ConnectorError('CONTROL_PLANE_BUSY', 'It said so a while ago.');
      const { answer, text } = await exchange(sent);
      const { statusCode: status } = answer;
      if (status >= 200 && status < 300) {
        const parsed = answerSchema.safeParse(parseJson(text));
        if (!parsed.success) throw unavailable('What answers there is no control plane.');
        return parsed.data;
      }
      if (status === 429) busyUntil = performance.now() + retryAfterMs(answer);
      throw refusal(status, text, clockOffsetMs);
    },
    clockOffsetMs: () => clockOffsetMs,
    close: () => agents.destroy(),
  };
}

/** What a status means. Of the body only the code counts, and only where it is one that we know. */
function refusal(status: number, text: string, clockOffsetMs = 0): ConnectorError {
  const told = (code: ErrorCode, detail = `It answered ${status}.`) => new ConnectorError(code, detail);
  const problem = problemSchema.safeParse(parseJson(text)).data;
  switch (true) {
    case status < 400:
      return told('CONTROL_PLANE_UNAVAILABLE', `It answered ${status}, a redirect, which is not followed.`);
    case status === 401 || status === 403: {
      const isOff = Math.abs(clockOffsetMs) > CLOCK_TROUBLE_MS;
      const clocks = `Its clock and ours are ${Math.round(Math.abs(clockOffsetMs) / 1_000)} s apart.`;
      return told('CONTROL_PLANE_DENIED', `It answered ${status}.${isOff ? ` ${clocks}` : ''}`);
    }
    case status === 404 && problem?.code === 'not-registered':
      return told('CONTROL_PLANE_NOT_REGISTERED', '');
    case status === 409:
      return told('CONTROL_PLANE_CONFLICT');
    case status === 429:
      return told('CONTROL_PLANE_BUSY');
    // A 404 that is none of its own comes from whatever answers in its place.
    case status === 404 || status === 408 || status >= 500:
      return told('CONTROL_PLANE_UNAVAILABLE');
    default:
      return told('CONTROL_PLANE_REFUSED');
  }
}

function unavailable(detail: string, error?: unknown): ConnectorError {
  // Only the kind of error: the rest of it may hold requests, and with them the token.
  const cause = error === undefined ? undefined : new Error(`${textAt(error, 'name')}: ${textAt(error, 'code')}`);
  return new ConnectorError('CONTROL_PLANE_UNAVAILABLE', detail, cause && { cause });
}

function whyNot(error: unknown): string {
  if (error instanceof errors.ResponseExceededMaxSizeError) return `It answered more than ${MAX_ANSWER_BYTES} bytes.`;
  const trouble = tlsTroubleIn(error);
  if (trouble !== undefined) return `There is no answer: ${trouble}.`;
  return textAt(error, 'name') === 'TimeoutError' ? 'It did not answer in time.' : '';
}

function textAt(error: unknown, name: 'name' | 'code'): string {
  const value = typeof error === 'object' && error !== null ? (error as Record<string, unknown>)[name] : undefined;
  return typeof value === 'string' ? value : '';
}

/** In seconds, or as a date (RFC 9110, section 10.2.3). */
function retryAfterMs({ headers }: Dispatcher.ResponseData): number {
  const told = String(headers['retry-after'] ?? '');
  const ms = /^\d+$/.test(told) ? Number(told) * 1_000 : Date.parse(told) - Date.now();
  return ms >= 0 ? Math.min(ms, MAX_RETRY_AFTER_MS) : DEFAULT_RETRY_AFTER_MS;
}

/** The body's time where there is one; the header tells whole seconds. */
function timeIn({ headers }: Dispatcher.ResponseData, text: string): number {
  const { time } = answerSchema.safeParse(parseJson(text)).data ?? {};
  return time === undefined ? Date.parse(String(headers['date'] ?? '')) + 500 : Date.parse(time);
}

function offsetOf(time: number, sentAt: number, receivedAt: number): number | undefined {
  return Number.isFinite(time) ? Math.round(time - (sentAt + receivedAt) / 2) : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
