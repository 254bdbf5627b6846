import { describe, expect, it } from '@jest/globals';
import type { Policy } from '../../domain/policy.ts';
import { BUILT_IN_POLICY, policyDenials, policySchema, requirementFor } from '../../domain/policy.ts';
import type { Step } from '../../domain/wpk.ts';
import { applyStep, buildWpk, configMap } from '../support/packages.ts';

const policy = (fields: object): Policy =>
  policySchema.parse({ apiVersion: 'neuralops.io/v1', kind: 'Policy', ...fields });
const STEPS = `sha256:${'1'.repeat(64)}` as const;

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
    ['Deployment', 'Deployment', 'apps/v1', true],
    ['Deployment.apps', 'Deployment', 'apps/v1', true],
    ['Deployment.apps', 'Deployment', 'example.com/v1', false],
    ['Deployment', 'Deployment', 'example.com/v1', true],
    ['Deployment.example.com', 'Deployment', 'example.com/v1', true],
    ['Deployment.example', 'Deployment', 'example.com/v1', false],
    ['ConfigMap.core', 'ConfigMap', 'v1', true],
    ['ConfigMap.core', 'ConfigMap', 'example.com/v1', false],
    ['Config', 'ConfigMap', 'v1', false],
    ['deployment', 'Deployment', 'apps/v1', false],
  ])('with the kind %s takes %s of %s: %s', (entry, kind, apiVersion, allowed) => {
    const steps: Step[] = [applyStep({ apiVersion, kind, metadata: { name: 'a', namespace: 'shop' } })];
    expect(policyDenials(policy({ allow: { kinds: [entry] } }), buildWpk({ steps }))).toHaveLength(allowed ? 0 : 1);
  });

  it.each([
    ['Deployment.apps', 'Deployment', true],
    ['Deployment.core', 'Deployment', false],
    ['Service.core', 'Service', true],
    ['NetworkPolicy.networking.k8s.io', 'NetworkPolicy', true],
    ['Widget', 'Widget', true],
    ['Widget.example.com', 'Widget', false],
  ])('with the kind %s takes a target %s without apiVersion: %s', (entry, kind, allowed) => {
    const steps: Step[] = [{ id: 'gone', action: 'delete', target: { kind, name: 'a', namespace: 'shop' } }];
    expect(policyDenials(policy({ allow: { kinds: [entry] } }), buildWpk({ steps }))).toHaveLength(allowed ? 0 : 1);
  });

  it('that is empty allows nothing', () => {
    const closed = policy({ allow: { actions: [], kinds: [], namespaces: [] } });
    expect(policyDenials(closed, buildWpk())).toHaveLength(3);
  });
});

describe('limits', () => {
  const steps = [applyStep(configMap('a', 'shop', {}), configMap('b', 'shop', {}))];

  it.each([
    [{ maxSteps: 1, maxObjects: 2 }, []],
    [{ maxObjects: 1 }, ['the package: it has 2 objects, at most 1 are allowed']],
    [{ maxValiditySeconds: 60 }, ['the package: it is valid for 3600 seconds, at most 60 are allowed']],
  ])('%j deny %j', ({ maxValiditySeconds, ...limits }: Record<string, number>, denials) => {
    const limited = policy({ limits, ...(maxValiditySeconds && { maxValiditySeconds }) });
    expect(policyDenials(limited, buildWpk({ steps }))).toEqual(denials);
  });
});

describe('approvals with groups', () => {
  const grouped = policy({
    approvals: { medium: { quorum: 1, groups: ['sre'] }, high: { quorum: 2, groups: ['sre', 'dba'] } },
  });
  const at = (level: 'low' | 'medium' | 'high') =>
    requirementFor(grouped, buildWpk(), STEPS, { risk: { level, findings: [] } });

  it('ask for somebody of each', () => {
    expect(at('high')).toMatchObject({
      quorum: 2,
      groups: ['sre', 'dba'],
      reason: 'high risk needs the approval of 2 different people, at least one of sre and at least one of dba',
    });
    expect(at('medium').reason).toBe('medium risk needs the approval of one person, at least one of sre');
  });

  it('ask for none where none is named', () => {
    expect(at('low')).toMatchObject({ quorum: 1, groups: [], reason: 'low risk needs the approval of one person' });
  });

  it('say how far clocks may differ', () => {
    expect(at('low').maxClockSkewSeconds).toBe(60);
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
