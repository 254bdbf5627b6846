import { describe, expect, it } from '@jest/globals';
import { lineOf, listLines } from '../../client/cli/packages.ts';
import { toDigest } from '../../client/cli/arguments.ts';
import { refuseEnded } from '../../client/cli/votes.ts';
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

/** One that is neither at work nor has done anything. */
const quiet: PackageView = {
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
};

const view: PackageView = {
  ...quiet,
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

const plain = (lines: readonly string[]) => lines.join('\n').replaceAll(/\u001b\[\d+m/g, '');
const listed = {
  ...{ wpkId: '1', workflowId: 'w', runId: 'r', risk: 'low', playbook: 'p' },
  ...{ startedAt: '2026-11-25T15:00:00.123Z', closedAt: undefined },
};

describe('a package that was approved outside its maintenance window', () => {
  const waits = {
    phase: 'awaiting-approval',
    missing: 0,
    window: {
      ...{ open: false, why: 'No maintenance window that allows it is open now (nights).', waitsFor: 'nights' },
      ...{ opensAt: '2026-11-25T21:00:00.000Z', opensAtLocal: '22:00 Europe/Berlin' },
    },
  } as const;
  const said = 'approved; waits for the window nights, opens 2026-11-25T21:00:00Z (22:00 Europe/Berlin)';

  it('is shown as approved, with what it waits for, by show, watch and list', () => {
    expect(plain(packageLines({ ...quiet, ...waits }))).toContain(said);
    expect(plain(packageLines({ ...quiet, ...waits }))).not.toContain('more needed');
    expect(plain([lineOf({ ...quiet, ...waits })])).toBe(`awaiting-approval  ${said}`);
    expect(listLines([{ ...listed, ...waits }])[1]).toContain(said);
  });

  it('names the window that forbids it, where one does', () => {
    const window = { ...waits.window, window: 'sale' };
    const text = plain([lineOf({ ...quiet, ...waits, window })]);
    expect(text).toContain('approved; waits for the end of the window sale, opens 2026-11-25T21:00:00Z');
  });

  it('says how many are missing as long as some are', () => {
    const text = plain(packageLines({ ...quiet, ...waits, missing: 1, answerBy: '2026-11-25T20:00:00.000Z' }));
    expect(text).toContain('1 more needed, until 2026-11-25T20:00:00Z');
    expect(text).toContain('is open now (nights). It opens 2026-11-25T21:00:00Z (22:00 Europe/Berlin).');
  });
});

describe('a package whose status is encrypted for others', () => {
  it('says that it waits, and that for how many is not known', () => {
    const sealed: PackageView = { ...quiet, sealed: true, phase: 'awaiting-approval', votes: [], approvers: [] };
    const text = packageLines(sealed).join('\n');
    expect(text).toContain('How many approvals are missing, and until when, is not known without the key.');
    expect(text).not.toContain('more needed');
  });
});

describe('a package that was rolled back after its end', () => {
  const undone = (outcome: 'undone' | 'left') => ({ step: 's', object, outcome });
  const rollback = {
    state: 'over',
    outcome: 'ended',
    by: 'bob@example.com',
    proof: 'verified',
    at: '2026-11-25T15:00:00.123Z',
    report: { complete: true, objects: [undone('undone'), undone('undone')] },
  } as const;
  const said = 'rolled back by bob@example.com at 2026-11-25T15:00:00Z: 2 undone, 0 left';

  it('says who undid how much of it, in show, in the last line of watch and in list', () => {
    expect(plain(packageLines({ ...quiet, phase: 'stopped', rollback }))).toContain(said);
    expect(plain([lineOf({ ...quiet, phase: 'stopped', rollback })])).toBe(`stopped  ${said}`);
    expect(listLines([{ ...listed, phase: 'stopped', rollback }])[1]).toContain(said);
  });

  it('says so where something is left, and where nobody proved who asked', () => {
    const report = { complete: false, objects: [undone('undone'), undone('left')] };
    const text = plain(
      packageLines({ ...quiet, phase: 'failed', rollback: { ...rollback, proof: 'asserted', report } }),
    );
    expect(text).toContain('not wholly rolled back by bob@example.com (asserted) at');
    expect(text).toContain('1 undone, 1 left');
  });
});

describe('a list of packages', () => {
  const waiting = { activity: 'executePackage', attempt: 3, failure: 'f', isWrong: false } as const;

  it('tells what waits for the freeze, or for its turn, from what is being executed', () => {
    const [, frozen, locked, first, busy] = listLines([
      { ...listed, phase: 'executing', waiting: { ...waiting, code: 'FROZEN' } },
      { ...listed, phase: 'executing', waiting: { ...waiting, code: 'OBJECTS_LOCKED' } },
      {
        ...{ ...listed, phase: 'executing' },
        progress: { step: '', index: 0, of: 1, done: 0, total: 0, waitingFor: 'package 2', since: 's' },
      },
      { ...listed, phase: 'executing' },
    ]);
    expect(frozen).toContain('executing (frozen)');
    expect(locked).toContain('executing (waits)');
    expect(first).toContain('executing (waits)');
    expect(busy).not.toContain('(');
  });
});

describe('a vote on a package that has ended', () => {
  it('is answered with how it ended, whatever plan the vote names', () => {
    const ended = { ...quiet, phase: 'stopped', since: '2026-11-25T15:00:00.123Z' } as const;
    expect(() => refuseEnded(ended)).toThrow('It ended as stopped (INTERNAL) at 2026-11-25T15:00:00Z.');
    expect(() => refuseEnded({ ...ended, phase: 'awaiting-approval' })).not.toThrow();
  });

  it('names a plan by its whole digest', () => {
    for (const text of ['sha256:00', 'null', '']) expect(() => toDigest(text)).toThrow('A digest');
    expect(toDigest(`sha256:${'a'.repeat(64)}`)).toHaveLength(71);
  });
});

describe('a vote with a signature that proves nothing', () => {
  it('is listed under the name that was only claimed', () => {
    const [vote] = view.votes;
    const refused = { code: 'APPROVAL_KEY_UNTRUSTED', why: 'w' } as const;
    const text = plain(packageLines({ ...view, votes: vote ? [{ ...vote, refused }] : [] }));
    expect(text).toContain('approve by somebody who claimed to be bob at');
  });
});

describe('a step that did not come to its end', () => {
  it('names the objects that it left', () => {
    const step = { id: 's', action: 'apply', outcome: 'partial', startedAt: 's', finishedAt: 's' } as const;
    const steps = [{ ...step, objects: [{ object, change: 'create' }] }] as const;
    expect(plain(packageLines({ ...view, report: { steps } }))).toContain('create ConfigMap shop/settings');
  });
});
