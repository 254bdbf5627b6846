import { parseApprovalStatement } from '../../domain/approval-statement.ts';
import type { StatementProof } from '../../domain/approvals.ts';
import { briefly } from '../../domain/approvals.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { pinRefusal } from '../../domain/policy.ts';
import type { PolicySource } from '../policy/load-policy.ts';
import type { ApproverSource } from '../sigstore/approver-keys.ts';
import { verifyStatement } from '../sigstore/verify-statement.ts';

export interface StatementDeps {
  readonly approvers: ApproverSource;
  readonly policy: PolicySource;
  readonly now: () => Date;
}

/**
 * Finds out who signed what; gives a proof or a refusal for each statement, in their order.
 * @param options.fresh asks for the keys anew, so that a revocation is seen at once
 * Throws APPROVERS_UNAVAILABLE and POLICY_INVALID.
 */
export type StatementProver = (
  statements: readonly unknown[],
  options?: { readonly fresh: boolean },
) => Promise<readonly StatementProof[]>;

/** The one place where a signed vote is checked: for the workflow, for the audit log, and before the first write. */
export function createStatementProver({ approvers, policy, now }: StatementDeps): StatementProver {
  return async (statements, options) => {
    const [keys, { policy: current }] = await Promise.all([approvers.load(options), policy()]);
    const prove = (statement: unknown): StatementProof => {
      const { payload, key } = verifyStatement({ statement, keys, now: now() });
      const refusal = pinRefusal(current, key);
      if (refusal) throw new ConnectorError('APPROVAL_KEY_UNTRUSTED', refusal);
      const { identity, groups, fingerprint: keyFingerprint } = key;
      return { statement: parseApprovalStatement(payload), identity, groups, keyFingerprint };
    };
    return statements.map((statement) => refusedOr(() => prove(statement)));
  };
}

function refusedOr(prove: () => StatementProof): StatementProof {
  try {
    return prove();
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    return { refused: briefly({ code: error.code, why: error.detail }) };
  }
}
