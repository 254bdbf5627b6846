import { at, inWords, same } from '../json-values.ts';
import type { NewRights } from './rights.ts';
import { aggregationLabels, describeRight, granteesOf, leadsToMore, newLabels, newRights } from './rights.ts';
import type { JudgedObject, RiskRule } from './rule.ts';

const ROLES = new Set(['Role', 'ClusterRole']);
const BINDINGS = new Set(['RoleBinding', 'ClusterRoleBinding']);

/** Who may do what. Anything that grants more than before is high; what grants the same or less is not. */
export const RBAC_RULES: readonly RiskRule[] = [
  {
    id: 'rbac-power',
    level: 'high',
    sentence:
      'A role grants rights that lead to others: wildcards, escalate, bind, impersonate, Secrets, tokens, exec into pods, the proxy of nodes.',
    find: (subject) => {
      const powerful = grantedBy(subject).rights.filter(leadsToMore);
      return powerful.length > 0
        ? `grants what leads to more rights: ${inWords(powerful.map(describeRight))}`
        : undefined;
    },
  },
  {
    id: 'rbac-grants',
    level: 'high',
    sentence: 'A role grants what it did not grant before, also by collecting other roles or becoming a part of them.',
    find: (subject) => {
      const { rights, more } = grantedBy(subject);
      const grants = [...rights.map(describeRight), ...(more ? ['more rights than can be compared'] : [])];
      const all = [...grants, ...newAggregation(subject)];
      return all.length > 0 ? `grants ${inWords(all)}` : undefined;
    },
  },
  {
    id: 'rbac-subjects',
    level: 'high',
    sentence: 'A binding gives a role to somebody who did not have it by this binding.',
    find: (subject) => {
      const given = newSubjects(subject);
      return given.length > 0 ? `gives ${inWords(given)}` : undefined;
    },
  },
  {
    id: 'rbac',
    level: 'medium',
    sentence: 'A role or binding changes, and grants no more than before.',
    find: (subject) => {
      const { kind } = subject.planned.object;
      if (!ROLES.has(kind) && !BINDINGS.has(kind)) return undefined;
      const { rights, more } = grantedBy(subject);
      const granted = more || rights.length + newAggregation(subject).length + newSubjects(subject).length > 0;
      return granted ? undefined : 'changes who may do what, and grants no more than before';
    },
  },
];

function grantedBy({ planned, before, after }: JudgedObject): NewRights {
  return ROLES.has(planned.object.kind) ? newRights(before, after) : { rights: [], more: false };
}

/** A ClusterRole may collect the rights of others by their labels, or have labels by which others collect its own. */
function newAggregation({ planned, before, after }: JudgedObject): string[] {
  if (planned.object.kind !== 'ClusterRole') return [];
  const rule = at(after, 'aggregationRule');
  const collects = rule !== undefined && !same(rule, at(before, 'aggregationRule'));
  const were = new Set(aggregationLabels(before));
  const joined = aggregationLabels(after).filter((label) => !were.has(label));
  return [
    ...(collects ? ['the rights of all roles with certain labels'] : []),
    ...joined.map((role) => `its rights to whoever has the role ${role}`),
    // Which roles collect by a label only the cluster knows: any new one may be what they collect by.
    ...(before === undefined ? [] : newLabels(before, after).map((label) => `its rights to what collects ${label}`)),
  ];
}

function newSubjects({ planned, before, after }: JudgedObject): string[] {
  if (!BINDINGS.has(planned.object.kind)) return [];
  const had = new Set(granteesOf(before).map(({ id }) => id));
  return granteesOf(after).flatMap(({ id, text }) => (had.has(id) ? [] : [text]));
}
