import { higherRisk } from './policy.ts';
import type { ObjectRef, PlannedObject, PlanProblem, Risk, RiskFinding } from './plan.ts';
import { describeObject } from './plan.ts';
import type { RiskLevel } from './wpk.ts';

/** What the rules look at: the planned change and the object as it would be. */
export interface RiskSubject {
  readonly planned: PlannedObject;
  /** The live object; absent on creation. */
  readonly before?: unknown;
  /** The object as it would be; absent on deletion. */
  readonly after?: unknown;
}

interface RiskRule {
  readonly id: string;
  readonly level: RiskLevel;
  /** What it finds in one changed object: a sentence, or nothing. */
  readonly find: (subject: RiskSubject) => string | undefined;
}

const RBAC_KINDS = new Set(['Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding']);
/** Kinds that change how the API server treats other requests. */
export const ADMISSION_KINDS: readonly string[] = [
  'ValidatingWebhookConfiguration',
  'MutatingWebhookConfiguration',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
  'MutatingAdmissionPolicy',
  'MutatingAdmissionPolicyBinding',
  'APIService',
];
/** Deleting one of these takes data or many other objects with it. */
const HOLDS_OTHERS = new Set(['Namespace', 'PersistentVolumeClaim', 'PersistentVolume', 'CustomResourceDefinition']);

const MANY_OBJECTS = 50;

/** The rules that judge one object each. A plan's level is the highest that any of them gives. */
export const RISK_RULES: readonly RiskRule[] = [
  {
    id: 'deletes-data',
    level: 'high',
    find: ({ planned }) =>
      planned.change === 'delete' && HOLDS_OTHERS.has(planned.object.kind)
        ? 'is deleted with everything that it holds'
        : undefined,
  },
  { id: 'deletes', level: 'medium', find: ({ planned }) => (planned.change === 'delete' ? 'is deleted' : undefined) },
  {
    id: 'rbac',
    level: 'high',
    find: ({ planned }) => (RBAC_KINDS.has(planned.object.kind) ? 'changes who may do what in the cluster' : undefined),
  },
  {
    id: 'admission',
    level: 'high',
    find: ({ planned }) =>
      ADMISSION_KINDS.includes(planned.object.kind) ? 'changes how the API server treats other requests' : undefined,
  },
  {
    id: 'crd',
    level: 'high',
    find: ({ planned }) =>
      planned.object.kind === 'CustomResourceDefinition' ? 'changes which kinds the cluster knows' : undefined,
  },
  {
    id: 'secret',
    level: 'medium',
    find: ({ planned }) => (planned.object.kind === 'Secret' ? 'is a Secret' : undefined),
  },
  {
    id: 'cluster-scope',
    level: 'medium',
    find: ({ planned }) => (planned.object.namespace === undefined ? 'is not confined to a namespace' : undefined),
  },
  {
    id: 'node',
    level: 'high',
    find: ({ planned }) => (planned.object.kind === 'Node' ? 'changes a node that other workloads run on' : undefined),
  },
  {
    id: 'scales-to-zero',
    level: 'medium',
    find: ({ before, after }) =>
      at(after, 'spec', 'replicas') === 0 && before !== undefined && at(before, 'spec', 'replicas') !== 0
        ? 'is scaled to no replicas'
        : undefined,
  },
  {
    id: 'privileged',
    level: 'high',
    find: ({ after }) => privilegedUse(podSpecOf(after)),
  },
  {
    id: 'service-account',
    level: 'medium',
    find: ({ before, after }) => {
      const [was, will] = [at(podSpecOf(before), 'serviceAccountName'), at(podSpecOf(after), 'serviceAccountName')];
      return typeof will === 'string' && will !== 'default' && will !== was
        ? `runs as the service account ${will}`
        : undefined;
    },
  },
  {
    id: 'image-by-tag',
    level: 'low',
    find: ({ after }) => {
      const tagged = containersOf(podSpecOf(after))
        .map((container) => at(container, 'image'))
        .filter((image) => typeof image === 'string' && !image.includes('@sha256:'));
      return tagged.length > 0 ? `takes ${tagged.join(', ')} by tag, which can be moved, not by digest` : undefined;
    },
  },
  {
    id: 'force',
    level: 'medium',
    find: ({ planned }) => (planned.force ? 'takes over fields that other managers own' : undefined),
  },
  {
    id: 'not-verified',
    level: 'medium',
    find: ({ planned }) =>
      planned.verified.by === 'nobody'
        ? `could not be checked by the API server: ${planned.verified.reason}`
        : undefined,
  },
  {
    id: 'not-shown',
    level: 'medium',
    find: ({ planned }) =>
      planned.changesOmitted ? 'has differences that are too large to be shown in the plan' : undefined,
  },
];

/**
 * Judges a plan: each rule on each object that would change, then the rules on the whole.
 * @param declared the author's own view, which may only raise the result.
 */
export function computeRisk(
  subjects: readonly RiskSubject[],
  problems: readonly PlanProblem[],
  declared: RiskLevel,
): Risk {
  const changed = subjects.filter(({ planned }) => planned.change !== 'unchanged');
  const findings: RiskFinding[] = [];
  for (const subject of changed) {
    for (const rule of RISK_RULES) {
      const what = rule.find(subject);
      if (what) findings.push(finding(rule, subject.planned.object, what));
    }
  }
  if (changed.length > MANY_OBJECTS) {
    findings.push({
      rule: 'many-objects',
      level: 'medium',
      message: `${changed.length} objects change; more than ${MANY_OBJECTS} are hard to review`,
    });
  }
  for (const { object, message } of problems) {
    findings.push({ rule: 'refused', level: 'high', message: `${describeObject(object)}: ${message}`, object });
  }
  if (declared !== 'low') {
    findings.push({ rule: 'declared', level: declared, message: `the author declares the risk as ${declared}` });
  }
  // Two steps on one object may say the same of it.
  const distinct = [...new Map(findings.map((finding) => [`${finding.rule} ${finding.message}`, finding])).values()];
  const level = findings.reduce<RiskLevel>((highest, { level }) => higherRisk(highest, level), 'low');
  return { level, findings: grouped(distinct) };
}

function finding(rule: RiskRule, object: ObjectRef, what: string): RiskFinding {
  return { rule: rule.id, level: rule.level, message: `${describeObject(object)} ${what}`, object };
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

function at(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null && Object.hasOwn(inner, key)
        ? (inner as Record<string, unknown>)[key]
        : undefined,
    value,
  );
}

/** The pod spec inside any workload kind, or of a pod itself. */
function podSpecOf(object: unknown): unknown {
  if (at(object, 'kind') === 'Pod') return at(object, 'spec');
  return at(object, 'spec', 'template', 'spec') ?? at(object, 'spec', 'jobTemplate', 'spec', 'template', 'spec');
}

function containersOf(podSpec: unknown): unknown[] {
  return ['containers', 'initContainers', 'ephemeralContainers'].flatMap((key) => {
    const containers = at(podSpec, key);
    return Array.isArray(containers) ? containers : [];
  });
}

function privilegedUse(podSpec: unknown): string | undefined {
  const uses = ['hostNetwork', 'hostPID', 'hostIPC'].filter((key) => at(podSpec, key) === true);
  const volumes = at(podSpec, 'volumes');
  if (Array.isArray(volumes) && volumes.some((volume) => at(volume, 'hostPath') !== undefined)) uses.push('hostPath');
  const privileged = containersOf(podSpec).some((one) => at(one, 'securityContext', 'privileged') === true);
  if (privileged) uses.push('privileged');
  return uses.length > 0 ? `gets rights over its node (${uses.join(', ')})` : undefined;
}
