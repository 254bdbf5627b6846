import { higherRisk } from './policy.ts';
import type { PlanProblem, Risk, RiskFinding } from './plan.ts';
import { describeObject } from './plan.ts';
import { OBJECT_RULES } from './risk/objects.ts';
import { POD_ACCESS_RULES } from './risk/pod-access.ts';
import { POD_SECURITY_RULES } from './risk/pod-security.ts';
import { changedPods } from './risk/pods.ts';
import { RBAC_RULES } from './risk/rbac.ts';
import { ROLLOUT_RULES } from './risk/rollout.ts';
import type { JudgedObject, RiskRule, RiskSubject } from './risk/rule.ts';
import type { Manifest, RiskLevel, Wpk } from './wpk.ts';
import { RISK_LEVELS } from './wpk.ts';

export { ADMISSION_KINDS } from './risk/objects.ts';
export type { RiskSubject } from './risk/rule.ts';

const MANY_OBJECTS = 50;

/** The rules that judge one object each. */
export const RISK_RULES: readonly RiskRule[] = [
  ...OBJECT_RULES,
  ...RBAC_RULES,
  ...POD_ACCESS_RULES,
  ...POD_SECURITY_RULES,
  ...ROLLOUT_RULES,
];

const MANY = { id: 'many-objects', level: 'medium', sentence: `More than ${MANY_OBJECTS} objects change.` } as const;
const REFUSED = { id: 'refused', level: 'high', sentence: 'The API server refuses a part of the package.' } as const;
/** Has the level that the author gives. */
const DECLARED = { id: 'declared', sentence: 'The author declares a risk above low.' } as const;

/** The rules on a plan as a whole. */
export const PLAN_RULES: readonly (Pick<RiskRule, 'id' | 'sentence'> & { readonly level?: RiskLevel })[] = [
  MANY,
  REFUSED,
  DECLARED,
];

/**
 * Judges a plan: each rule on each object that would change, then the rules on the whole. The level is the highest that
 * any of them gives. The same plan gets the same findings in the same order, for they are a part of what is approved.
 * @param declared the author's own view, which may only raise the result.
 */
export function computeRisk(
  subjects: readonly RiskSubject[],
  problems: readonly PlanProblem[],
  declared: RiskLevel,
): Risk {
  const findings = findRisks(subjects);
  for (const { object, message } of problems) {
    findings.push({ rule: REFUSED.id, level: REFUSED.level, message: `${describeObject(object)}: ${message}`, object });
  }
  if (declared !== 'low') {
    findings.push({ rule: DECLARED.id, level: declared, message: `the author declares the risk as ${declared}` });
  }
  // Two steps on one object may say the same of it.
  const distinct = [...new Map(findings.map((finding) => [`${finding.rule} ${finding.message}`, finding])).values()];
  return riskOf(grouped(distinct));
}

/** Judges manifests without a cluster, as if nothing of them were there yet. Each object keeps its own findings. */
export function riskOfManifests(manifests: readonly Manifest[]): Risk {
  return riskOf(findRisks(manifests.map((manifest) => createdBy(manifest))));
}

/** The risk of a package without a cluster, as if it created all that it applies; undefined where only the cluster can tell. */
export function riskOfNewPackage({ steps, risk }: Wpk): Risk | undefined {
  const subjects: RiskSubject[] = [];
  for (const step of steps) {
    if (step.action !== 'apply') return undefined;
    subjects.push(...step.manifests.map((manifest) => createdBy(manifest, step.force)));
  }
  return computeRisk(subjects, [], risk);
}

function createdBy(manifest: Manifest, force = false): RiskSubject {
  const { apiVersion, kind, metadata } = manifest;
  const { name, namespace } = metadata;
  const object = { apiVersion, kind, ...(namespace !== undefined && { namespace }), name };
  return { planned: { change: 'create', object, force }, after: manifest };
}

function riskOf(findings: readonly RiskFinding[]): Risk {
  const level = findings.reduce<RiskLevel>((highest, { level }) => higherRisk(highest, level), 'low');
  return { level, findings: worstFirst(findings) };
}

function findRisks(subjects: readonly RiskSubject[]): RiskFinding[] {
  const changed = subjects.filter(({ planned }) => planned.change !== 'unchanged');
  const findings = changed.flatMap((subject) => {
    const { planned, before, after } = subject;
    const judged: JudgedObject = { ...subject, pods: changedPods(before, after) };
    return RISK_RULES.flatMap(({ id, level, find }): RiskFinding[] => {
      const what = find(judged);
      const { object } = planned;
      return what ? [{ rule: id, level, message: `${describeObject(object)} ${what}`, object }] : [];
    });
  });
  if (changed.length > MANY_OBJECTS) {
    const message = `${changed.length} objects change; more than ${MANY_OBJECTS} are hard to review`;
    findings.push({ rule: MANY.id, level: MANY.level, message });
  }
  return findings;
}

/** A thousand findings of one rule say less than one: beyond three they are told as one sentence. */
function grouped(findings: readonly RiskFinding[]): RiskFinding[] {
  const byRule = Map.groupBy(findings, ({ rule }) => rule);
  return [...byRule.values()].flatMap((same) => {
    const [first, ...others] = same;
    if (!first || others.length < 3) return same;
    return [
      { rule: first.rule, level: first.level, message: `${first.message}, and ${others.length} others likewise` },
    ];
  });
}

const ORDER = new Map([...RISK_RULES, ...PLAN_RULES].map(({ id }, index) => [id, index]));

/** The highest level first, then as the rules stand in their table, then as the objects stand in the package. */
function worstFirst(findings: readonly RiskFinding[]): RiskFinding[] {
  const rank = ({ level, rule }: RiskFinding) => -RISK_LEVELS.indexOf(level) * ORDER.size + (ORDER.get(rule) ?? 0);
  return findings.toSorted((a, b) => rank(a) - rank(b));
}
