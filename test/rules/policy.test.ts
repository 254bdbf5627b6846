import { describe, expect, it } from '@jest/globals';
import { parsePolicy } from '../../activities/policy/load-policy.ts';
import type { Policy } from '../../domain/policy.ts';
import { BUILT_IN_POLICY, policyDenials, policySchema, requirementFor, resultDenials } from '../../domain/policy.ts';
import type { Step } from '../../domain/wpk.ts';
import { applyStep, buildWpk, configMap } from '../support/packages.ts';

const policy = (fields: object): Policy =>
  policySchema.parse({ apiVersion: 'neuralops.io/v1', kind: 'Policy', ...fields });
const STEPS = `sha256:${'1'.repeat(64)}` as const;
const deployment = (image: string) => ({
  kind: 'Deployment',
  spec: { template: { spec: { containers: [{ name: 'web', image }] } } },
});

describe('the built-in policy', () => {
  it('asks a person for everything, and believes no bare word', () => {
    const requirement = requirementFor(BUILT_IN_POLICY, buildWpk(), STEPS, { risk: { level: 'low', findings: [] } });
    expect(requirement).toMatchObject({ auto: false, quorum: 1, acceptAsserted: false });
  });

  it('asks two people at high risk', () => {
    const requirement = requirementFor(BUILT_IN_POLICY, buildWpk(), STEPS, { risk: { level: 'high', findings: [] } });
    expect(requirement.quorum).toBe(2);
  });

  it.each(['kube-system', 'byoc-system'])('protects the namespace %s', (namespace) => {
    expect(policyDenials(BUILT_IN_POLICY, buildWpk({ namespaces: [namespace] }))).toEqual([
      `step apply: the namespace ${namespace} is protected`,
    ]);
  });

  it('protects them as objects too', () => {
    const steps: Step[] = [
      { id: 'gone', action: 'delete', target: { apiVersion: 'v1', kind: 'Namespace', name: 'kube-system' } },
    ];
    expect(policyDenials(BUILT_IN_POLICY, buildWpk({ steps }))).toHaveLength(1);
  });

  it('holds a package to the namespaces that it names', () => {
    const wpk = buildWpk({ namespaces: ['shop'], steps: [applyStep(configMap('a', 'bank', {}))] });
    expect(policyDenials(BUILT_IN_POLICY, wpk)[0]).toMatch('bank is not among those that the package names');
  });
});

describe('the connector’s own namespace', () => {
  it('stays protected whatever the file says', () => {
    const open = policy({ protectedNamespaces: [] });
    expect(policyDenials(open, buildWpk({ namespaces: ['byoc-system'] }))).toHaveLength(1);
  });
});

describe('an allow-list', () => {
  it.each([
    ['actions', { actions: ['restart'] }, 'the action apply is not allowed'],
    ['kinds', { kinds: ['Deployment'] }, 'the kind ConfigMap is not allowed'],
    ['namespaces', { namespaces: ['bank'] }, 'the namespace shop is not allowed'],
  ])('of %s denies what it does not hold', (_, allow, sentence) => {
    expect(policyDenials(policy({ allow }), buildWpk())).toEqual([`step apply: ${sentence}`]);
  });

  it.each([
    ['registry.example.com/shop/web:1', true],
    ['registry.example.com/shop@sha256:aa', true],
    ['registry.example.com/shopping/web:1', false],
    ['evil.example.com/registry.example.com/shop/web:1', false],
    ['web', false],
  ])('of images takes %s: %s', (image, allowed) => {
    const strict = policy({ allow: { images: ['registry.example.com/shop'] } });
    expect(resultDenials(strict, [deployment(image)])).toHaveLength(allowed ? 0 : 1);
  });

  it('of a registry does not take the same host on another port', () => {
    const strict = policy({ allow: { images: ['registry.example.com'] } });
    expect(resultDenials(strict, [deployment('registry.example.com/web:1')])).toEqual([]);
    expect(resultDenials(strict, [deployment('registry.example.com:5000/web:1')])).toHaveLength(1);
  });

  it('of images sees image volumes, and takes no word of a ConfigMap for an image', () => {
    const strict = policy({ allow: { images: ['good/'] } });
    const pod = { kind: 'Pod', spec: { volumes: [{ name: 'a', image: { reference: 'evil/data:1' } }] } };
    expect(resultDenials(strict, [pod])).toEqual(['the image evil/data:1 is from no allowed registry']);
    expect(resultDenials(strict, [{ kind: 'ConfigMap', data: { image: 'evil/data:1' } }])).toEqual([]);
  });
});

describe('an auto-approved playbook', () => {
  const listed = policy({ autoApprove: [{ playbook: 'settings', stepsDigest: STEPS }] });
  const low = { risk: { level: 'low', findings: [] } } as const;

  it('runs by itself at low risk', () => {
    expect(requirementFor(listed, buildWpk(), STEPS, low).auto).toBe(true);
  });

  it.each([
    ['its risk is higher', buildWpk(), STEPS, { risk: { level: 'medium', findings: [] } }],
    ['its steps are others', buildWpk(), `sha256:${'2'.repeat(64)}`, low],
    ['it is another playbook', buildWpk({ playbook: 'other' }), STEPS, low],
  ] as const)('needs a person when %s', (_, wpk, digest, plan) => {
    expect(requirementFor(listed, wpk, digest, plan).auto).toBe(false);
  });
});

describe('a policy file', () => {
  it('is read with its defaults', () => {
    expect(parsePolicy('apiVersion: neuralops.io/v1\nkind: Policy\n')).toEqual(BUILT_IN_POLICY);
  });

  it.each([
    ['a misspelt field', 'apiVersion: neuralops.io/v1\nkind: Policy\nautoAprove: []\n'],
    ['a wrong type', 'apiVersion: neuralops.io/v1\nkind: Policy\nmaxValiditySeconds: soon\n'],
    ['broken YAML', 'apiVersion: [\n'],
    ['a key twice', 'apiVersion: neuralops.io/v1\nkind: Policy\nkind: Policy\n'],
    ['nothing', ''],
    ['an alias', 'apiVersion: &a neuralops.io/v1\nkind: *a\n'],
  ])('with %s is refused with its place', (_, text) => {
    expect(() => parsePolicy(text)).toThrow(expect.objectContaining({ code: 'POLICY_INVALID' }));
  });

  it('names the line of a wrong value', () => {
    const text = 'apiVersion: neuralops.io/v1\nkind: Policy\napprovals:\n  high: many\n';
    expect(() => parsePolicy(text)).toThrow(/line 4, column 9, at \/approvals\/high/);
  });
});
