import { STATE_NAMESPACE } from '../names.ts';
import type { Step, Target, Wpk } from '../wpk.ts';
import { targetsOf } from '../wpk.ts';
import type { PolicyDecision } from './decision.ts';
import { placeOfKind, qualifiedKind } from './kinds.ts';
import type { Policy } from './schema.ts';

/** Judges what a package holds. What its objects would become, images above all, only its plan shows: see images.ts. */
export function judgeContents(policy: Policy, wpk: Wpk): PolicyDecision[] {
  return distinct([
    ...judgeValidity(policy, wpk),
    ...judgeSize(policy, wpk),
    ...wpk.steps.flatMap((step) => judgeStep(policy, wpk, step)),
  ]);
}

type Judgement = Pick<PolicyDecision, 'place' | 'decision' | 'why'>;

const allow = (place: string, why: string): Judgement => ({ place, decision: 'allow', why });
const deny = (place: string, why: string): Judgement => ({ place, decision: 'deny', why });

function judgeStep(policy: Policy, wpk: Wpk, step: Step): PolicyDecision[] {
  const subject = `step ${step.id}`;
  const touched = targetsOf(step);
  return [
    { rule: 'allow.actions', subject, ...judgeAction(policy, step) },
    ...touched.map((one) => ({ rule: 'allow.kinds', subject, ...judgeKind(policy, one) })),
    ...touched.flatMap((one) => namespacesOf(one).map((name) => ({ subject, ...judgeNamespace(policy, wpk, name) }))),
  ];
}

function judgeAction({ allow: { actions } }: Policy, { action }: Step): Judgement {
  if (!actions) return allow('built-in', `the action ${action} is allowed: no list limits actions`);
  const index = actions.indexOf(action);
  if (index < 0) return deny('/allow/actions', `the action ${action} is not allowed`);
  return allow(`/allow/actions/${index}`, `the action ${action} is allowed`);
}

function judgeKind({ allow: { kinds } }: Policy, { kind, apiVersion }: Target): Judgement {
  const shown = qualifiedKind(kind, apiVersion).replace(/\.core$/, '');
  if (!kinds) return allow('built-in', `the kind ${shown} is allowed: no list limits kinds`);
  const index = placeOfKind(kinds, kind, apiVersion);
  if (index < 0) return deny('/allow/kinds', `the kind ${shown} is not allowed`);
  return allow(`/allow/kinds/${index}`, `the kind ${shown} is allowed`);
}

/** The namespaces that no package touches, whatever the policy file says. */
export function protectedNamespaces(policy: Policy): ReadonlySet<string> {
  return new Set([...policy.protectedNamespaces, STATE_NAMESPACE]);
}

function judgeNamespace(policy: Policy, wpk: Wpk, namespace: string): Judgement & { readonly rule: string } {
  if (protectedNamespaces(policy).has(namespace)) {
    const listed = policy.protectedNamespaces.indexOf(namespace);
    const place = listed >= 0 ? `/protectedNamespaces/${listed}` : 'built-in';
    return { rule: 'protectedNamespaces', ...deny(place, `the namespace ${namespace} is protected`) };
  }
  const { namespaces } = policy.allow;
  const index = namespaces?.indexOf(namespace);
  if (index === -1) {
    return { rule: 'allow.namespaces', ...deny('/allow/namespaces', `the namespace ${namespace} is not allowed`) };
  }
  if (!wpk.target.namespaces.includes(namespace)) {
    const why = `the namespace ${namespace} is not among those that the package names as its target`;
    return { rule: 'target.namespaces', ...deny('built-in', why) };
  }
  const why = `the namespace ${namespace} is allowed`;
  return index === undefined
    ? { rule: 'allow.namespaces', ...allow('built-in', `${why}: no list limits namespaces`) }
    : { rule: 'allow.namespaces', ...allow(`/allow/namespaces/${index}`, why) };
}

function judgeSize({ limits }: Policy, { steps }: Wpk): PolicyDecision[] {
  const counts = [
    { rule: 'maxSteps', what: 'steps', count: steps.length, atMost: limits.maxSteps },
    { rule: 'maxObjects', what: 'objects', count: steps.flatMap(targetsOf).length, atMost: limits.maxObjects },
  ];
  return counts.flatMap(({ rule, what, count, atMost }) => {
    if (atMost === undefined) return [];
    const place = `/limits/${rule}`;
    const why = `it has ${count} ${what}, at most ${atMost} are allowed`;
    return [{ rule: `limits.${rule}`, subject: PACKAGE, ...(count > atMost ? deny(place, why) : allow(place, why)) }];
  });
}

function judgeValidity(policy: Policy, wpk: Wpk): PolicyDecision[] {
  const { maxValiditySeconds } = policy;
  const why = `it is valid for ${validitySeconds(wpk)} seconds, at most ${maxValiditySeconds} are allowed`;
  const verdict = isValidTooLong(policy, wpk) ? deny : allow;
  return [{ rule: 'maxValiditySeconds', subject: PACKAGE, ...verdict('/maxValiditySeconds', why) }];
}

/** Whether more time lies between the package's notBefore and expiresAt than the policy allows. */
export function isValidTooLong({ maxValiditySeconds }: Policy, wpk: Wpk): boolean {
  return validitySeconds(wpk) > maxValiditySeconds;
}

function validitySeconds({ metadata: { notBefore, expiresAt } }: Wpk): number {
  return (Date.parse(expiresAt) - Date.parse(notBefore)) / 1000;
}

const PACKAGE = 'the package';

/** An object of kind Namespace counts as touching that namespace. */
function namespacesOf({ kind, namespace, name }: Target): string[] {
  if (kind === 'Namespace') return [name];
  return namespace === undefined ? [] : [namespace];
}

/** A thousand objects of one kind are one decision. */
function distinct(decisions: readonly PolicyDecision[]): PolicyDecision[] {
  const keyOf = ({ rule, subject, why }: PolicyDecision) => `${rule} ${subject} ${why}`;
  return [...new Map(decisions.map((one) => [keyOf(one), one])).values()];
}
