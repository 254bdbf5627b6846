import type { Approval } from '../../domain/approval-statement.ts';
import { approvalStatement, approvalStatementBytes } from '../../domain/approval-statement.ts';
import type { Digest } from '../../domain/digest.ts';

const digestOf = (digit: string): Digest => `sha256:${digit.repeat(64)}`;

/** What a well-formed vote says, for tests of the form alone. */
export function buildApproval(changes: Partial<Omit<Approval, 'type'>> = {}): Omit<Approval, 'type'> {
  return {
    wpkDigest: digestOf('a'),
    planDigest: digestOf('b'),
    policyDigest: digestOf('c'),
    clusterUid: '6f1c7d0e-3c0f-4a44-9d55-0d3a3f6f0f10',
    workflowId: 'wpk/prod-eu-1/01JD0000000000000000000000',
    runId: '0198c9a4-7f7e-7a5e-a9d8-1f2e3d4c5b6a',
    decision: 'approve',
    approver: 'bob@example.com',
    comment: 'Looks right.',
    time: '2026-01-31T12:00:00Z',
    ...changes,
  };
}

/** The bytes of a vote that are signed. */
export function statementBytes(changes: Partial<Omit<Approval, 'type'>> = {}): Uint8Array {
  return approvalStatementBytes(approvalStatement(buildApproval(changes)));
}
