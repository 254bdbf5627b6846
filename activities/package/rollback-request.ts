import { sameIdentity } from '../../domain/identity.ts';
import type { Proof } from '../../domain/approvals.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { RollbackRequest } from '../../domain/status.ts';
import type { AdmittedWpk } from './admission.ts';
import type { Claim } from './claims.ts';
import type { ExecutionDeps } from './execution.ts';
import type { StatementProver } from './statements.ts';

/** Who asks for a rollback, and how far that is proven. */
export interface Asker {
  readonly id: string;
  readonly proof: Proof;
  /** When it was signed; absent for a bare request. */
  readonly signedAt?: string;
}

const MAX_NAME_CHARS = 256;

/**
 * Finds out who asks for a rollback. Undoing writes to the cluster: where the policy counts signed votes only, whoever may
 * merely start workflows must not be able to make it do so (R38).
 * @throws {ConnectorError} APPROVAL_NOT_ACCEPTED for a bare request where the policy wants signed ones,
 *   APPROVAL_MALFORMED, APPROVAL_STATEMENT_MISMATCH, APPROVAL_TIME_INVALID, what a signature can be refused for, APPROVERS_UNAVAILABLE
 */
export async function askerOf(
  { prove, now }: Pick<ExecutionDeps, 'prove' | 'now'>,
  { policy: { policy } }: AdmittedWpk,
  claim: Claim,
  runId: string,
  { by, statement }: { readonly [K in keyof RollbackRequest]?: unknown },
): Promise<Asker> {
  if (statement !== undefined) {
    const { identity, time } = await signerOf(prove, claim, statement);
    const newestMs = now().getTime() + policy.approvals.maxClockSkewSeconds * 1_000;
    assertNew(time, newestMs, claim, runId);
    return { id: identity, proof: 'verified', signedAt: time };
  }
  if (!policy.approvals.acceptAsserted) {
    const detail = 'The policy counts what is signed only: byoc rollback --key.';
    throw new ConnectorError('APPROVAL_NOT_ACCEPTED', detail);
  }
  if (typeof by !== 'string' || by.trim() === '') {
    throw new ConnectorError('APPROVAL_MALFORMED', 'The rollback does not say who asks for it.');
  }
  return { id: by.trim().slice(0, MAX_NAME_CHARS).toWellFormed(), proof: 'asserted' };
}

/** A request counts once: sent again, by whoever may merely start workflows, it would go on with what was stopped. */
function assertNew(time: string, newestMs: number, { rollbackSignedAt, rollbackRunId }: Claim, runId: string): void {
  const refused = (why: string) => new ConnectorError('APPROVAL_TIME_INVALID', why);
  if (!(Date.parse(time) <= newestMs)) throw refused(`It says ${time}, which is not yet.`);
  if (rollbackSignedAt === undefined || rollbackRunId === runId) return;
  if (!(Date.parse(time) > Date.parse(rollbackSignedAt)))
    throw refused('It was used before, or is older than one that was.');
}

async function signerOf(prove: StatementProver, claim: Claim, signed: unknown) {
  const [proof] = await prove([signed], { fresh: true });
  if (!proof) throw new ConnectorError('APPROVAL_SIGNATURE_INVALID', 'Nobody could check it.');
  if ('refused' in proof) throw new ConnectorError(proof.refused.code, proof.refused.why);
  const { statement, identity } = proof;
  const other = (what: string) => new ConnectorError('APPROVAL_STATEMENT_MISMATCH', `It names another ${what}.`);
  if (!sameIdentity(statement.approver, identity)) throw other('person than the owner of the key');
  if (statement.decision !== 'rollback') throw other('decision than to roll back');
  if (statement.workflowId !== claim.workflowId || statement.runId !== claim.runId) throw other('run');
  // The plan's digest covers package, policy and cluster.
  if (statement.wpkDigest !== claim.wpkDigest || statement.planDigest !== claim.executing) throw other('plan');
  return { identity, time: statement.time };
}
