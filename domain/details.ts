import { toPointer } from './json-pointer.ts';
import type { Plan, PlannedObject } from './plan.ts';
import { describeObject } from './plan.ts';
import type { PackageStatus } from './status.ts';

/** How much of the differences the Temporal UI shows; `byoc show` and the query `plan` have all of it. */
const MAX_DIFF_LINES = 120;
const MAX_LINE_CHARS = 200;

/** The Markdown that approvers read in the Temporal UI: what, where, how risky, what changes, and how to answer. */
export function renderDetails(
  workflowId: string,
  status: PackageStatus,
  plan: Plan | undefined,
  previous: Plan | undefined,
): string {
  const { facts } = status;
  const lines: string[] = [`**${status.phase}**`];
  if (status.error) lines.push('', `\`${status.error.code}\` ${inline(status.error.message)}`);
  if (facts) {
    lines.push(
      '',
      `**${facts.name}** — playbook ${facts.playbook}, by ${inline(facts.author)}, signed by ${inline(facts.signedBy)}`,
      '',
      `> ${inline(facts.reason)}`,
      '',
      `Cluster **${facts.clusterId}**, namespaces ${facts.namespaces.map((name) => `\`${name}\``).join(', ') || 'none'}`,
    );
  }
  if (plan) {
    if (status.replans > 0 && previous) {
      lines.push('', `The cluster changed after plan \`${previous.digest}\` was approved. Nothing was written; this is the new plan.`);
    }
    lines.push('', `**Risk: ${plan.risk.level}**`, '');
    lines.push(...plan.risk.findings.map(({ level, rule, message }) => `- ${level}: ${inline(message)} (\`${rule}\`)`));
    if (status.phase === 'awaiting-approval') lines.push('', ...renderAsk(workflowId, status, plan));
    lines.push('', `**Plan** \`${plan.digest}\``, '', ...renderChanges(plan));
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
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return [`${path}: ${valueText(value)}`];
  return Object.entries(value).flatMap(([key, inner]) => leaves(path + toPointer([key]), inner));
}

function renderChanges(plan: Plan): string[] {
  const unchanged = plan.objects.filter(({ change }) => change === 'unchanged').length;
  const all = diffLines(plan);
  const shown = all.slice(0, MAX_DIFF_LINES).map((line) => truncate(line).replaceAll('```', "'''"));
  const lines = ['```diff', ...shown];
  if (all.length > shown.length) lines.push(`# ${all.length - shown.length} more lines: byoc show, or the query plan`);
  lines.push('```');
  if (unchanged > 0) lines.push(`${unchanged} objects stay as they are.`);
  return lines;
}

function renderAsk(workflowId: string, status: PackageStatus, plan: Plan): string[] {
  const { requirement } = status;
  const argument = JSON.stringify({ approver: 'YOUR NAME', planDigest: plan.digest });
  const lines = [`**Waiting for approval until ${status.answerBy ?? 'it expires'}**: ${requirement?.reason ?? ''}`];
  if (status.approvers.length > 0) lines.push('', `Approved so far by ${status.approvers.map(inline).join(', ')}; missing: ${status.missing}`);
  return [
    ...lines,
    '',
    'Approve with the signal `approve` and this input, or with the command:',
    '',
    '```json',
    argument,
    '```',
    '```sh',
    `temporal workflow signal --workflow-id '${workflowId}' --name approve --input '${argument}'`,
    '```',
    'Reject with the signal `reject`, which needs a `reason`.',
  ];
}

function valueText(value: unknown): string {
  return typeof value === 'string' && !/[\n\r]/.test(value) ? value : JSON.stringify(value);
}

function truncate(line: string): string {
  return line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS)}…` : line;
}

/** Text from outside stays text: no Markdown, no line breaks. */
function inline(text: string): string {
  return text.replace(/[\r\n\u2028\u2029]+/g, ' ').replace(/[\\`*_[\]<>|#]/g, '\\$&');
}
