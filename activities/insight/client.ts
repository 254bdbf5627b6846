import { request } from 'undici';
import { ConnectorError } from '../../domain/errors.ts';
import type { TlsSource } from '../tls/context.ts';
import { tlsTroubleIn } from '../tls/trouble.ts';
import { verifyingAgents } from '../tls/undici-agents.ts';
import type { Identity } from '../vault/identity.ts';

export interface InsightSettings {
  /** Base address, such as https://insight.example.com. */
  readonly address: string;
  /** Whom to trust, and who we are. */
  readonly tls?: TlsSource;
  /** For the whole of a request; 10 s where it is left out. */
  readonly requestTimeoutMs?: number;
}

export interface Insight {
  /**
   * Sends a batch; what was had before counts as accepted.
   * @param body the batch as JSON, compressed by gzip
   * @returns `refused` where no repetition will help
   * @throws {ConnectorError} INSIGHT_UNAVAILABLE, INSIGHT_BUSY, INSIGHT_DENIED, and those of `Identity.token`; none
   *   carries a token or anything of an answer
   */
  send(id: string, body: Uint8Array): Promise<'accepted' | 'refused'>;
  close(): Promise<void>;
}

/** An Insight Engine that wants to be left alone until `retryAt`. */
export class InsightBusy extends ConnectorError {
  readonly retryAt: Date;

  constructor(retryAt: Date) {
    super('INSIGHT_BUSY');
    this.retryAt = retryAt;
  }
}

const REQUEST_TIMEOUT_MS = 10_000;
/** Nobody is waited for longer than batches are kept. */
const MAX_RETRY_AFTER_MS = 15 * 60_000;
const DEFAULT_RETRY_AFTER_MS = 30_000;
/** Of an answer nothing but the status counts; so much is read for the connection's sake. */
const ANSWER_LIMIT = 64 * 1024;
/** The client is at fault, yet it may be right the next time: another token, a registration that comes yet. */
const KEPT: readonly number[] = [404, 408, 425];

/** A client of one Insight Engine; it talks to that host only and follows no redirect. */
export function createInsight(settings: InsightSettings, identity: Identity, now: () => Date): Insight {
  const agents = verifyingAgents(settings.tls);
  const url = `${settings.address.replace(/\/+$/, '')}/signals`;

  return {
    async send(id, body) {
      const token = await identity.token();
      const { statusCode, headers } = await post(id, body, token);
      if (statusCode === 202 || statusCode === 409) return 'accepted';
      if (statusCode === 401 || statusCode === 403)
        throw new ConnectorError('INSIGHT_DENIED', `It answered ${statusCode}.`);
      if (statusCode === 429 || statusCode === 503) throw new InsightBusy(retryAt(headers['retry-after'], now()));
      if (statusCode >= 400 && statusCode < 500 && !KEPT.includes(statusCode)) return 'refused';
      throw new ConnectorError('INSIGHT_UNAVAILABLE', `It answered ${statusCode}.`);
    },
    close: () => agents.destroy(),
  };

  async function post(id: string, body: Uint8Array, token: string) {
    try {
      const answer = await request(url, {
        dispatcher: await agents.current(),
        method: 'POST',
        headers: {
          authorization: `Bearer ${token}`,
          'content-type': 'application/json',
          'content-encoding': 'gzip',
          'idempotency-key': id,
        },
        body,
        signal: AbortSignal.timeout(settings.requestTimeoutMs ?? REQUEST_TIMEOUT_MS),
      });
      await answer.body.dump({ limit: ANSWER_LIMIT });
      return answer;
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'no code';
      // Only its kind: the rest may hold the request, and with it the token.
      const cause = new Error(error instanceof Error ? `${error.name}: ${code}` : 'no error');
      const trouble = tlsTroubleIn(error);
      const detail = trouble === undefined ? 'There is no answer.' : `There is no answer: ${trouble}.`;
      throw new ConnectorError('INSIGHT_UNAVAILABLE', detail, { cause });
    }
  }
}

/** Seconds or a date (RFC 9110, section 10.2.3). */
function retryAt(header: string | string[] | undefined, now: Date): Date {
  const text = String(header ?? '');
  const waitMs = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now.getTime();
  const bounded = Number.isNaN(waitMs) ? DEFAULT_RETRY_AFTER_MS : Math.min(Math.max(waitMs, 0), MAX_RETRY_AFTER_MS);
  return new Date(now.getTime() + bounded);
}
