import { z } from 'zod';

import { AUDIT_CATALOGUE, isAuditEventType } from './audit-catalogue.ts';
import type { AuditEventType, DetailOf } from './audit-catalogue.ts';
import type { Digest, Sha256 } from './digest.ts';
import { canonicalJson } from './digest.ts';
import { ConnectorError } from './errors.ts';
import { PHASES } from './status.ts';

/**
 * The audit entry and its line. The format is final: auditors verify it years later with tools that we don't know.
 *
 *   {"entry":{…RFC 8785…},"hash":"sha256:…"}
 *
 * `hash` is SHA-256 over the bytes of `entry` exactly as they stand in the line, and `entry` holds `prev`, the
 * hash of the
 * entry before it in the same chain. So verifying hashes what is there and never has to serialise anything again.
 */

/** How long an uploaded entry stays undeletable unless told otherwise, in days (R19). */
export const AUDIT_RETENTION_DAYS = 90;

/** Where its bucket is, where nobody says otherwise. */
export const DEFAULT_REGION = 'us-east-1';

/** The longest line, in bytes; it bounds the memory that verifying takes. */
export const AUDIT_MAX_LINE_BYTES = 1024 * 1024;

/** `prev` of the first entry of a chain. */
export const GENESIS: Digest = `sha256:${'0'.repeat(64)}`;

const digest = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]);
const id = z.string().min(1).max(512);

const auditEventSchema = z.strictObject({
  /** Deterministic: the same event gets the same id however often it is retried, and is then written once. */
  eventId: id,
  type: z.custom<AuditEventType>(isAuditEventType, 'is not in the catalogue'),
  /**
   * `asserted`: only says so · `verified`: by a signature or a token that was checked · `system`: the
   * connector itself.
   */
  actor: z.strictObject({ id, proof: z.enum(['asserted', 'verified', 'system']) }),
  outcome: z.enum(['succeeded', 'refused', 'failed']),
  /** What the catalogue has for the type. Values come from anywhere, so they are data and nothing else. */
  detail: z.custom<Readonly<Record<string, unknown>>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'must be an object',
  ),
  wpk: id.optional(),
  wpkDigest: digest.optional(),
  planDigest: digest.optional(),
  workflowId: id.optional(),
  runId: id.optional(),
  phase: z.enum(PHASES).optional(),
  /** Set on everything that happened in simulation mode, never `false`. */
  simulated: z.literal(true).optional(),
});

/** What is reported to the log; the log adds version, chain, number, time and link. */
export type AuditEvent = z.infer<typeof auditEventSchema>;

/** The same for one type, so that the compiler sees what the catalogue will be asked. */
export type AuditEventOf<T extends AuditEventType> = Omit<AuditEvent, 'type' | 'detail'> & {
  readonly type: T;
  readonly detail: DetailOf<T>;
};

export interface AuditEntry extends AuditEvent {
  readonly v: 1;
  readonly chain: string;
  /** Counts from 1 in its chain, without gaps. */
  readonly seq: number;
  /** UTC with milliseconds: `2026-01-31T12:00:00.000Z`. */
  readonly time: string;
  readonly prev: Digest;
}

/** Where a chain ends: `seq` 0 and `GENESIS` before its first entry. */
export interface AuditHead {
  readonly chain: string;
  readonly seq: number;
  readonly hash: Digest;
}

const CHAIN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/;

/**
 * Whether a text can name a chain: it is a folder and a part of S3 keys as well, so no separators and no
 * leading dot.
 */
export function isChainId(value: string): boolean {
  return CHAIN.test(value);
}

/**
 * @throws {ConnectorError} INTERNAL for an event without the form that it must have, or with a detail that the catalogue
 * does not have: a mistake of ours, not of a user.
 */
export function parseAuditEvent(event: unknown): AuditEvent {
  const parsed = auditEventSchema.safeParse(event);
  if (!parsed.success) throw malformed('an audit event', parsed.error);
  const detail = AUDIT_CATALOGUE[parsed.data.type].detail.safeParse(parsed.data.detail);
  if (!detail.success) throw malformed(`the detail of ${parsed.data.type}`, detail.error);
  return parsed.data;
}

function malformed(what: string, error: z.ZodError): ConnectorError {
  return new ConnectorError('INTERNAL', `${what} is malformed: ${z.prettifyError(error)}`);
}

/**
 * Makes the line of an entry, without its newline.
 * @throws {ConnectorError} INTERNAL for a detail that JSON cannot hold, or a line above AUDIT_MAX_LINE_BYTES
 */
export function sealEntry(sha256: Sha256, entry: AuditEntry): { readonly line: string; readonly hash: Digest } {
  const bytes = canonicalText(entry);
  const hash = sha256(bytes);
  const line = `{"entry":${bytes},"hash":"${hash}"}`;
  // A UTF-16 unit takes at most three bytes of UTF-8: measuring exactly is only needed near the limit.
  if (line.length * 3 > AUDIT_MAX_LINE_BYTES && new TextEncoder().encode(line).length > AUDIT_MAX_LINE_BYTES) {
    throw new ConnectorError('INTERNAL', `audit event ${entry.eventId} is larger than ${AUDIT_MAX_LINE_BYTES} bytes`);
  }
  return { line, hash };
}

/**
 * The RFC 8785 form of an entry, by the engine's own JSON where that prints the same: it is many times faster. It does
 * once names are in order, except for names that look like numbers, which it puts first whatever their order.
 */
function canonicalText(entry: AuditEntry): string {
  const ordered = inOrder(entry);
  return ordered === undefined ? canonicalJson(wellFormed(entry)) : JSON.stringify(ordered);
}

/** @returns undefined where the value, or something in it, needs the long way */
function inOrder(value: unknown): unknown {
  switch (typeof value) {
    case 'string':
      return value.toWellFormed();
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : undefined;
    case 'object':
      return value === null ? null : Array.isArray(value) ? listInOrder(value) : recordInOrder(value);
    default:
      return undefined;
  }
}

function listInOrder(values: readonly unknown[]): unknown {
  const list = [];
  for (const value of values) {
    const ordered = inOrder(value);
    if (ordered === undefined) return undefined;
    list.push(ordered);
  }
  return list;
}

const NUMBER_LIKE = /^[0-9]/;

function recordInOrder(value: object): unknown {
  const record: Record<string, unknown> = {};
  for (const key of Object.keys(value).sort()) {
    const member: unknown = value[key as keyof typeof value];
    if (member === undefined) continue;
    const ordered = inOrder(member);
    if (ordered === undefined || NUMBER_LIKE.test(key) || key === '__proto__' || !key.isWellFormed()) return undefined;
    record[key] = ordered;
  }
  return record;
}

/** RFC 8785 has no form for a lone surrogate; what a stranger sends must not keep us from recording that they did. */
function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.map(([key, member]) => [key.toWellFormed(), wellFormed(member)]));
}

/** UTC day of an entry's time: the name of its file. */
export function dayOf(time: string): string {
  return time.slice(0, 10);
}

/** Name of the object that holds the entries `first` to `last`; padded, so that names sort as numbers do. */
export function rangeName(first: number, last: number): string {
  return `${String(first).padStart(16, '0')}-${String(last).padStart(16, '0')}.jsonl`;
}

/** The range that a name made by `rangeName` tells, whatever folder it is in. */
export function parseRangeName(name: string): { readonly first: number; readonly last: number } | undefined {
  const match = /(?:^|\/)(\d{16})-(\d{16})\.jsonl$/.exec(name);
  return match ? { first: Number(match[1]), last: Number(match[2]) } : undefined;
}
