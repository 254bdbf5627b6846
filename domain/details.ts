import { toPointer } from './json-pointer.ts';
import { printable } from './printable.ts';
import type { Plan, PlannedObject } from './plan.ts';
import { describeObject } from './plan.ts';
import type { PackageStatus } from './status.ts';

/** How much of the differences the Temporal UI shows; `byoc show` and the query `plan` have all of it. */
const MAX_DIFF_LINES = 120;
const MAX_LINE_CHARS = 200;

/** A plan as Markdown, made once: status and votes change more often than the plan. */
export interface ShownPlan {
  readonly digest: Plan['digest'];
  readonly risk: readonly string[];
  readonly changes: readonly string[];
}

export function showPlan(plan: Plan): ShownPlan {
  const { digest, risk } = plan;
  const findings = risk.findings.map(({ level, rule, message }) => `- ${level}: ${inline(message)} (\`${rule}\`)`);
  return { digest, risk: [`**Risk: ${risk.level}**`, '', ...findings], changes: renderChanges(plan) };
}

/**
 * The Markdown that approvers read in the Temporal UI: what, where, how risky, what changes, and how to answer.
 * @param previous digest of the plan that was approved before the cluster changed
 */
export function renderDetails(
  workflowId: string,
  status: PackageStatus,
  plan: ShownPlan | undefined,
  previous: string | undefined,
): string {
  const { facts } = status;
  const lines: string[] = [`**${status.phase}**`];
  if (status.error) lines.push('', `\`${status.error.code}\` ${inline(status.error.message)}`);
  if (facts) {
    const by = `playbook ${inline(facts.playbook)}, by ${inline(facts.author)}, signed by ${inline(facts.signedBy)}`;
    const namespaces = facts.namespaces.map((name) => `\`${name}\``).join(', ') || 'none';
    lines.push('', `**${facts.name}** — ${by}`, '', `> ${inline(facts.reason)}`);
    lines.push('', `Cluster **${facts.clusterId}**, namespaces ${namespaces}`);
  }
  if (plan) {
    if (status.replans > 0 && previous) {
      lines.push(
        '',
        `The cluster changed after plan \`${previous}\` was approved. Nothing was written; this is the new plan.`,
      );
    }
    lines.push('', ...plan.risk);
    if (status.phase === 'awaiting-approval') lines.push('', ...renderAsk(workflowId, status, plan));
    lines.push('', `**Plan** \`${plan.digest}\``, '', ...plan.changes);
  }
  return lines.join('\n');
}

/** The differences of a plan as lines in the manner of a unified diff: `+` comes, `-` goes, `~` stands before an object. */
export function diffLines(plan: Pick<Plan, 'objects' | 'problems'>): string[] {
  const changed = plan.objects.filter(({ change }) => change !== 'unchanged');
  return [
    ...plan.problems.map(({ object, message }) => `! ${describeObject(object)}: refused: ${message}`),
    ...changed.flatMap(objectLines),
  ];
}

function objectLines(planned: PlannedObject): string[] {
  const { change, object, step, action, verified } = planned;
  const doubt = verified.by === 'nobody' ? ` (not verified: ${verified.reason})` : '';
  const head = `~ ${describeObject(object)}: ${action === 'apply' ? change : action} (step ${step})${doubt}`;
  if (planned.changesOmitted) return [head, '  (differences too large to show)'];
  return [
    head,
    ...planned.changes.flatMap(({ path, before, after }) => [
      ...leaves(path, before).map((leaf) => `-   ${leaf}`),
      ...leaves(path, after).map((leaf) => `+   ${leaf}`),
    ]),
  ];
}

/** What an approver knows already from the line above. */
const SAID_BEFORE = new Set(['/apiVersion', '/kind', '/metadata/name', '/metadata/namespace']);

/** A value as one line a leaf, `/spec/replicas: 3`: what is new or gone as a whole is read like what changed. */
function leaves(path: string, value: unknown): string[] {
  if (value === undefined || SAID_BEFORE.has(path)) return [];
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0)
    return [`${path}: ${valueText(value)}`];
  return Object.entries(value).flatMap(([key, inner]) => leaves(path + toPointer([key]), inner));
}

function renderChanges(plan: Plan): string[] {
  const unchanged = plan.objects.filter(({ change }) => change === 'unchanged').length;
  const all = diffLines(plan);
  // A line is one line, whatever a key or value holds, and none can end the block.
  const shown = all.slice(0, MAX_DIFF_LINES).map((line) => truncate(printable(line)).replaceAll('```', "'''"));
  const lines = ['```diff', ...shown];
  if (all.length > shown.length) lines.push(`# ${all.length - shown.length} more lines: byoc show, or the query plan`);
  lines.push('```');
  if (unchanged > 0) lines.push(`${unchanged} objects stay as they are.`);
  return lines;
}

function renderAsk(workflowId: string, status: PackageStatus, plan: ShownPlan): string[] {
  const { requirement, window, missing = 1, missingGroups = [], approvers, answerBy = 'it expires' } = status;
  const lines = window && !window.open ? [`**Not now**: ${inline(window.why)}`, ''] : [];
  if (missing === 0) return [...lines, `**Approved**; it begins when it may, or ends without effect at ${answerBy}.`];
  lines.push(`**Waiting for approval until ${answerBy}**: ${inline(requirement?.reason ?? '')}`);
  const groups = missingGroups.length > 0 ? `, somebody of ${missingGroups.map(inline).join(', ')} among them` : '';
  if (approvers.length > 0)
    lines.push('', `Approved so far by ${approvers.map(inline).join(', ')}; missing: ${missing}${groups}`);
  const countsBare = requirement?.acceptAsserted && requirement.quorum === 1 && requirement.groups.length === 0;
  return [
    ...lines,
    ...(countsBare ? bareAsk(workflowId, plan) : []),
    '',
    countsBare
      ? 'Or with a signed vote, which proves who sent it:'
      : 'Approve with a signed vote; a bare signal counts for nothing here:',
    ...signedAsk(workflowId, status),
    'Reject in the same way with the signal `reject` and a `reason`: `byoc reject`.',
  ];
}

function bareAsk(workflowId: string, plan: ShownPlan): string[] {
  const argument = JSON.stringify({ approver: 'YOUR NAME', planDigest: plan.digest });
  return [
    '',
    'Approve with the signal `approve` and this input, or with the command:',
    '',
    '```json',
    argument,
    '```',
    '```sh',
    `temporal workflow signal --workflow-id '${workflowId}' --name approve --input '${argument}'`,
    '```',
  ];
}

/** Signed here and sent by whoever may: the file is the input of the signal, also to paste into this page. */
function signedAsk(workflowId: string, { facts }: PackageStatus): string[] {
  const id = facts?.wpkId ?? 'ID';
  return [
    '',
    '```sh',
    `byoc approve ${id} --cluster ${facts?.clusterId ?? 'CLUSTER'} --as 'YOUR NAME' --key YOUR.key --print > vote.json`,
    `temporal workflow signal --workflow-id '${workflowId}' --name approve --input-file vote.json`,
    '```',
  ];
}

function valueText(value: unknown): string {
  return typeof value === 'string' && !/[\n\r]/.test(value) ? value : JSON.stringify(value);
}

function truncate(line: string): string {
  return line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS)}…` : line;
}

/** Text from outside stays text: no Markdown, no line breaks, nothing that turns the line around. */
function inline(text: string): string {
  return printable(text.replace(/[\r\n\u2028\u2029]+/g, ' ')).replace(/[\\`*_[\]<>|#]/g, '\\$&');
}
