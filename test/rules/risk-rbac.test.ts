import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { refOf, rulesOf, saysOf, subjectOf } from '../support/risk.ts';

interface Rule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

const rule = (verbs: string, resources: string, more: Partial<Rule> = {}): Rule => ({
  apiGroups: [''],
  resources: resources.split(','),
  verbs: verbs.split(','),
  ...more,
});
const role = (after: readonly Rule[], before?: readonly Rule[], kind = 'Role') =>
  subjectOf({ object: refOf(kind) }, { kind, rules: after }, before && { kind, rules: before });

describe('a role', () => {
  it.each<[string, Rule[], Rule[], string]>([
    ['another verb', [rule('get,list', 'pods')], [rule('get', 'pods')], 'grants list pods'],
    ['another resource', [rule('get', 'pods,services')], [rule('get', 'pods')], 'grants get services'],
    [
      'the same of another group',
      [rule('get', 'deployments', { apiGroups: ['apps'] })],
      [rule('get', 'deployments')],
      'grants get deployments.apps',
    ],
    [
      'another object',
      [rule('get', 'configmaps', { resourceNames: ['a', 'b'] })],
      [rule('get', 'configmaps', { resourceNames: ['a'] })],
      'grants get configmaps b',
    ],
    [
      'all objects instead of one',
      [rule('get', 'configmaps')],
      [rule('get', 'configmaps', { resourceNames: ['a'] })],
      'grants get configmaps',
    ],
    [
      'another URL',
      [{ verbs: ['get'], nonResourceURLs: ['/metrics', '/debug/pprof'] }],
      [{ verbs: ['get'], nonResourceURLs: ['/metrics*'] }],
      'grants get /debug/pprof',
    ],
  ])('that grants %s is high, and says what', (_what, after, before, sentence) => {
    expect(saysOf('rbac-grants', role(after, before))).toBe(sentence);
  });

  it.each<[string, Rule[], Rule[]]>([
    ['the same in two rules instead of one', [rule('get', 'pods'), rule('list', 'pods')], [rule('get,list', 'pods')]],
    ['the same in one rule instead of two', [rule('get,list', 'pods')], [rule('get', 'pods'), rule('list', 'pods')]],
    ['less than a wildcard', [rule('get', 'pods/log')], [rule('*', '*', { apiGroups: ['*'] })]],
    ['a subresource that a wildcard had', [rule('update', 'pods/status')], [rule('update', '*/status')]],
    ['one object instead of all', [rule('get', 'pods', { resourceNames: ['a'] })], [rule('get', 'pods')]],
    [
      'a URL below one',
      [{ verbs: ['get'], nonResourceURLs: ['/metrics/x'] }],
      [{ verbs: ['*'], nonResourceURLs: ['/metrics/*'] }],
    ],
    ['nothing any more', [], [rule('get', 'secrets')]],
  ])('that grants %s is medium', (_what, after, before) => {
    expect(rulesOf(role(after, before))).toEqual(['rbac']);
  });

  it.each([
    ['escalate', rule('escalate', 'roles', { apiGroups: ['rbac.authorization.k8s.io'] })],
    ['bind', rule('bind', 'clusterroles', { apiGroups: ['rbac.authorization.k8s.io'] })],
    ['impersonate', rule('impersonate', 'users')],
    ['all verbs', rule('*', 'configmaps')],
    ['all resources', rule('get', '*')],
    ['all groups', rule('get', 'configmaps', { apiGroups: ['*'] })],
    ['every subresource of a name', rule('create', '*/exec')],
    ['Secrets', rule('list', 'secrets')],
    ['exec', rule('create', 'pods/exec')],
    ['tokens', rule('create', 'serviceaccounts/token')],
    ['the proxy of nodes', rule('get', 'nodes/proxy')],
    ['all URLs', { verbs: ['get'], nonResourceURLs: ['*'] }],
  ])('that newly grants %s is told to lead to more', (_what, granted) => {
    expect(rulesOf(role([granted], [rule('get', 'pods')]))).toEqual(['rbac-power', 'rbac-grants']);
    expect(rulesOf(role([granted], [granted]))).toEqual(['rbac']);
  });

  it('with more rights than can be compared is high, whatever it was before', () => {
    const words = (prefix: string) => Array.from({ length: 60 }, (_, index) => `${prefix}${index}`);
    const huge: Rule = { verbs: words('v'), apiGroups: words('g'), resources: words('r') };
    expect(saysOf('rbac-grants', role([huge], [huge]))).toBe('grants more rights than can be compared');
  });

  it('never grants more than before without a finding', () => {
    const some = (...words: string[]) => fc.subarray(words, { minLength: 1 });
    const anyRule = fc.record({
      verbs: some('get', 'list', '*'),
      apiGroups: some('', 'apps', '*'),
      resources: some('pods', 'pods/exec', '*', '*/exec'),
      resourceNames: fc.subarray(['a', 'b']),
    });
    const rules = fc.array(anyRule, { maxLength: 3 });
    /** The authorizer of the API server, for one request. */
    const allows = (role: readonly Rule[], verb: string, group: string, resource: string, name: string) =>
      role.some(
        ({ verbs, apiGroups = [], resources = [], resourceNames = [] }) =>
          (verbs.includes('*') || verbs.includes(verb)) &&
          (apiGroups.includes('*') || apiGroups.includes(group)) &&
          (resources.includes('*') ||
            resources.includes(resource) ||
            resources.includes(`*/${resource.split('/')[1]}`)) &&
          (resourceNames.length === 0 || resourceNames.includes(name)),
      );
    const request = fc.tuple(
      fc.constantFrom('get', 'list', 'delete'),
      fc.constantFrom('', 'apps', 'batch'),
      fc.constantFrom('pods', 'pods/exec', 'secrets', 'services/exec'),
      fc.constantFrom('a', 'b', 'c'),
    );
    fc.assert(
      fc.property(rules, rules, request, (before, after, [verb, group, resource, name]) => {
        fc.pre(allows(after, verb, group, resource, name) && !allows(before, verb, group, resource, name));
        expect(rulesOf(role(after, before))).toContain('rbac-grants');
      }),
      { numRuns: 500 },
    );
  });
});

describe('a ClusterRole', () => {
  const clusterRole = (after: object, before: object) =>
    subjectOf({ object: refOf('ClusterRole') }, { kind: 'ClusterRole', ...after }, { kind: 'ClusterRole', ...before });
  const label = 'rbac.authorization.k8s.io/aggregate-to-admin';

  it('that becomes a part of another is high', () => {
    const rules = [rule('get', 'pods')];
    const joined = { rules, metadata: { labels: { [label]: 'true' } } };
    expect(saysOf('rbac-grants', clusterRole(joined, { rules }))).toBe(
      'grants its rights to whoever has the role admin',
    );
    expect(rulesOf(clusterRole(joined, joined))).toEqual(['rbac']);
  });

  it('that gets a label by which another may collect it is high, whatever the label', () => {
    const rules = [rule('get', 'pods')];
    const labelled = { rules, metadata: { labels: { team: 'ops' } } };
    expect(rulesOf(clusterRole(labelled, { rules }))).toEqual(['rbac-grants']);
    expect(rulesOf(clusterRole(labelled, labelled))).toEqual(['rbac']);
  });

  it('that collects others is high, and no more than medium when it stays so', () => {
    const collecting = { aggregationRule: { clusterRoleSelectors: [{ matchLabels: { all: 'true' } }] } };
    expect(rulesOf(clusterRole(collecting, {}))).toEqual(['rbac-grants']);
    expect(rulesOf(clusterRole(collecting, { ...collecting, metadata: {} }))).toEqual(['rbac']);
  });
});

describe('a binding', () => {
  const binding = (role: string, ...subjects: [kind: string, name: string, namespace?: string][]) => ({
    kind: 'RoleBinding',
    roleRef: { kind: 'ClusterRole', name: role },
    subjects: subjects.map(([kind, name, namespace]) => ({ kind, name, namespace })),
  });
  const change = (after: object | undefined, before?: object) =>
    subjectOf({ object: refOf('RoleBinding'), ...(after ? {} : { change: 'delete' }) }, after, before);

  it('that is new says who gets what', () => {
    const bound = binding('edit', ['ServiceAccount', 'web', 'shop'], ['Group', 'system:authenticated']);
    expect(saysOf('rbac-subjects', change(bound))).toBe(
      'gives ClusterRole edit to ServiceAccount shop/web, ClusterRole edit to Group system:authenticated',
    );
  });

  it('to the account of the same name in another namespace is high', () => {
    const was = binding('view', ['ServiceAccount', 'web', 'shop']);
    expect(rulesOf(change(binding('view', ['ServiceAccount', 'web', 'other']), was))).toEqual(['rbac-subjects']);
  });

  it('of another role to the same people is high', () => {
    expect(rulesOf(change(binding('admin', ['User', 'bob']), binding('view', ['User', 'bob'])))).toEqual([
      'rbac-subjects',
    ]);
  });

  it('to somebody whose long name only ends differently is high', () => {
    const long = 'x'.repeat(200);
    expect(rulesOf(change(binding('view', ['User', `${long}2`]), binding('view', ['User', `${long}1`])))).toEqual([
      'rbac-subjects',
    ]);
  });

  it('that loses somebody, or goes, is medium', () => {
    const both = binding('view', ['User', 'bob'], ['User', 'eve']);
    expect(rulesOf(change(binding('view', ['User', 'bob']), both))).toEqual(['rbac']);
    expect(rulesOf(change(undefined, both))).toEqual(['deletes', 'rbac']);
  });
});
