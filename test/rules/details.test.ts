import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { VoteRecord } from '../../domain/approvals.ts';
import { renderDetails, renderDiscreetDetails, showPlan } from '../../domain/details.ts';
import type { PathChange, Plan } from '../../domain/plan.ts';
import { printable, printableIn } from '../../domain/printable.ts';
import type { PackageStatus } from '../../domain/status.ts';

const DIGEST = `sha256:${'a'.repeat(64)}` as const;
const AT = '2026-01-01T00:00:00.000Z';
const FORGED = '\n```\n\n**Risk: low**\n\n- low: harmless (`nothing`)\n\n```diff\n';

const OBJECT = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'shop', name: 'settings' };

function planOf(changes: readonly PathChange[], more: Partial<Plan> = {}): Plan {
  const planned = { step: 'apply', action: 'apply', change: 'update', object: OBJECT, force: false } as const;
  return {
    wpkDigest: DIGEST,
    clusterUid: 'uid',
    policyDigest: DIGEST,
    objects: [{ ...planned, changes, verified: { by: 'server' }, digest: DIGEST }],
    problems: [],
    risk: { level: 'high', findings: [{ rule: 'secret', level: 'high', message: 'It changes a Secret.' }] },
    digest: DIGEST,
    ...more,
  };
}

const waiting = {
  phase: 'awaiting-approval',
  since: AT,
  timeline: [],
  approvers: [],
  votes: [],
  replans: 0,
  missing: 1,
  requirement: {
    auto: false,
    quorum: 1,
    groups: [],
    acceptAsserted: true,
    maxClockSkewSeconds: 60,
    timeoutSeconds: 60,
    reason: 'low risk needs the approval of one person',
  },
  facts: {
    wpkId: '01JD0000000000000000000000',
    name: 'change-settings',
    playbook: 'settings@1',
    author: 'alice@example.com',
    reason: 'a test wants it',
    clusterId: 'test',
    namespaces: ['shop'],
    steps: 1,
    expiresAt: AT,
    wpkDigest: DIGEST,
    signedBy: 'development',
    signerFingerprint: 'fingerprint',
  },
} satisfies PackageStatus;

const linesOf = (plan: Plan, status: Partial<PackageStatus> = {}) =>
  renderDetails('wpk/test/1', { ...waiting, ...status }, showPlan(plan)).split('\n');
const fencesIn = (lines: readonly string[]) => lines.filter((line) => /^\s*(```|~~~)/.test(line));
const FENCES = ['```json', '```', '```sh', '```', '```sh', '```', '```diff', '```'];

/** Lines that tell the level of the risk; within a line of the differences the words are data. */
const riskLines = (lines: readonly string[]) => lines.filter((line) => line.startsWith('**Risk:'));

describe('what the Temporal UI is told where payloads are encrypted', () => {
  const SECRET = 'canary-5b1f';
  const vote: VoteRecord = {
    ...{ decision: 'approve', approver: `${SECRET}@example.com`, planDigest: DIGEST, receivedAt: AT, at: AT },
    ...{ proof: 'asserted', via: 'signal', comment: SECRET, refused: { code: 'APPROVAL_NOT_ACCEPTED', why: SECRET } },
  };
  const facts = { ...waiting.facts, name: SECRET, author: SECRET, reason: SECRET, namespaces: [SECRET] };
  const told: PackageStatus = {
    ...waiting,
    ...{ facts, risk: 'high', votes: [vote], approvers: [SECRET] },
    ...{ error: { code: 'INTERNAL', message: SECRET }, requirement: { ...waiting.requirement, reason: SECRET } },
  };
  const changes = [{ path: `/data/${SECRET}`, after: SECRET }];
  const findings = [{ rule: 'secret', level: 'high', message: SECRET }] as const;
  const plan = planOf(changes, { risk: { level: 'high', findings } });

  it('is what Temporal knows anyway, how to answer, and where the rest is read', () => {
    const details = renderDiscreetDetails('wpk/test/1', told, showPlan(plan));
    expect(renderDetails('wpk/test/1', told, showPlan(plan))).toContain(SECRET);
    expect(details).not.toContain(SECRET);
    for (const part of [
      '**awaiting-approval**',
      'risk **high**',
      'byoc show 01JD',
      '*Queries*',
      'byoc approve 01JD',
      DIGEST,
    ])
      expect(details).toContain(part);
    expect(details).toContain('Votes without effect: 1');
  });
});

describe('what approvers read in the Temporal UI', () => {
  it.each([
    ['a new value', [{ path: '/data/text', after: FORGED }]],
    ['an old value', [{ path: '/data/text', before: FORGED, after: 'x' }]],
    ['a key', [{ path: `/data/${FORGED}`, after: 'x' }]],
    ['a key further in', [{ path: '/data', after: { [FORGED]: { [FORGED]: 'x' } } }]],
    ['a value far into the line', [{ path: '/data/text', after: `${'x'.repeat(180)}${FORGED}` }]],
    ['a value of other line ends', [{ path: '/data/text', after: FORGED.replaceAll('\n', '\u2028') }]],
    ['a value with carriage returns', [{ path: '/data/text', after: FORGED.replaceAll('\n', '\r') }]],
  ])('has one risk, and one block of changes, whatever %s holds', (_, changes) => {
    const lines = linesOf(planOf(changes));
    expect(riskLines(lines)).toEqual(['**Risk: high**']);
    expect(fencesIn(lines)).toEqual(FENCES);
    expect(lines.at(-1)).toBe('```');
  });

  it('has them whatever any text holds', () => {
    const piece = fc.constantFrom('```', '~~~', '\n', '\r', '\u2028', '**Risk: low**', '- low: ', '`', '#', '\\', 'x');
    const hostile = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(hostile, hostile, hostile, (key, value, message) => {
        const plan = planOf([{ path: `/data/${key}`, after: { [key]: value } }], {
          problems: [{ step: 'apply', object: OBJECT, message }],
          risk: { level: 'high', findings: [{ rule: 'secret', level: 'high', message }] },
        });
        const facts = waiting.facts && { ...waiting.facts, reason: message, author: value, signedBy: value };
        const approved = { approvers: [value], missing: 1, ...(facts && { facts }) };
        const lines = linesOf(plan, { ...approved, error: { code: 'PLAN_REJECTED', message } });
        expect(riskLines(lines)).toEqual(['**Risk: high**']);
        expect(lines.filter((line) => line.startsWith('- '))).toHaveLength(1);
        expect(fencesIn(lines)).toEqual(FENCES);
      }),
    );
  });

  it('takes no Markdown from reason, author, approvers and messages', () => {
    const hostile = '**bold** [link](http://evil) `code` <b>\n# Approved';
    const shown = '\\*\\*bold\\*\\* \\[link\\](http://evil) \\`code\\` \\<b\\> \\# Approved';
    const facts = waiting.facts && { ...waiting.facts, reason: hostile };
    const risk = { level: 'low', findings: [{ rule: 'x', level: 'low', message: hostile }] } as const;
    const lines = linesOf(planOf([], { risk }), { approvers: [hostile], missing: 1, ...(facts && { facts }) });
    expect(lines).toContain(`> ${shown}`);
    expect(lines).toContain(`- low: ${shown} (\`x\`)`);
    expect(lines).toContain(`Approved so far by ${shown}; missing: 1`);
  });

  it('shows what turns text around or steers a terminal as escapes', () => {
    const facts = waiting.facts && { ...waiting.facts, reason: 'up \u202enwod\u001b[2J' };
    const text = linesOf(planOf([{ path: '/data/a\u202e', after: '\u001b[31m' }]), facts && { facts }).join('\n');
    expect(text).not.toMatch(/[\u001b\u202e]/);
    expect(text).toContain('+   "a\\u202e": "\\u001b[31m"');
  });

  it('stays short for a value of any length', () => {
    const lines = linesOf(planOf([{ path: '/data/text', after: 'x'.repeat(1_000_000) }]));
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(300);
  });
});

describe('what whoever sent a signal reads in the Temporal UI', () => {
  const refusedVote = (approver: string, second: number): VoteRecord => ({
    decision: 'approve',
    approver,
    proof: 'asserted',
    at: AT,
    receivedAt: `2026-01-01T00:00:0${second}.500Z`,
    via: 'signal',
    refused: { code: 'APPROVAL_PLAN_MISMATCH', why: 'The current plan is *another*.' },
  });

  it('is why a vote has no effect, the newest of them', () => {
    const votes = ['ann', 'bob', 'carol', '**dan**'].map(refusedVote);
    const lines = linesOf(planOf([]), { votes });
    expect(lines.filter((line) => line.startsWith('- approve by'))).toEqual([
      '- approve by bob at 2026-01-01T00:00:01Z: `APPROVAL_PLAN_MISMATCH` The vote is for another plan than the current one. The current plan is \\*another\\*.',
      '- approve by carol at 2026-01-01T00:00:02Z: `APPROVAL_PLAN_MISMATCH` The vote is for another plan than the current one. The current plan is \\*another\\*.',
      '- approve by \\*\\*dan\\*\\* at 2026-01-01T00:00:03Z: `APPROVAL_PLAN_MISMATCH` The vote is for another plan than the current one. The current plan is \\*another\\*.',
    ]);
  });

  it('is nothing of votes while there are none without effect', () => {
    expect(linesOf(planOf([])).join('\n')).not.toContain('without effect');
  });

  it('is until when an answer is waited for, to the second', () => {
    const text = linesOf(planOf([]), { answerBy: '2026-01-02T03:04:05.678Z' }).join('\n');
    expect(text).toContain('**Waiting for approval until 2026-01-02T03:04:05Z**');
  });
});

describe('printable text', () => {
  it('has no control characters and no line breaks, and is printed the same again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(text)).not.toMatch(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u);
        expect(printable(printable(text))).toBe(printable(text));
      }),
    );
  });

  it('is what every text in a value becomes, at any depth, while the rest stays', () => {
    const value = { a: 'x\u001b[2J', list: ['\n', { deep: '\u202e', n: 1, yes: true, no: null }] };
    expect(printableIn(value)).toEqual({
      a: 'x\\u001b[2J',
      list: ['\\u000a', { deep: '\\u202e', n: 1, yes: true, no: null }],
    });
  });
});
