import type { Digest } from '../../domain/digest.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { workflowIdOf } from '../../domain/names.ts';
import type { StateRecords } from '../kubernetes/writer.ts';

/** The run that owns a package. */
export interface RunRef {
  readonly workflowId: string;
  readonly runId: string;
}

/** What the cluster remembers of a package, so that an id is used once even where Temporal forgets. */
export interface Claim extends RunRef {
  readonly wpkDigest: Digest;
  readonly expiresAt: string;
  /** Set before the first write: the plan that is being executed. */
  readonly executing?: Digest;
  /** Set when execution ended, with how: nothing is written for the package any more. */
  readonly ended?: ExecutionEnd;
  /** Set when everything that was written is undone. */
  readonly undone?: 'yes';
  /** Of the newest signed request to roll it back: when it was signed, and the run that it was used by. */
  readonly rollbackSignedAt?: string;
  readonly rollbackRunId?: string;
}

/**
 * `failed:` is followed by the error code · `cut-off`: the run was terminated, reset or forgotten in Temporal ·
 * `settled`: the run ended without executing anything.
 */
export type ExecutionEnd = 'succeeded' | 'stopped' | `failed:${ErrorCode}` | 'cut-off' | 'settled';

/** Claims of package ids, kept in the cluster itself. */
export class Claims {
  private readonly records: StateRecords;

  constructor(records: StateRecords) {
    this.records = records;
  }

  /**
   * Claims the id for this run; the same run may claim again.
   * @throws {ConnectorError} WPK_ALREADY_USED where another run has it.
   */
  async claim(wpkId: string, claim: Claim): Promise<void> {
    const { workflowId, runId, wpkDigest, expiresAt } = claim;
    if (await this.records.create(nameOf(wpkId), { workflowId, runId, wpkDigest, expiresAt })) return;
    const existing = await this.read(wpkId);
    if (existing && sameRun(existing, claim) && existing.wpkDigest === wpkDigest) return;
    throw new ConnectorError('WPK_ALREADY_USED', `The id ${wpkId} belongs to another run.`);
  }

  async read(wpkId: string): Promise<Claim | undefined> {
    // The records are our own writes: their form is what claim() and markExecuting() put there.
    return (await this.records.read(nameOf(wpkId))) as Claim | undefined;
  }

  /** Remembers, before the first write, which plan is executed: a later attempt then knows that it goes on. */
  async markExecuting(wpkId: string, planDigest: Digest): Promise<void> {
    await this.records.merge(nameOf(wpkId), { executing: planDigest });
  }

  /** All claims of one cluster, by package id; several clusters may share a state namespace in development. */
  async list(clusterId: string): Promise<ReadonlyMap<string, Claim>> {
    const records = await this.records.list(CLAIM_PREFIX);
    const claims = [...records.values()] as unknown as Claim[]; // as read() has it
    const prefix = workflowIdOf(clusterId, '');
    const own = claims.filter(({ workflowId = '' }) => workflowId.startsWith(prefix));
    return new Map(own.map((claim) => [claim.workflowId.slice(prefix.length), claim]));
  }

  /** Forgets a claim; only once nothing that bears the package's id can be valid any more. */
  async forget(wpkId: string): Promise<void> {
    await this.records.remove(nameOf(wpkId));
  }

  /** Remembers a signed request to roll back, so that nobody else can use it again. */
  async markRollback(wpkId: string, rollbackSignedAt: string, rollbackRunId: string): Promise<void> {
    await this.records.merge(nameOf(wpkId), { rollbackSignedAt, rollbackRunId });
  }

  async markUndone(wpkId: string): Promise<void> {
    await this.records.merge(nameOf(wpkId), { undone: 'yes' });
  }

  /**
   * The first end stays: an executor that was out of touch knows nothing of it.
   * @throws {ConnectorError} OBJECT_MISSING where there is no claim
   */
  async markEnded(wpkId: string, ended: ExecutionEnd): Promise<void> {
    await this.records.amend(nameOf(wpkId), (claim) => {
      if (!claim) throw new ConnectorError('OBJECT_MISSING', 'The claim of the package is gone.');
      return claim['ended'] === undefined ? { ended } : undefined;
    });
  }
}

export function sameRun(a: RunRef, b: RunRef): boolean {
  return a.workflowId === b.workflowId && a.runId === b.runId;
}

const CLAIM_PREFIX = 'wpk-';
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

/** The id may come from the name of a run, which anybody can choose; it becomes part of a path. */
function nameOf(wpkId: string): string {
  if (!ULID.test(wpkId)) throw new ConnectorError('CALLER_UNTRUSTED', 'The run is not named after a package.');
  return `${CLAIM_PREFIX}${wpkId.toLowerCase()}`;
}
