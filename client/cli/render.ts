import type { Plan } from '../../domain/plan.ts';
import type { TextLine } from '../../domain/plan-text/lines.ts';
import { printed } from '../../domain/plan-text/lines.ts';
import { planCounts, planText } from '../../domain/plan-text/plan-text.ts';
import { planDifference, planDifferenceLines } from '../../domain/plan-difference.ts';
import { printable, printableIn } from '../../domain/printable.ts';
import { describeObject } from '../../domain/plan.ts';
import type { VoteRecord } from '../../domain/approvals.ts';
import { moment } from '../../domain/moment.ts';
import type { LogTail, PackageStatus, Phase, UndoOutcome, UndoReport } from '../../domain/status.ts';
import { openingText, waitsForWindowText } from '../../domain/window-text.ts';
import type { RiskLevel } from '../../domain/wpk.ts';
import type { PackageView, RollbackView, Waiting, Work } from '../package-view.ts';
import { paint } from './output.ts';

const PHASE_STYLE = {
  verifying: 'cyan',
  planning: 'cyan',
  'awaiting-approval': 'yellow',
  executing: 'cyan',
  succeeded: 'green',
  denied: 'red',
  rejected: 'red',
  expired: 'red',
  failed: 'red',
  'rolled-back': 'yellow',
  stopped: 'yellow',
} as const satisfies Record<Phase, string>;

const RISK_STYLE = { low: 'green', medium: 'yellow', high: 'red' } as const satisfies Record<RiskLevel, string>;

/** A phase comes from whoever answers for the run, so it may be none that is known. */
export function phaseText(phase: Phase): string {
  return paint(Object.hasOwn(PHASE_STYLE, phase) ? PHASE_STYLE[phase] : 'dim', printable(phase));
}

export function riskText(level: RiskLevel): string {
  return paint(Object.hasOwn(RISK_STYLE, level) ? RISK_STYLE[level] : 'dim', level);
}

/**
 * A plan as a person reads it: risk with reasons, what would change, the digest that an approval binds. It comes from
 * whoever answers for the run, so all of it is text.
 * @param replaced the plan before, whose approvals are void; what is not as in it comes first
 */
export function planLines(untrusted: Plan, replaced?: Plan): string[] {
  const { risk, digest } = printableIn({ risk: untrusted.risk, digest: untrusted.digest });
  return [
    ...(replaced ? replacedLines(untrusted, replaced) : []),
    `${paint('bold', 'Risk')}  ${riskText(risk.level)}`,
    ...risk.findings.map(({ level, rule, message }) => `  ${level.padEnd(6)}  ${message} ${paint('dim', `(${rule})`)}`),
    `${paint('bold', 'Changes')}  ${planCounts(untrusted)}`,
    ...Array.from(planText(untrusted), (line) => `  ${colouredLine(line)}`),
    `${paint('bold', 'Plan')}  ${digest}`,
  ];
}

function replacedLines(plan: Plan, replaced: Plan): string[] {
  const what = plan.policyDigest === replaced.policyDigest ? 'The cluster changed' : 'The policy changed';
  return [
    paint('yellow', `${what}: this plan replaces ${printable(replaced.digest)}, whose approvals are void.`),
    ...Array.from(planDifferenceLines(planDifference(replaced, plan)), (line) => `  ${colouredLine(line)}`),
  ];
}

const SEALED =
  'The rest is encrypted; it is shown with BYOC_PAYLOAD_CODEC=vault, here and in the worker, and a login to Vault that may read the payload keys.';

/** A package as a person reads it. Whoever may start workflows there could answer for it, so all of it is text. */
export function packageLines(untrusted: PackageView): string[] {
  const view = printableIn(untrusted);
  const { facts, requirement, error } = view;
  const lines = [`${paint('bold', view.wpkId)}  ${phaseText(view.phase)} since ${moment(view.since)}`];
  if (view.sealed) lines.push(`  ${paint('dim', SEALED)}`);
  if (facts) {
    lines.push(`  ${facts.name}: ${facts.reason}`);
    lines.push(
      `  playbook ${facts.playbook}, by ${facts.author}, signed by ${facts.signedBy}, until ${moment(facts.expiresAt)}`,
    );
  }
  if (error) lines.push(`  ${paint('red', error.code)}: ${error.message}`);
  if (view.stop)
    lines.push(`  stopped by ${view.stop.by} (asserted)${view.stop.reason ? `: ${view.stop.reason}` : ''}`);
  if (requirement) lines.push(`  ${requirement.reason}`);
  if (view.phase === 'awaiting-approval') lines.push(...awaitedLines(view));
  if (view.waiting) lines.push(`  ${paint('yellow', waitingText(view.waiting))}`);
  if (view.progress) lines.push(`  ${progressText(view.progress)}`);
  for (const vote of view.votes) {
    const fate = vote.refused ? paint('dim', `no effect: ${refusedText(vote.refused)}`) : vote.proof;
    lines.push(
      `  ${vote.decision} by ${voterText(vote)} at ${moment(vote.receivedAt)} (${fate})${vote.comment ? `: ${vote.comment}` : ''}`,
    );
  }
  for (const step of view.report?.steps ?? []) {
    lines.push(
      `  step ${step.id}: ${step.action} ${step.outcome}, ${step.objects.length} ${step.objects.length === 1 ? 'object' : 'objects'}`,
    );
    if (step.outcome === 'partial') {
      lines.push(...step.objects.map(({ change, object }) => `    ${change} ${describeObject(object)}`));
    }
    for (const log of step.logs ?? []) lines.push(...logLines(log));
  }
  if (view.report?.undo) lines.push(...undoLines(view.report.undo));
  if (view.rollback) lines.push(...rollbackLines(view.rollback));
  return lines;
}

const UNPROVEN: ReadonlySet<string> = new Set(['APPROVAL_KEY_UNTRUSTED', 'APPROVAL_SIGNATURE_INVALID']);

/** What the code says is in its table; not every refusal has more to say. */
function refusedText({ code, why }: NonNullable<VoteRecord['refused']>): string {
  return why ? `${code}: ${why}` : code;
}

/** A name beside a signature that proves nothing is only what whoever sent it wrote. */
function voterText({ approver, refused }: VoteRecord): string {
  return refused && UNPROVEN.has(refused.code) ? `somebody who claimed to be ${approver}` : approver;
}

/** What a package waits for that has a plan: people, or a window. */
function awaitedLines(view: PackageView): string[] {
  if (view.sealed) return ['  How many approvals are missing, and until when, is not known without the key.'];
  const approved = approvedText(view);
  if (approved !== undefined) return [`  ${paint('yellow', approved)}`];
  const groups = view.missingGroups?.length ? `, somebody of ${view.missingGroups.join(', ')} among them` : '';
  const until = view.answerBy === undefined ? 'it expires' : moment(view.answerBy);
  const { window } = view;
  return [
    `  ${view.missing ?? 0} more needed${groups}, until ${until}`,
    ...(window && !window.open ? [`  ${paint('yellow', 'not now')}: ${window.why} It ${openingText(window)}.`] : []),
  ];
}

/** That everybody who must has approved, and what a package waits for that has not begun all the same. */
export function approvedText({
  phase,
  missing,
  window,
}: Pick<PackageStatus, 'missing' | 'window'> & { readonly phase?: string | undefined }): string | undefined {
  if (phase !== 'awaiting-approval' || missing !== 0) return undefined;
  return window && !window.open ? waitsForWindowText(window) : 'approved; begins in a moment';
}

/** The rollback that somebody asked for. */
function rollbackLines(rollback: RollbackView): string[] {
  if (rollback.state === 'under way') return [`  ${paint('yellow', rollbackText(rollback))}`];
  const { complete, objects } = rollback.report;
  return [
    `  ${paint(complete ? 'green' : 'red', rollbackText(rollback))}`,
    ...(complete && objects.length === 0 ? [] : undoneLines(rollback.report)),
  ];
}

/** `rolled back by bob@example.com at 2026-…: 2 undone, 0 left`, in one line. */
export function rollbackText(rollback: RollbackView): string {
  if (rollback.state === 'under way') return ['being rolled back', workText(rollback)].filter(Boolean).join('  ');
  const { outcome, report, by, proof, at } = rollback;
  const { complete, objects } = report;
  const who = by === undefined ? '' : ` by ${by}${proof === 'verified' ? '' : ' (asserted)'}`;
  const when = at === undefined ? '' : ` at ${moment(at)}`;
  if (complete && objects.length === 0) return `rolled back: asked for again${who}${when}, nothing was left to undo`;
  const count = (outcome: UndoOutcome) => objects.filter((one) => one.outcome === outcome).length;
  const [partly, unchanged] = [count('partly'), count('unchanged')];
  const counts = [
    `${count('undone')} undone`,
    ...(partly > 0 ? [`${partly} partly`] : []),
    ...(unchanged > 0 ? [`${unchanged} as before already`] : []),
    `${count('left')} left`,
  ].join(', ');
  const head =
    outcome === 'stopped'
      ? 'rollback stopped before its end, asked for'
      : complete
        ? 'rolled back'
        : 'not wholly rolled back';
  return `${head}${who}${when}: ${counts}`;
}

/** What is done just now, or waited for; empty where nothing is known of it. */
export function workText({ progress, waiting }: Work): string {
  return waiting ? waitingText(waiting) : progressText(progress);
}

/** How `printable` shows the end of a line. */
const LINE_END = printable('\n');

/** The end of a log, line by line. It is printable already. */
function logLines({ pod, container, text, missing }: LogTail): string[] {
  const head = `    ${paint('dim', `log of ${pod}, ${container}:`)}`;
  if (missing !== undefined) return [`${head} ${missing}`];
  return [head, ...text.split(LINE_END).map((line) => `      ${line}`)];
}

const UNDO_STYLE = { undone: 'green', unchanged: 'dim', partly: 'yellow', left: 'red' } as const satisfies Record<
  UndoOutcome,
  string
>;

/** What became of each object that was to be undone; of those that were so already only how many. */
export function undoLines(untrusted: UndoReport): string[] {
  const { complete } = untrusted;
  return [
    `  ${complete ? paint('green', 'rolled back') : paint('red', 'not rolled back as a whole')}`,
    ...undoneLines(untrusted),
  ];
}

function undoneLines(untrusted: UndoReport): string[] {
  const { objects } = printableIn(untrusted);
  const told = objects.filter(({ outcome }) => outcome !== 'unchanged');
  const unchanged = objects.length - told.length;
  return [
    ...told.map(({ step, object, outcome, why }) => {
      const word = Object.hasOwn(UNDO_STYLE, outcome) ? paint(UNDO_STYLE[outcome], outcome) : outcome;
      return `    ${word} ${describeObject(object)} (step ${step})${why === undefined ? '' : `: ${why}`}`;
    }),
    ...(unchanged > 0 ? [`    ${unchanged} ${unchanged === 1 ? 'object was' : 'objects were'} as before already`] : []),
  ];
}

/** `step 1 of 2 (config): waiting since 2026-… for Deployment shop/checkout: 1 of 2 replicas updated`. */
export function progressText(progress: Work['progress']): string {
  if (!progress) return '';
  const { step, index, of, done, total, waitingFor, since } = progress;
  const awaited = `waiting since ${moment(since)} for ${printable(waitingFor ?? 'its turn')}`;
  if (index === 0) return awaited;
  return `step ${index} of ${of} (${step}): ${waitingFor ? awaited : `${done} of ${total} objects`}`;
}

/** What an attempt that comes again says: that it waits for others, or what went wrong. */
export function waitingText({ activity, attempt, failure, isWrong }: Waiting): string {
  return isWrong ? `retrying ${activity}, attempt ${attempt}: ${failure}` : `waiting: ${failure}`;
}

const LINE_STYLE = {
  object: 'cyan',
  create: 'green',
  delete: 'red',
  refused: 'red',
  context: undefined,
  remove: 'red',
  add: 'green',
  note: 'dim',
} as const satisfies Record<TextLine['kind'], string | undefined>;

/** One line of a plan, whatever it holds, with its mark and colour. */
export function colouredLine(line: TextLine): string {
  const style = LINE_STYLE[line.kind];
  return style ? paint(style, printed(line)) : printed(line);
}
