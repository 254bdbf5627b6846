import { at, entriesAt, listAt, textAt, textsAt } from '../json-values.ts';

/** One thing that a rule of a Role lets its subjects do. */
export interface Right {
  readonly verb: string;
  /** Empty for the core group; `*` for all. */
  readonly group: string;
  /** `pods`, `pods/exec`, `*`; empty for a URL. */
  readonly resource: string;
  /** Absent where all objects are meant. */
  readonly name?: string;
  /** Set for what is no resource, such as `/metrics`. */
  readonly url?: string;
}

interface Rule {
  readonly verbs: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
  readonly resources: ReadonlySet<string>;
  readonly names: ReadonlySet<string>;
  readonly urls: ReadonlySet<string>;
}

/** A rule multiplies out; a role with more rights than this is not narrower than another, whatever it says. */
const MAX_RIGHTS = 2_000;

export interface NewRights {
  /** The first of them, in the order of the role. */
  readonly rights: readonly Right[];
  /** Whether there were too many to look at. */
  readonly more: boolean;
}

/**
 * What one role grants that another does not, by the rules by which the API server keeps people from giving away more
 * than they have (`k8s.io/component-helpers/auth/rbac/validation`).
 */
export function newRights(before: unknown, after: unknown): NewRights {
  const owned = listAt(before, 'rules').map(ruleOf);
  const rights: Right[] = [];
  let looked = 0;
  for (const rule of listAt(after, 'rules').map(ruleOf)) {
    for (const right of rightsOf(rule)) {
      if (++looked > MAX_RIGHTS) return { rights, more: true };
      if (!owned.some((one) => covers(one, right))) rights.push(right);
    }
  }
  return { rights, more: false };
}

function ruleOf(rule: unknown): Rule {
  const texts = (key: string) => new Set(textsAt(rule, key));
  return {
    verbs: texts('verbs'),
    groups: texts('apiGroups'),
    resources: texts('resources'),
    names: texts('resourceNames'),
    urls: texts('nonResourceURLs'),
  };
}

function* rightsOf({ verbs, groups, resources, names, urls }: Rule): Generator<Right> {
  for (const verb of verbs) {
    for (const group of groups) {
      for (const resource of resources) {
        if (names.size === 0) yield { verb, group, resource };
        for (const name of names) yield { verb, group, resource, name };
      }
    }
    for (const url of urls) yield { verb, group: '', resource: '', url };
  }
}

function covers(rule: Rule, { verb, group, resource, name, url }: Right): boolean {
  const has = (set: ReadonlySet<string>, value: string) => set.has('*') || set.has(value);
  if (!has(rule.verbs, verb)) return false;
  if (url !== undefined) {
    return [...rule.urls].some((one) => one === url || (one.endsWith('*') && url.startsWith(one.slice(0, -1))));
  }
  const [, subresource] = resource.split('/');
  const hasResource =
    has(rule.resources, resource) || (subresource !== undefined && rule.resources.has(`*/${subresource}`));
  const hasName = rule.names.size === 0 || (name !== undefined && rule.names.has(name));
  return has(rule.groups, group) && hasResource && hasName;
}

export function describeRight({ verb, group, resource, name, url }: Right): string {
  const what = url ?? `${resource}${group === '' ? '' : `.${group}`}${name === undefined ? '' : ` ${name}`}`;
  return `${verb} ${what}`;
}

const GIVING_VERBS = new Set(['escalate', 'bind', 'impersonate']);

/** Resources by which one comes to the rights of others, for whatever verb. */
const OPENING_RESOURCES = new Set([
  ...['secrets', 'serviceaccounts/token', 'nodes/proxy', 'certificatesigningrequests/approval'],
  ...['pods/exec', 'pods/attach', 'pods/portforward', 'pods/ephemeralcontainers', 'pods/proxy'],
]);

/** Whether a right leads to others that nobody granted: wildcards, becoming somebody else, reading what opens doors. */
export function leadsToMore({ verb, group, resource, url }: Right): boolean {
  if (verb === '*' || group === '*' || resource === '*' || resource.startsWith('*/')) return true;
  return GIVING_VERBS.has(verb) || OPENING_RESOURCES.has(resource) || url === '*' || url === '/*';
}

/** Somebody who has a role by a binding. */
export interface Grantee {
  /** The same for the same role and subject, and for no others. */
  readonly id: string;
  /** `ClusterRole view to ServiceAccount shop/web` */
  readonly text: string;
}

/** Who a binding gives its role to. */
export function granteesOf(binding: unknown): Grantee[] {
  const [roleKind = '', role = ''] = ['kind', 'name'].map((key) => textAt(binding, 'roleRef', key));
  return listAt(binding, 'subjects').map((subject) => {
    const [kind = '', name = '', namespace = ''] = ['kind', 'name', 'namespace'].map((key) => textAt(subject, key));
    return {
      id: JSON.stringify([roleKind, role, kind, namespace, name]),
      text: `${roleKind} ${role} to ${kind} ${namespace && `${namespace}/`}${name}`,
    };
  });
}

/** What makes the rights of one ClusterRole a part of others: the labels that they are collected by. */
export function aggregationLabels(role: unknown): string[] {
  return entriesAt(role, 'metadata', 'labels').flatMap(([label, value]) =>
    label.includes('aggregate-to-') && value === 'true' ? [label.slice(label.indexOf('aggregate-to-') + 13)] : [],
  );
}

/** Labels that a role did not have with this value, those of the API server's own roles aside. */
export function newLabels(before: unknown, after: unknown): string[] {
  return entriesAt(after, 'metadata', 'labels').flatMap(([label, value]) =>
    label.includes('aggregate-to-') || at(before, 'metadata', 'labels', label) === value ? [] : [label],
  );
}
