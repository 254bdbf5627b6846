import type { Digest } from './digest.ts';
import { windowsFor, windowState } from './maintenance-windows.ts';
import type { Plan } from './plan.ts';
import type { Policy } from './policy.ts';
import { autoApprovalOf, requirementFor } from './policy.ts';
import { judgeContents } from './policy/contents.ts';
import type { PolicyDecision } from './policy/decision.ts';
import { judgeImages } from './policy/images.ts';
import type { RiskLevel, Wpk } from './wpk.ts';
import { riskLevelSchema } from './wpk.ts';
import { openingText } from './window-text.ts';

export interface ExplainOptions {
  /** When execution would begin. */
  readonly now: Date;
  readonly stepsDigest: Digest;
  /** Where there is none yet, who must approve is told for each level of risk. */
  readonly plan?: Pick<Plan, 'risk'>;
}

/**
 * Which rule of a policy decides what for a package, and why. What denies comes from the functions that decide in
 * earnest (`policyDenials`, `resultDenials`, `requirementFor`, `windowState`). Images are judged as the manifests have
 * them; in earnest it is as the objects would become, and only of those that would change.
 */
export function explainPolicy(policy: Policy, wpk: Wpk, options: ExplainOptions): PolicyDecision[] {
  const { plan } = options;
  const levels = plan ? [plan.risk.level] : riskLevelSchema.options;
  const manifests = wpk.steps.flatMap((step) => (step.action === 'apply' ? step.manifests : []));
  return [
    ...judgeContents(policy, wpk),
    ...judgeImages(policy, manifests),
    ...explainOtherSteps(policy, wpk, options),
    ...levels.map((level) => explainApproval(policy, wpk, options, level)),
    explainWindows(policy, wpk, options),
  ];
}

/** Why a playbook that is listed is not approved by policy all the same. */
function explainOtherSteps(policy: Policy, wpk: Wpk, { stepsDigest }: ExplainOptions): PolicyDecision[] {
  const { id } = wpk.metadata.playbook;
  const index = policy.autoApprove.findIndex(({ playbook }) => playbook === id);
  if (index < 0 || autoApprovalOf(policy, wpk, stepsDigest) >= 0) return [];
  return [
    {
      rule: 'autoApprove',
      place: `/autoApprove/${index}`,
      subject: 'the package',
      decision: 'needs-approval',
      why: `playbook ${id} is listed, but with other steps than these`,
    },
  ];
}

function explainApproval(policy: Policy, wpk: Wpk, { stepsDigest }: ExplainOptions, level: RiskLevel): PolicyDecision {
  const { auto, reason } = requirementFor(policy, wpk, stepsDigest, { risk: { level, findings: [] } });
  const subject = `its plan, at ${level} risk`;
  if (!auto) {
    return { rule: 'approvals', place: `/approvals/${level}`, subject, decision: 'needs-approval', why: reason };
  }
  const place = `/autoApprove/${autoApprovalOf(policy, wpk, stepsDigest)}`;
  return { rule: 'autoApprove', place, subject, decision: 'approve-by-policy', why: reason };
}

function explainWindows(policy: Policy, wpk: Wpk, { now }: ExplainOptions): PolicyDecision {
  const about = { rule: 'windows', subject: 'its execution' };
  const state = windowState(policy, wpk, now);
  const index = policy.windows.findIndex(({ name }) => name === state.window);
  const place = index >= 0 ? `/windows/${index}` : '/windows';
  if (!state.open) {
    return { ...about, place, decision: 'wait', why: `${state.why} It ${openingText(state)}` };
  }
  if (state.window)
    return { ...about, place, decision: 'allow', why: `the maintenance window ${state.window} is open` };
  if (windowsFor(policy, wpk).length > 0)
    return { ...about, place, decision: 'allow', why: 'no window forbids it now' };
  return { ...about, place: 'built-in', decision: 'allow', why: 'no maintenance window is for this playbook' };
}
