import { describe, expect, it } from '@jest/globals';
import type { PlannedObject } from '../../domain/plan.ts';
import { computeRisk, RISK_RULES } from '../../domain/risk.ts';
import type { RiskSubject } from '../../domain/risk.ts';

const DIGEST = `sha256:${'0'.repeat(64)}` as const;

function subject(planned: Partial<PlannedObject> = {}, after?: object, before?: object): RiskSubject {
  return {
    planned: {
      step: 'apply',
      action: 'apply',
      change: 'update',
      object: { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'shop', name: 'settings' },
      force: false,
      changes: [],
      verified: { by: 'server' },
      digest: DIGEST,
      ...planned,
    },
    after,
    before,
  };
}

const object = (kind: string, namespace: string | undefined = 'shop') => ({
  apiVersion: 'v1',
  kind,
  name: 'one',
  ...(namespace && { namespace }),
});
const workload = (podSpec: object) => ({ kind: 'Deployment', spec: { replicas: 1, template: { spec: podSpec } } });
const rulesOf = (...subjects: RiskSubject[]) => computeRisk(subjects, [], 'low').findings.map(({ rule }) => rule);

describe('each risk rule', () => {
  const cases: [string, RiskSubject][] = [
    ['deletes-data', subject({ change: 'delete', object: object('PersistentVolumeClaim') })],
    ['deletes', subject({ change: 'delete' })],
    ['rbac', subject({ object: object('RoleBinding') })],
    ['admission', subject({ object: { apiVersion: 'v1', kind: 'MutatingWebhookConfiguration', name: 'one' } })],
    ['crd', subject({ object: { apiVersion: 'v1', kind: 'CustomResourceDefinition', name: 'one' } })],
    ['secret', subject({ object: object('Secret') })],
    ['cluster-scope', subject({ object: { apiVersion: 'v1', kind: 'PriorityClass', name: 'one' } })],
    ['node', subject({ object: { apiVersion: 'v1', kind: 'Node', name: 'one' } })],
    ['scales-to-zero', subject({}, { spec: { replicas: 0 } }, { spec: { replicas: 3 } })],
    ['privileged', subject({}, workload({ containers: [{ securityContext: { privileged: true } }] }))],
    ['service-account', subject({}, workload({ serviceAccountName: 'admin' }), workload({}))],
    ['image-by-tag', subject({}, workload({ containers: [{ image: 'web:1' }] }))],
    ['force', subject({ force: true })],
    ['not-verified', subject({ verified: { by: 'nobody', reason: 'its namespace is new' } })],
    ['not-shown', subject({ changesOmitted: true })],
  ];

  it.each(cases)('%s finds what it is about, in a sentence that names the object', (rule, found) => {
    const { findings } = computeRisk([found], [], 'low');
    const one = findings.find((finding) => finding.rule === rule);
    expect(one?.message).toMatch(new RegExp(`^${found.planned.object.kind} `));
  });

  it('has a case here', () => {
    expect(cases.map(([rule]) => rule).sort()).toEqual(RISK_RULES.map(({ id }) => id).sort());
  });
});

describe('the risk of a plan', () => {
  it('is low with no finding for a harmless change', () => {
    expect(computeRisk([subject()], [], 'low')).toEqual({ level: 'low', findings: [] });
  });

  it('is the highest that any rule gives', () => {
    expect(computeRisk([subject(), subject({ object: object('ClusterRole') })], [], 'low').level).toBe('high');
  });

  it('is raised, never lowered, by what the author declares', () => {
    expect(computeRisk([subject()], [], 'high').level).toBe('high');
    expect(computeRisk([subject({ object: object('Role') })], [], 'medium').level).toBe('high');
  });

  it('does not count what stays as it is', () => {
    expect(rulesOf(subject({ change: 'unchanged', object: object('Secret') }))).toEqual([]);
  });

  it('is high where the API server refuses a part', () => {
    expect(computeRisk([], [{ step: 'apply', object: object('ConfigMap'), message: 'no' }], 'low').level).toBe('high');
  });

  it('rises with the number of objects, and tells many findings of a rule as one', () => {
    const many = Array.from({ length: 60 }, () => subject({ object: object('Secret') }));
    expect(rulesOf(...many)).toEqual(['secret', 'many-objects']);
  });

  it('keeps a service account that was there before', () => {
    const same = workload({ serviceAccountName: 'web' });
    expect(rulesOf(subject({}, same, same))).toEqual([]);
  });

  it('does not warn of an image by digest', () => {
    expect(rulesOf(subject({}, workload({ containers: [{ image: `web@sha256:${'a'.repeat(64)}` }] })))).toEqual([]);
  });
});
