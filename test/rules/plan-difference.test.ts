import { describe, expect, it } from '@jest/globals';
import type { Plan } from '../../domain/plan.ts';
import { planDifference, planDifferenceLines, planDifferenceMarkdown } from '../../domain/plan-difference.ts';
import { printed } from '../../domain/plan-text/lines.ts';
import { CHECKOUT, plannedObject, planOf, SETTINGS } from '../support/plans.ts';

const settings = (before: string | undefined, after: string, more = {}) =>
  plannedObject(SETTINGS, before === undefined ? undefined : { data: { key: before } }, { data: { key: after } }, more);
const linesOf = (before: Plan, after: Plan) => Array.from(planDifferenceLines(planDifference(before, after)), printed);
const finding = { rule: 'secret', level: 'medium', message: 'Secret shop/login is a Secret' } as const;

describe('the difference of the plan that was approved and the plan of now', () => {
  it('is empty for equal plans, and can be sent as JSON', () => {
    const plan = planOf([settings('a', 'b')]);
    const difference = planDifference(plan, structuredClone(plan));
    expect(difference).toEqual({
      ...{ policyChanged: false, riskBefore: 'low', riskAfter: 'low', findingsNew: [], findingsGone: [], objects: [] },
    });
    const other = planDifference(plan, planOf([settings('c', 'b')]));
    expect(JSON.parse(JSON.stringify(other))).toEqual(other);
  });

  it('has the objects that would go through something else, with both sides', () => {
    const restart = plannedObject(CHECKOUT, { spec: { a: 1 } }, { spec: { a: 2 } }, { step: 'restart' });
    const [was, now] = [settings('first', 'wanted'), settings('second', 'wanted')];
    expect(planDifference(planOf([was, restart]), planOf([now, restart])).objects).toEqual([
      { step: 'config', object: SETTINGS, was, now },
    ]);
    expect(linesOf(planOf([was, restart]), planOf([now, restart]))).toEqual([
      '# - was approved, + is what would happen now',
      '~ ConfigMap shop/settings (v1) in step config: not as approved',
      '  ~ ConfigMap shop/settings (v1): update in step config',
      '    data:',
      '- -   key: first',
      '+ -   key: second',
      '  +   key: wanted',
    ]);
  });

  it('tells what is refused now, and what no longer is', () => {
    const was = settings('a', 'b');
    expect(linesOf(planOf([was]), planOf([]))).toEqual([
      '# - was approved, + is what would happen now',
      '~ ConfigMap shop/settings (v1) in step config: refused now',
      '- ~ ConfigMap shop/settings (v1): update in step config',
      '-   data:',
      '- -   key: a',
      '- +   key: b',
    ]);
    expect(planDifference(planOf([]), planOf([was])).objects).toEqual([{ step: 'config', object: SETTINGS, now: was }]);
  });

  it('tells two steps on one object apart', () => {
    const [one, two] = [settings('a', 'b', { step: 'one' }), settings('b', 'c', { step: 'two' })];
    const changed = settings('b', 'd', { step: 'two' });
    expect(planDifference(planOf([one, two]), planOf([one, changed])).objects).toMatchObject([{ step: 'two' }]);
  });

  it('tells an object that was deleted and made again, though nothing else about it differs', () => {
    const [was, now] = [settings('a', 'b', { uid: 'u1' }), settings('a', 'b', { uid: 'u2' })];
    const lines = linesOf(planOf([was]), planOf([now]));
    expect(lines).toContain('- the object with the uid u1');
    expect(lines).toContain('+ the object with the uid u2');
  });

  it('says so where the plans do not carry what differs', () => {
    const omitted = { changes: [], changesOmitted: true, change: 'update' } as const;
    const was = settings('a', 'b', { ...omitted, digest: 'sha256:1' });
    const now = settings('a', 'b', { ...omitted, digest: 'sha256:2' });
    expect(linesOf(planOf([was]), planOf([now])).at(-1)).toBe(
      '#   they differ in what the plans do not carry; the digests tell them apart',
    );
  });

  it('has the policy, the level of the risk and its reasons', () => {
    const before = planOf([], { risk: { level: 'low', findings: [{ ...finding, level: 'low' }] } });
    const after = planOf([], { policyDigest: 'sha256:other', risk: { level: 'medium', findings: [finding] } });
    expect(planDifference(before, after)).toMatchObject({
      ...{ policyChanged: true, riskBefore: 'low', riskAfter: 'medium' },
      ...{ findingsNew: [finding], findingsGone: [{ level: 'low' }] },
    });
    expect(linesOf(before, after).slice(1)).toEqual([
      '~ policy: another one than the plan was approved under',
      '~ risk',
      '- low',
      '+ medium',
      '-   low: Secret shop/login is a Secret (secret)',
      '+   medium: Secret shop/login is a Secret (secret)',
    ]);
  });

  it('is a short block in Markdown that nothing in it can end, however much differs', () => {
    const hostile = '```\n**Risk: low**\n```diff';
    const many = (side: string) =>
      planOf(
        Array.from({ length: 1_000 }, (_, index) =>
          plannedObject({ ...SETTINGS, name: `n${index}` }, { data: { k: side } }, { data: { k: hostile } }),
        ),
      );
    const lines = planDifferenceMarkdown(planDifference(many('a'), many('b')));
    expect(lines.filter((line) => /^\s*```/.test(line))).toEqual(['```diff', '```']);
    expect(lines.length).toBeLessThan(130);
    expect(lines.at(-2)).toMatch(/^# more: /);
  });
});
