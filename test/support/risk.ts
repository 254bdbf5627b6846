import type { ObjectRef } from '../../domain/plan.ts';
import type { RiskSubject } from '../../domain/risk.ts';
import { computeRisk } from '../../domain/risk.ts';

type Json = Readonly<Record<string, unknown>>;

/** An object of a kind in `shop`; `null` for one without a namespace. */
export function refOf(kind: string, namespace: string | null = 'shop'): ObjectRef {
  return { apiVersion: 'v1', kind, name: 'one', ...(namespace !== null && { namespace }) };
}

/** A change of an object, a ConfigMap unless told otherwise; what is there before makes it an update. */
export function subjectOf(planned: Partial<RiskSubject['planned']>, after?: unknown, before?: unknown): RiskSubject {
  const change = before === undefined ? 'create' : 'update';
  return { planned: { change, object: refOf('ConfigMap'), ...planned }, before, after };
}

/** A container that keeps to the restricted standard. */
export function containerOf(changes: Json = {}, context: Json = {}): Json {
  return {
    name: 'web',
    image: `registry.example/web@sha256:${'a'.repeat(64)}`,
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, ...context },
    ...changes,
  };
}

/** A pod spec that keeps to the restricted standard. */
export function podSpecOf(changes: Json = {}, context: Json = {}): Json {
  return {
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' }, ...context },
    containers: [containerOf()],
    ...changes,
  };
}

export function deploymentOf(podSpec: Json, spec: Json = {}, metadata: Json = {}): Json {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    spec: { replicas: 3, template: { metadata, spec: podSpec }, ...spec },
  };
}

/** A Deployment whose pods become these. */
export function rolloutOf(after: Json, before?: Json): RiskSubject {
  const object = refOf('Deployment');
  return subjectOf({ object }, deploymentOf(after), before && deploymentOf(before));
}

/** The ids of the rules that fire, the worst first. */
export function rulesOf(...subjects: readonly RiskSubject[]): string[] {
  return computeRisk(subjects, [], 'low').findings.map(({ rule }) => rule);
}

/** What one rule says of a change, without the name of the object; undefined where it is silent. */
export function saysOf(rule: string, subject: RiskSubject): string | undefined {
  const found = computeRisk([subject], [], 'low').findings.find((finding) => finding.rule === rule);
  return found?.message.replace(/^\S+ \S+ /, '');
}
