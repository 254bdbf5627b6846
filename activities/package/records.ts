import type { StatementProof, VoteRecord } from '../../domain/approvals.ts';
import type { AuditEvent } from '../../domain/audit.ts';
import type { AuditEventType, DetailOf } from '../../domain/audit-catalogue.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { canonicalJson } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { EndPhase, PackageStatus } from '../../domain/status.ts';
import { isEnd } from '../../domain/status.ts';
import type { RunRef } from './claims.ts';

/** What the workflow asks to be recorded; everything else is recorded where it happens. */
export type RunEvent = VoteEvent | { readonly type: 'ended'; readonly status: PackageStatus };

export interface VoteEvent {
  readonly type: 'vote';
  readonly vote: VoteRecord;
  /** The signed statement that came with it, as it came. */
  readonly statement?: unknown;
}

/** The part of the audit log that activities need. */
export interface AuditWriter {
  append(event: AuditEvent): Promise<unknown>;
}

/** What an audit entry takes as an id. */
const MAX_ID_CHARS = 512;

/** No text from outside, however long, may keep an entry from being written. */
const MAX_TEXT_CHARS = 2_000;

function clipped(value: unknown): unknown {
  if (typeof value === 'string') return value.length > MAX_TEXT_CHARS ? `${value.slice(0, MAX_TEXT_CHARS)}…` : value;
  if (Array.isArray(value)) return value.map(clipped);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, clipped(inner)]));
}

/** Writes what becomes of one package, under ids that a repeated attempt makes again, so that each counts once. */
export class PackageRecords {
  private readonly audit: AuditWriter;
  private readonly sha256: Sha256;
  private readonly run: RunRef;
  private readonly about: { readonly wpk?: string; readonly wpkDigest?: Digest };

  constructor(audit: AuditWriter, sha256: Sha256, run: RunRef, about: { wpk?: string; wpkDigest?: Digest } = {}) {
    this.audit = audit;
    this.sha256 = sha256;
    this.run = run;
    this.about = about;
  }

  /** @param key tells events of one type in one run apart. */
  async write<T extends AuditEventType>(
    type: T,
    outcome: AuditEvent['outcome'],
    detail: DetailOf<T>,
    more: Partial<Pick<AuditEvent, 'actor' | 'phase' | 'planDigest'>> & {
      readonly key?: string;
      /** What is known to be short enough, and worthless in parts. */
      readonly unclipped?: Partial<DetailOf<T>>;
    } = {},
  ): Promise<void> {
    const { key = '', unclipped = {}, ...fields } = more;
    const { workflowId, runId } = this.run;
    const eventId = this.sha256(canonicalJson({ workflowId, runId, type, key }));
    await this.audit.append({
      eventId,
      type,
      actor: { id: 'byoc-connector', proof: 'system' },
      outcome,
      detail: { ...(clipped(detail) as AuditEvent['detail']), ...unclipped }, // clipping keeps every key
      ...(workflowId && { workflowId: workflowId.slice(0, MAX_ID_CHARS) }), // a foreign caller chooses its own, or has none
      ...(runId && { runId }),
      ...this.about,
      ...fields,
    });
  }

  /**
   * @param proof what the statement proves by this worker's own keys: the run's word on it counts for nothing
   */
  async vote(vote: VoteRecord, statement?: unknown, proof?: StatementProof): Promise<void> {
    const { decision, approver, refused, planDigest, comment, via, receivedAt, at } = vote;
    const proven = proof && 'statement' in proof ? proof : undefined;
    await this.write(
      'vote.recorded',
      refused ? 'refused' : 'succeeded',
      {
        decision,
        via,
        receivedAt,
        ...(comment && { comment }),
        ...(planDigest && { votedFor: planDigest }),
        ...(refused && { refused }),
        ...(proven && { signedAt: at, keyFingerprint: proven.keyFingerprint, groups: [...proven.groups] }),
      },
      {
        actor: { id: (proven?.identity ?? approver).slice(0, MAX_ID_CHARS), proof: proven ? 'verified' : 'asserted' },
        key: canonicalJson(vote),
        // Whole, where it proves something: an auditor checks the signature for themselves.
        ...(proven && { unclipped: { statement } }),
      },
    );
  }

  /** @throws {ConnectorError} CALLER_UNTRUSTED for a run that says it ended and has not. */
  async ended(status: PackageStatus): Promise<void> {
    const { approvers, error, report, planDigest, stop } = status;
    const phase = endOf(status);
    const steps = report?.steps.map(({ id, action, outcome, objects }) => ({
      id,
      action,
      outcome,
      objects: objects.length,
    }));
    const undone = report?.undo;
    const undo = undone && {
      complete: undone.complete,
      objects: undone.objects.length,
      left: undone.objects.filter(({ outcome }) => outcome === 'left').length,
    };
    await this.write(
      `package.${phase}`,
      phase === 'succeeded' ? 'succeeded' : phase === 'denied' ? 'refused' : 'failed',
      {
        approvers: [...approvers],
        ...(error && { error: { ...error } }),
        ...(steps && { steps }),
        ...(undo && { undo }),
        ...(phase === 'stopped' && stop?.reason && { reason: stop.reason }),
      },
      {
        phase,
        ...(planDigest && { planDigest }),
        ...(phase === 'stopped' && stop && { actor: { id: stop.by.slice(0, MAX_ID_CHARS), proof: 'asserted' } }),
      },
    );
  }
}

/** @throws {ConnectorError} CALLER_UNTRUSTED where it is no end. */
export function endOf({ phase }: PackageStatus): EndPhase {
  if (!isEnd(phase)) throw new ConnectorError('CALLER_UNTRUSTED', 'The run has not ended.');
  return phase;
}
