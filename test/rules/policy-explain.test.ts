import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { sha256 } from '../../client/sha256.ts';
import { explainPolicy } from '../../domain/explain-policy.ts';
import { pointerSegments } from '../../domain/json-pointer.ts';
import type { Policy } from '../../domain/policy.ts';
import { BUILT_IN_POLICY, digestOfSteps, policyDenials, policySchema, resultDenials } from '../../domain/policy.ts';
import type { PolicyDecision } from '../../domain/policy/decision.ts';
import type { Step, Wpk } from '../../domain/wpk.ts';
import { applyStep, buildWpk, configMap } from '../support/packages.ts';

const policy = (fields: object): Policy =>
  policySchema.parse({ apiVersion: 'neuralops.io/v1', kind: 'Policy', ...fields });
const now = new Date('2026-06-01T12:00:00Z');
const explain = (given: Policy, wpk: Wpk, level?: 'low' | 'medium' | 'high') => {
  const plan = level && { plan: { risk: { level, findings: [] } } };
  return explainPolicy(given, wpk, { now, stepsDigest: digestOfSteps(sha256, wpk), ...plan });
};
const shown = (decisions: readonly PolicyDecision[]) =>
  decisions.map(({ decision, place, subject, why }) => `${decision} ${place} | ${subject} | ${why}`);

describe('what a policy decides for a package', () => {
  it('is told rule by rule', () => {
    const given = policy({
      allow: { actions: ['restart', 'apply'], kinds: ['ConfigMap.core'], images: ['registry.example.com'] },
      limits: { maxObjects: 1 },
      approvals: { medium: { quorum: 2, groups: ['sre'] } },
      windows: [{ name: 'june', effect: 'deny', timeZone: 'UTC', start: '2026-06-01T00:00', end: '2026-07-01T00:00' }],
    });
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'kube-system' } };
    const steps = [applyStep(configMap('a', 'shop', {}), { ...pod, spec: { containers: [{ image: 'nginx' }] } })];
    const wpk = buildWpk({ steps, namespaces: ['shop', 'kube-system'] });
    expect(shown(explain(given, wpk, 'medium'))).toEqual([
      'allow /maxValiditySeconds | the package | it is valid for 3600 seconds, at most 86400 are allowed',
      'deny /limits/maxObjects | the package | it has 2 objects, at most 1 are allowed',
      'allow /allow/actions/1 | step apply | the action apply is allowed',
      'allow /allow/kinds/0 | step apply | the kind ConfigMap is allowed',
      'deny /allow/kinds | step apply | the kind Pod is not allowed',
      'allow built-in | step apply | the namespace shop is allowed: no list limits namespaces',
      'deny /protectedNamespaces/0 | step apply | the namespace kube-system is protected',
      'deny /allow/images | image nginx | the image nginx is from no allowed registry',
      'needs-approval /approvals/medium | its plan, at medium risk | medium risk needs the approval of 2 different people, at least one of sre',
      'wait /windows/0 | its execution | The maintenance window june forbids it now. It opens 2026-07-01T00:00:00Z',
    ]);
  });

  it('tells who must approve at each level while the risk is not known', () => {
    const decisions = explain(BUILT_IN_POLICY, buildWpk()).filter(({ rule }) => rule === 'approvals');
    expect(decisions.map(({ place }) => place)).toEqual(['/approvals/low', '/approvals/medium', '/approvals/high']);
  });

  it('tells of a thousand objects of one kind once', () => {
    const many = Array.from({ length: 1000 }, (_, index) => configMap(`a-${index}`, 'shop', {}));
    expect(explain(BUILT_IN_POLICY, buildWpk({ steps: [applyStep(...many)] })).length).toBeLessThan(10);
  });

  it('names the entry that approves a playbook, and says where only its steps are others', () => {
    const wpk = buildWpk();
    const other = { playbook: 'other', stepsDigest: digestOfSteps(sha256, wpk) };
    const good = policy({ autoApprove: [other, { ...other, playbook: 'settings' }] });
    expect(explain(good, wpk, 'low')).toContainEqual(
      expect.objectContaining({ rule: 'autoApprove', place: '/autoApprove/1', decision: 'approve-by-policy' }),
    );
    const stale = policy({ autoApprove: [{ playbook: 'settings', stepsDigest: sha256('others') }] });
    expect(explain(stale, wpk, 'low')).toContainEqual(
      expect.objectContaining({
        place: '/autoApprove/0',
        why: 'playbook settings is listed, but with other steps than these',
      }),
    );
  });

  it.each([
    ['there is none', [], 'built-in', 'no maintenance window is for this playbook'],
    ['one that allows is open', [{ effect: 'allow' }], '/windows/0', 'the maintenance window w0 is open'],
    ['one that denies is not now', [{ effect: 'deny', days: ['sun'] }], '/windows', 'no window forbids it now'],
    [
      'it is for another playbook',
      [{ effect: 'deny', playbooks: ['x'] }],
      'built-in',
      'no maintenance window is for this playbook',
    ],
  ])('says which window lets it begin: %s', (_, windows, place, why) => {
    const full = windows.map((window, index) => ({
      ...{ name: `w${index}`, timeZone: 'UTC', days: ['mon'], from: '00:00', to: '00:00' },
      ...window,
    }));
    const [last] = explain(policy({ windows: full }), buildWpk()).slice(-1);
    expect(last).toMatchObject({ rule: 'windows', decision: 'allow', place, why });
  });
});

describe('the explanation of any policy and package', () => {
  const some = <T>(...values: T[]) => fc.option(fc.subarray(values), { nil: undefined });
  const policies = fc
    .record({
      allow: fc.record({
        actions: some('apply', 'restart', 'delete'),
        kinds: some('ConfigMap', 'Secret.core', 'Deployment.apps', 'Namespace'),
        namespaces: some('shop', 'bank'),
        images: some('docker.io', 'registry.example.com/shop'),
      }),
      protectedNamespaces: fc.subarray(['kube-system', 'bank']),
      limits: fc.record({ maxSteps: fc.constantFrom(undefined, 1, 2), maxObjects: fc.constantFrom(undefined, 1, 3) }),
      maxValiditySeconds: fc.constantFrom(60, 86_400),
    })
    .map(policy);
  const namespace = fc.constantFrom('shop', 'bank', 'kube-system', 'byoc-system');
  const manifest = fc.record({
    apiVersion: fc.constantFrom('v1', 'apps/v1'),
    kind: fc.constantFrom('ConfigMap', 'Secret', 'Deployment', 'Namespace'),
    metadata: fc.record({ name: fc.constantFrom('a', 'kube-system'), namespace }),
    spec: fc.record({ image: fc.constantFrom('nginx', 'registry.example.com/shop/web', 'evil.example.com/web') }),
  });
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.array(manifest, { minLength: 1, maxLength: 3 }).map((manifests) => applyStep(...manifests)),
    namespace.map((at): Step => ({
      id: 'go',
      action: 'restart',
      target: { kind: 'Deployment', name: 'a', namespace: at },
    })),
  );
  const wpks = fc
    .array(step, { minLength: 1, maxLength: 3 })
    .map((steps) => buildWpk({ steps, namespaces: ['shop', 'bank'] }));

  it('denies exactly what is denied in earnest', () => {
    fc.assert(
      fc.property(policies, wpks, (given, wpk) => {
        const denied = explain(given, wpk).filter(({ decision }) => decision === 'deny');
        const isImage = ({ rule }: PolicyDecision) => rule === 'allow.images';
        const manifests = wpk.steps.flatMap((one) => (one.action === 'apply' ? one.manifests : []));
        expect(denied.filter((one) => !isImage(one)).map(({ subject, why }) => `${subject}: ${why}`)).toEqual(
          policyDenials(given, wpk),
        );
        expect(denied.filter(isImage).map(({ why }) => why)).toEqual(resultDenials(given, manifests));
      }),
    );
  });

  it('names places that the policy has', () => {
    fc.assert(
      fc.property(policies, wpks, (given, wpk) => {
        for (const { place } of explain(given, wpk)) {
          if (place === 'built-in') continue;
          const found = pointerSegments(place).reduce<unknown>(
            (inner, key) => (inner as Record<string, unknown>)[key],
            given,
          );
          expect(found).toBeDefined();
        }
      }),
    );
  });
});
