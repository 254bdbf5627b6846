import type { Digest, Sha256 } from './digest.ts';
import { canonicalJson } from './digest.ts';
import type { Plan } from './plan.ts';
import { judgeContents } from './policy/contents.ts';
import type { PolicyDecision } from './policy/decision.ts';
import { judgeImages } from './policy/images.ts';
import type { Policy } from './policy/schema.ts';
import type { RiskLevel, Wpk } from './wpk.ts';
import { RISK_LEVELS } from './wpk.ts';

export { isValidTooLong, protectedNamespaces } from './policy/contents.ts';
export { pinRefusal } from './policy/pins.ts';
export { BUILT_IN_POLICY, policySchema } from './policy/schema.ts';
export type { Policy } from './policy/schema.ts';

/**
 * The customer's own word on what may run. It overrides any signature and any approval (R37). Where no policy is given
 * the built-in one holds: a person approves everything, the protections apply, and no asserted vote counts.
 */

/** What a package needs before it may execute. */
export interface Requirement {
  /** Approved by policy, without a person. */
  readonly auto: boolean;
  /** Distinct people who must approve. */
  readonly quorum: number;
  /** At least one of those who approve must be from each of these groups. */
  readonly groups: readonly string[];
  readonly acceptAsserted: boolean;
  readonly timeoutSeconds: number;
  /** How far the signed time of a vote may lie ahead of the time at which it came in. */
  readonly maxClockSkewSeconds: number;
  /** Why, in a sentence for people. */
  readonly reason: string;
}

/** How many reasons are told; the first are as good as all. */
const MAX_DENIALS = 20;

/** Every reason why the policy does not allow the package, each a sentence; empty when it does. */
export function policyDenials(policy: Policy, wpk: Wpk): string[] {
  return denials(judgeContents(policy, wpk), ({ subject, why }) => `${subject}: ${why}`);
}

/**
 * Every reason why the policy does not allow what the objects would become.
 * @param objects those that would change, as they would be
 */
export function resultDenials(policy: Policy, objects: readonly unknown[]): string[] {
  return denials(judgeImages(policy, objects), ({ why }) => why);
}

function denials(decisions: readonly PolicyDecision[], sentenceOf: (one: PolicyDecision) => string): string[] {
  const sentences = decisions.filter(({ decision }) => decision === 'deny').map(sentenceOf);
  return [...new Set(sentences)].slice(0, MAX_DENIALS);
}

/** Decides who must approve the plan. */
export function requirementFor(policy: Policy, wpk: Wpk, stepsDigest: Digest, plan: Pick<Plan, 'risk'>): Requirement {
  const { level } = plan.risk;
  const { acceptAsserted, timeoutSeconds, maxClockSkewSeconds } = policy.approvals;
  const common = { acceptAsserted, timeoutSeconds, maxClockSkewSeconds };
  const listed = autoApprovalOf(policy, wpk, stepsDigest) >= 0;
  if (listed && level === 'low') {
    const reason = `playbook ${wpk.metadata.playbook.id} is approved by policy and its risk is low`;
    return { auto: true, quorum: 0, groups: [], ...common, reason };
  }
  const { quorum, groups } = policy.approvals[level];
  const people = quorum === 1 ? 'one person' : `${quorum} different people`;
  const among = groups.map((group) => `at least one of ${group}`).join(' and ');
  const reason = `${level} risk needs the approval of ${people}${among && `, ${among}`}${listed ? '; approved by policy at low risk only' : ''}`;
  return { auto: false, quorum, groups, ...common, reason };
}

/** What an auto-approval is bound to: the steps as they were signed, whatever else the package says. */
export function digestOfSteps(sha256: Sha256, { steps }: Wpk): Digest {
  return sha256(canonicalJson(steps));
}

/** SHA-256 over the RFC 8785 form of the policy with its defaults; in every plan. */
export function policyDigest(sha256: Sha256, policy: Policy): Digest {
  return sha256(canonicalJson(policy));
}

/** The entry of `autoApprove` that lists the playbook with exactly these steps, or -1. */
export function autoApprovalOf(policy: Policy, { metadata }: Wpk, stepsDigest: Digest): number {
  return policy.autoApprove.findIndex(
    (entry) => entry.playbook === metadata.playbook.id && entry.stepsDigest === stepsDigest,
  );
}

/** What rises from the author's own view: the higher of the two. */
export function higherRisk(a: RiskLevel, b: RiskLevel): RiskLevel {
  return RISK_LEVELS.indexOf(a) >= RISK_LEVELS.indexOf(b) ? a : b;
}
