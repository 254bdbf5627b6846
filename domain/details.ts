import { refusalText } from './approvals.ts';
import { moment } from './moment.ts';
import { printable } from './printable.ts';
import type { Plan } from './plan.ts';
import { planDifference, planDifferenceMarkdown } from './plan-difference.ts';
import { planMarkdown } from './plan-text/markdown.ts';
import { isSimulated, SIMULATION_NOTICE } from './simulation.ts';
import type { PackageStatus } from './status.ts';
import { openingText, waitsForWindowText } from './window-text.ts';

/** How many votes without effect are shown. */
const MAX_REFUSED = 3;

/** A plan as Markdown, made once: status and votes change more often than the plan. */
export interface ShownPlan {
  readonly digest: Plan['digest'];
  readonly risk: readonly string[];
  readonly changes: readonly string[];
  /** What is not as in the plan that it replaces, if it replaces one. */
  readonly difference: readonly string[];
}

/** @param replaced the plan before, whose approvals are void */
export function showPlan(plan: Plan, replaced?: Plan): ShownPlan {
  const { digest, risk } = plan;
  const findings = risk.findings.map(({ level, rule, message }) => `- ${level}: ${inline(message)} (\`${rule}\`)`);
  return {
    digest,
    risk: [`**Risk: ${risk.level}**`, '', ...findings],
    changes: planMarkdown(plan),
    difference: replaced ? showDifference(plan, replaced) : [],
  };
}

function showDifference(plan: Plan, replaced: Plan): string[] {
  const difference = planDifference(replaced, plan);
  const what = difference.policyChanged ? 'The policy changed' : 'The cluster changed';
  return [
    `**${what}: this plan replaces \`${replaced.digest}\`, whose approvals are void. Nothing was written.**`,
    '',
    ...planDifferenceMarkdown(difference),
  ];
}

/** The Markdown that approvers read in the Temporal UI: what, where, how risky, what changes, and how to answer. */
export function renderDetails(workflowId: string, status: PackageStatus, plan: ShownPlan | undefined): string {
  const { facts } = status;
  const lines: string[] = facts && isSimulated(facts.clusterId) ? [`**${SIMULATION_NOTICE}**`, ''] : [];
  lines.push(`**${status.phase}**`);
  if (status.error) lines.push('', `\`${status.error.code}\` ${inline(status.error.message)}`);
  if (facts) {
    const by = `playbook ${inline(facts.playbook)}, by ${inline(facts.author)}, signed by ${inline(facts.signedBy)}`;
    const namespaces = facts.namespaces.map((name) => `\`${name}\``).join(', ') || 'none';
    lines.push('', `**${facts.name}** — ${by}`, '', `> ${inline(facts.reason)}`);
    lines.push('', `Cluster **${facts.clusterId}**, namespaces ${namespaces}`);
  }
  if (plan) {
    if (plan.difference.length > 0) lines.push('', ...plan.difference);
    lines.push('', ...plan.risk);
    if (status.phase === 'awaiting-approval') lines.push('', ...renderAsk(workflowId, status, plan));
    if (status.phase === 'executing') lines.push('', ...renderProgress(status));
    lines.push('', `**Plan** \`${plan.digest}\``, '', ...plan.changes);
  }
  return lines.join('\n');
}

/** These details change with the history of the run only; what is done this second, the activity's heartbeats tell. */
function renderProgress({ facts }: PackageStatus): string[] {
  const command = `byoc watch ${facts?.wpkId ?? 'ID'} --cluster ${facts?.clusterId ?? 'CLUSTER'}`;
  return [
    'How far it is, and what it waits for: below *Pending Activities*, as details of the heartbeat, or',
    ...['', '```sh', command, '```'],
  ];
}

function renderAsk(workflowId: string, status: PackageStatus, plan: ShownPlan): string[] {
  const { facts, requirement, window, missing = 1, missingGroups = [], approvers, votes } = status;
  const answerBy = status.answerBy === undefined ? 'it expires' : moment(status.answerBy);
  const closed = window && !window.open ? window : undefined;
  if (missing === 0) {
    const waits = closed ? inline(waitsForWindowText(closed)).replace('approved', '**Approved**') : '**Approved**';
    return [`${waits}; it begins when it may, or ends without effect at ${facts?.expiresAt ?? answerBy}.`];
  }
  const lines = closed ? [`**Not now**: ${inline(closed.why)} It ${inline(openingText(closed))}.`, ''] : [];
  lines.push(`**Waiting for approval until ${answerBy}**: ${inline(requirement?.reason ?? '')}`);
  const groups = missingGroups.length > 0 ? `, somebody of ${missingGroups.map(inline).join(', ')} among them` : '';
  if (approvers.length > 0)
    lines.push('', `Approved so far by ${approvers.map(inline).join(', ')}; missing: ${missing}${groups}`);
  lines.push(...renderRefused(votes));
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

/** Who sends a signal gets no answer, and looks here for what became of it. */
function renderRefused(votes: PackageStatus['votes']): string[] {
  const refused = votes.flatMap(({ decision, approver, receivedAt, refused: no }) =>
    no
      ? [`- ${decision} by ${inline(approver)} at ${moment(receivedAt)}: \`${no.code}\` ${inline(refusalText(no))}`]
      : [],
  );
  return refused.length === 0
    ? []
    : ['', 'Votes without effect (the query `status` has them all):', '', ...refused.slice(-MAX_REFUSED)];
}

function bareAsk(workflowId: string, plan: ShownPlan): string[] {
  const vote = { approver: 'YOUR NAME', planDigest: plan.digest };
  return [
    '',
    'Approve with the signal `approve` (*More Actions*, *Send a Signal*) and this input, or with the command:',
    '',
    '```json',
    ...JSON.stringify(vote, null, 2).split('\n'),
    '```',
    '```sh',
    `temporal workflow signal --workflow-id '${workflowId}' --name approve --input '${JSON.stringify(vote)}'`,
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

/** Text from outside stays text: no Markdown, no line breaks, nothing that turns the line around. */
function inline(text: string): string {
  return printable(text.replace(/[\r\n\u2028\u2029]+/g, ' ')).replace(/[\\`*_[\]<>|#]/g, '\\$&');
}
