import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { AuditEvent, AuditEventOf } from '../../domain/audit.ts';
import type { DetailOf } from '../../domain/audit-catalogue.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import type { AuditWriter } from '../../activities/package/records.ts';
import type { AgentCaller } from './caller.ts';

/** A call that was answered. */
export interface Call {
  readonly method: string;
  readonly route: string;
  readonly status: number;
  readonly address: string;
  readonly caller?: AgentCaller;
  readonly code?: ErrorCode;
}

export interface AccessLogOptions {
  readonly writer: string;
  readonly audit: AuditWriter;
  readonly logger: Logger;
  readonly everyMs?: number;
}

const EVERY_MS = 60_000;
/** Of refused calls; how many came from elsewhere is told without saying from where. */
const MAX_ADDRESSES = 20;
const MAX_ROWS = 500;

type Row = DetailOf<'http.calls'>['calls'][number];

/**
 * The access log of the agent, in the audit log. What somebody does who proved who they are has an entry of its own, before
 * the answer. The rest is counted, and the counts are an entry a minute: a flood makes the numbers larger, not the log.
 */
export class AccessLog {
  readonly #options: AccessLogOptions;
  readonly #timer: NodeJS.Timeout;
  #rows = new Map<string, Row>();
  #addresses = new Map<string, number>();
  #from = new Date();

  constructor(options: AccessLogOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.flush(), options.everyMs ?? EVERY_MS).unref();
  }

  /** @throws {ConnectorError} AUDIT_UNAVAILABLE */
  async record(
    { method, route, status, address, code }: Omit<Call, 'caller'>,
    { via, id }: AgentCaller,
    about: Pick<AuditEvent, 'wpk' | 'wpkDigest' | 'workflowId' | 'runId'>,
  ): Promise<void> {
    const event: AuditEventOf<'http.call'> = {
      eventId: `http.call/${randomUUID()}`,
      type: 'http.call',
      actor: { id, proof: 'verified' },
      outcome: code === undefined ? 'succeeded' : status >= 500 ? 'failed' : 'refused',
      detail: { method, route, via, address, status, ...(code !== undefined && { code }) },
      ...about,
    };
    await this.#options.audit.append(event);
  }

  count({ method, route, status, address, caller, code }: Call): void {
    const row = { method, route, status, ...(caller && { caller: caller.id }), ...(code !== undefined && { code }) };
    const id = JSON.stringify(row);
    const before = this.#rows.get(id);
    // Methods, routes, codes and callers are few; should they ever not be, the rest is one row.
    const isOverfull = !before && this.#rows.size >= MAX_ROWS;
    const [key, kept] = isOverfull ? ['', { method: 'other', route: 'other', status: 0 }] : [id, row];
    this.#rows.set(key, { ...kept, count: (this.#rows.get(key)?.count ?? 0) + 1 });
    if (code !== undefined) this.#countAddress(address);
  }

  /** Writes the counts. What cannot be written is kept, and told with the next. */
  async flush(): Promise<void> {
    if (this.#rows.size === 0) return;
    const [rows, addresses, from] = [this.#rows, this.#addresses, this.#from];
    this.#rows = new Map();
    this.#addresses = new Map();
    this.#from = new Date();
    const { audit, writer, logger } = this.#options;
    const event: AuditEventOf<'http.calls'> = {
      eventId: `http.calls/${randomUUID()}`,
      type: 'http.calls',
      actor: { id: writer, proof: 'system' },
      outcome: addresses.size > 0 ? 'refused' : 'succeeded',
      detail: {
        from: from.toISOString(),
        to: this.#from.toISOString(),
        calls: [...rows.values()],
        refusedFrom: [...addresses].map(([address, count]) => ({ address, count })),
      },
    };
    const unproven = [...rows.values()].filter(({ code }) => code === 'CALLER_UNAUTHENTICATED');
    const count = unproven.reduce((sum, row) => sum + row.count, 0);
    if (count > 0) logger.error({ alert: 'authentication-failed', count }, 'callers of the agent were not accepted');
    try {
      await audit.append(event);
    } catch (err) {
      logger.error({ err }, 'the access log of the agent cannot be written; it is tried again');
      for (const [id, row] of rows) this.#rows.set(id, { ...row, count: row.count + (this.#rows.get(id)?.count ?? 0) });
      for (const [address, count] of addresses) this.#countAddress(address, count);
      this.#from = from;
    }
  }

  /** Writes the last counts. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  #countAddress(address: string, count = 1): void {
    const isKnown = this.#addresses.has(address) || this.#addresses.size < MAX_ADDRESSES;
    const key = isKnown ? address : 'others';
    this.#addresses.set(key, (this.#addresses.get(key) ?? 0) + count);
  }
}
