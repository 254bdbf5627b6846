import { describe, expect, it } from '@jest/globals';
import { packageLines, phaseText, planLines } from '../../client/cli/render.ts';
import type { PackageView } from '../../client/package-view.ts';
import type { Plan } from '../../domain/plan.ts';

/** Clears the screen, goes back a line, and says what is not true. */
const HOSTILE = '\u001b[2J\u001b[1A\rsucceeded\n\u202eapproved';
const SHOWN = '\\u001b[2J\\u001b[1A\\u000dsucceeded\\u000a\\u202eapproved';

/** Every text of a value made hostile: whoever answers for a run chooses them all. */
function poisoned(value: unknown): unknown {
  if (typeof value === 'string') return HOSTILE;
  if (Array.isArray(value)) return value.map(poisoned);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, poisoned(inner)]));
}

/** Colours are ours; nothing else that a terminal obeys may be left. */
function expectHarmless(lines: readonly string[]): void {
  const text = lines.map((line) => line.replaceAll(/\u001b\[\d+m/g, ''));
  for (const line of text) expect(line).not.toMatch(/[\p{Cc}\u202e]/u);
  expect(text.join('\n')).toContain(SHOWN);
}

const object = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'shop', name: 'settings' };
const digest = 'sha256:a' as const;

const view: PackageView = {
  wpkId: '1',
  workflowId: 'w',
  runId: 'r',
  startedAt: 's',
  phase: 'executing',
  since: 's',
  timeline: [],
  approvers: ['bob'],
  missing: 1,
  replans: 0,
  votes: [
    {
      ...{
        decision: 'approve',
        approver: 'bob',
        proof: 'asserted',
        via: 'signal',
        at: 's',
        receivedAt: 's',
        comment: 'fine',
      },
      refused: { code: 'APPROVAL_CLOSED', why: 'w' },
    },
  ],
  facts: {
    ...{ wpkId: '1', name: 'n', playbook: 'p', author: 'a', reason: 'r', clusterId: 'c', namespaces: ['shop'] },
    ...{ steps: 1, expiresAt: 's', wpkDigest: digest, signedBy: 'k', signerFingerprint: 'f' },
  },
  requirement: {
    auto: false,
    quorum: 1,
    groups: [],
    acceptAsserted: true,
    timeoutSeconds: 1,
    maxClockSkewSeconds: 60,
    reason: 'r',
  },
  error: { code: 'INTERNAL', message: 'm' },
  waiting: { activity: 'planPackage', attempt: 2, failure: 'f', isWrong: true },
  progress: { step: 's', index: 1, of: 1, done: 0, total: 1, waitingFor: 'w', since: 's' },
  report: {
    steps: [{ id: 's', action: 'apply', outcome: 'done', objects: [], startedAt: 's', finishedAt: 's' }],
  },
};

const plan: Plan = {
  ...{ wpkDigest: digest, clusterUid: 'u', policyDigest: digest, digest },
  objects: [
    {
      ...{ step: 's', action: 'apply', change: 'update', object, force: false, digest },
      changes: [{ path: '/data/x', before: 'a', after: 'b' }],
      verified: { by: 'server' },
    },
  ],
  problems: [{ step: 's', object, message: 'm' }],
  risk: { level: 'low', findings: [{ rule: 'r', level: 'low', message: 'm' }] },
};

describe('a package on a terminal', () => {
  it('whose every text is hostile shows them as escapes', () => {
    expectHarmless(packageLines(poisoned(view) as PackageView)); // of the same form, with other texts
  });

  it.each(['toString', '__proto__', 'constructor', HOSTILE])('is shown in a phase that there is not: %j', (phase) => {
    expect(phaseText(phase as PackageView['phase'])).toContain(phase === HOSTILE ? SHOWN : phase);
  });

  it('has a plan whose every text may be hostile', () => {
    expectHarmless(planLines(poisoned(plan) as Plan)); // of the same form, with other texts
  });
});
