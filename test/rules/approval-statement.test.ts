import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  APPROVAL_TYPE,
  approvalStatement,
  approvalStatementBytes,
  parseApprovalStatement,
} from '../../domain/approval-statement.ts';
import { preAuthEncoding } from '../../domain/dsse.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { errorOf } from '../support/expect-code.ts';
import { buildApproval, statementBytes } from '../support/statements.ts';

const encode = (value: unknown) => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
const statement = approvalStatement(buildApproval());
const withPredicate = (changes: object) => ({ ...statement, predicate: { ...statement.predicate, ...changes } });
const codeOf = (value: unknown) => errorOf(() => parseApprovalStatement(encode(value))).code;

describe('the statement of a vote', () => {
  it('is an in-toto Statement v1 about the plan, in the canonical form of RFC 8785', () => {
    expect(new TextDecoder().decode(statementBytes({ comment: undefined }))).toBe(
      '{"_type":"https://in-toto.io/Statement/v1","predicate":{"approver":"bob@example.com",' +
        '"clusterUid":"6f1c7d0e-3c0f-4a44-9d55-0d3a3f6f0f10","decision":"approve",' +
        `"planDigest":"sha256:${'b'.repeat(64)}","policyDigest":"sha256:${'c'.repeat(64)}",` +
        '"runId":"0198c9a4-7f7e-7a5e-a9d8-1f2e3d4c5b6a","time":"2026-01-31T12:00:00Z",' +
        '"type":"https://neuralops.io/approval/v1","workflowId":"wpk/prod-eu-1/01JD0000000000000000000000",' +
        `"wpkDigest":"sha256:${'a'.repeat(64)}"},"predicateType":"https://neuralops.io/approval/v1",` +
        `"subject":[{"digest":{"sha256":"${'b'.repeat(64)}"},"name":"wpk/prod-eu-1/01JD0000000000000000000000"}]}`,
    );
  });

  it('is read back as it was said, also where somebody formatted it before signing', () => {
    const said = { type: APPROVAL_TYPE, ...buildApproval() };
    expect(parseApprovalStatement(approvalStatementBytes(statement))).toEqual(said);
    expect(parseApprovalStatement(encode(JSON.stringify(statement, null, 2)))).toEqual(said);
  });

  it('holds a comment of 4,096 characters of the widest kind', () => {
    const comment = '\u0001'.repeat(4096);
    expect(parseApprovalStatement(statementBytes({ comment })).comment).toBe(comment);
    expect(errorOf(() => statementBytes({ comment: `${comment}.` })).code).toBe('APPROVAL_MALFORMED');
  });

  it('is not made with a field that does not have its form', () => {
    const error = errorOf(() => approvalStatement(buildApproval({ time: '2026-02-30T12:00:00Z' })));
    expect(error.code).toBe('APPROVAL_MALFORMED');
    expect(error.detail).toContain('predicate.time');
  });
});

describe('a statement that is refused with APPROVAL_MALFORMED', () => {
  const [subject] = statement.subject;
  it.each<[string, unknown]>([
    ['nothing', ''],
    ['of another version of in-toto', { ...statement, _type: 'https://in-toto.io/Statement/v0.1' }],
    ['of another predicate', { ...statement, predicateType: 'https://slsa.dev/provenance/v1' }],
    ['of another type within', withPredicate({ type: 'https://slsa.dev/provenance/v1' })],
    ['with an unknown field', withPredicate({ quorum: 1 })],
    ['with an unknown field outside', { ...statement, extra: 1 }],
    ['without a run', withPredicate({ runId: undefined })],
    ['with neither a yes nor a no', withPredicate({ decision: 'abstain' })],
    ['with a digest in capital letters', withPredicate({ wpkDigest: `sha256:${'A'.repeat(64)}` })],
    ['with a time that is not in UTC', withPredicate({ time: '2026-01-31T12:00:00+01:00' })],
    ['with a time that is a number', withPredicate({ time: 1_769_860_800 })],
    [
      'with the subject of another plan',
      { ...statement, subject: [{ ...subject, digest: { sha256: 'd'.repeat(64) } }] },
    ],
    ['with the subject of another workflow', { ...statement, subject: [{ ...subject, name: 'wpk/prod-eu-1/2' }] }],
    ['with two subjects', { ...statement, subject: [subject, subject] }],
    [
      'with a second digest of the subject',
      { ...statement, subject: [{ ...subject, digest: { ...subject.digest, sha1: '' } }] },
    ],
    ['without a subject', { ...statement, subject: [] }],
    ['with a key twice', JSON.stringify(statement).replace('{"type"', '{"decision":"reject","type"')],
    ['with __proto__', JSON.stringify(statement).replace('{"type"', '{"__proto__":{},"type"')],
    ['with more behind its end', `${JSON.stringify(statement)}{}`],
    ['larger than any vote', JSON.stringify(statement) + ' '.repeat(65_536)],
  ])('is one %s', (_what, given) => {
    expect(codeOf(given)).toBe('APPROVAL_MALFORMED');
  });

  it('is any JSON that is not one, and any bytes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue().map(encode), fc.uint8Array()), (bytes) => {
        const error = errorOf(() => parseApprovalStatement(bytes));
        expect(error).toBeInstanceOf(ConnectorError);
        expect(error.code).toBe('APPROVAL_MALFORMED');
      }),
      { numRuns: 500 },
    );
  });
});

describe('what is signed of an envelope', () => {
  // https://github.com/secure-systems-lab/dsse/blob/master/protocol.md has this example.
  it('is as the specification of DSSE says', () => {
    const encoded = preAuthEncoding('http://example.com/HelloWorld', encode('hello world'));
    expect(new TextDecoder().decode(encoded)).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
  });
});
