import { canonicalJson } from './digest.ts';
import type { ObjectRef, Plan, PlannedObject, RiskFinding } from './plan.ts';
import { indented, printed, type TextLine } from './plan-text/lines.ts';
import { codeBlock, MAX_LINES } from './plan-text/markdown.ts';
import { fullName, objectText } from './plan-text/object-text.ts';
import { diffTexts } from './plan-text/text-diff.ts';
import type { RiskLevel } from './wpk.ts';

/** What two plans of one package do not have in common: the one that was approved, and the one of the cluster now. */
export interface PlanDifference {
  readonly policyChanged: boolean;
  readonly riskBefore: RiskLevel;
  readonly riskAfter: RiskLevel;
  readonly findingsNew: readonly RiskFinding[];
  readonly findingsGone: readonly RiskFinding[];
  /** Objects that would go through something else than was approved, in the order of the package. */
  readonly objects: readonly ObjectDifference[];
}

export interface ObjectDifference {
  readonly step: string;
  readonly object: ObjectRef;
  /** What was approved; absent where the step was not planned for this object, because the server refused it. */
  readonly was?: PlannedObject;
  /** What would happen now; absent where the server refuses it now. */
  readonly now?: PlannedObject;
}

/** Compares two plans of the same package. Objects are told apart by step and identity, and compared by their digests. */
export function planDifference(before: Plan, after: Plan): PlanDifference {
  return {
    policyChanged: before.policyDigest !== after.policyDigest,
    riskBefore: before.risk.level,
    riskAfter: after.risk.level,
    findingsNew: without(after.risk.findings, before.risk.findings),
    findingsGone: without(before.risk.findings, after.risk.findings),
    objects: objectDifferences(before.objects, after.objects),
  };
}

function objectDifferences(before: readonly PlannedObject[], after: readonly PlannedObject[]): ObjectDifference[] {
  const [was, now] = [byIdentity(before), byIdentity(after)];
  const gone = [...was].filter(([identity]) => !now.has(identity));
  const differences = [...now].flatMap(([identity, planned]) => {
    const approved = was.get(identity);
    if (approved?.digest === planned.digest) return [];
    return [{ ...placeOf(planned), ...(approved && { was: approved }), now: planned }];
  });
  return [...differences, ...gone.map(([, approved]) => ({ ...placeOf(approved), was: approved }))];
}

function byIdentity(objects: readonly PlannedObject[]): Map<string, PlannedObject> {
  return new Map(objects.map((planned) => [canonicalJson(placeOf(planned)), planned]));
}

function placeOf({ step, object }: PlannedObject): Pick<ObjectDifference, 'step' | 'object'> {
  return { step, object };
}

function without(findings: readonly RiskFinding[], others: readonly RiskFinding[]): RiskFinding[] {
  const known = new Set(others.map((finding) => canonicalJson(finding)));
  return findings.filter((finding) => !known.has(canonicalJson(finding)));
}

/**
 * A difference of plans as people read it: `-` was approved, `+` is what would happen now. The lines of an object keep
 * the marks of its plan behind those, as in `git range-diff`: `- +   replicas: 5` was approved to come and does not.
 * Made line by line, as the text of a plan is.
 */
export function* planDifferenceLines(difference: PlanDifference): Generator<TextLine> {
  const { policyChanged, riskBefore, riskAfter, findingsNew, findingsGone, objects } = difference;
  yield { kind: 'note', text: '- was approved, + is what would happen now' };
  if (policyChanged) yield { kind: 'object', text: 'policy: another one than the plan was approved under' };
  if (riskBefore !== riskAfter || findingsNew.length > 0 || findingsGone.length > 0) {
    yield { kind: 'object', text: riskBefore === riskAfter ? `risk: ${riskAfter}, for other reasons` : 'risk' };
    if (riskBefore !== riskAfter) yield* [line('remove', riskBefore), line('add', riskAfter)];
    for (const finding of findingsGone) yield line('remove', findingText(finding));
    for (const finding of findingsNew) yield line('add', findingText(finding));
  }
  for (const object of objects) yield* objectLines(object);
}

function findingText({ level, message, rule }: RiskFinding): string {
  return indented(1, `${level}: ${message} (${rule})`);
}

function* objectLines({ step, object, was, now }: ObjectDifference): Generator<TextLine> {
  const fate = !now ? 'refused now' : was ? 'not as approved' : 'was refused before';
  yield { kind: 'object', text: `${fullName(object)} in step ${step}: ${fate}` };
  const replaced = was?.uid !== now?.uid && was && now;
  if (replaced) yield* [line('remove', identityOf(was)), line('add', identityOf(now))];
  const parts = diffTexts(textOf(was), textOf(now));
  for (const { kind, lines } of parts) for (const text of lines) yield line(kind, text);
  if (!replaced && parts.every(({ kind }) => kind === 'context')) {
    yield line('note', '  they differ in what the plans do not carry; the digests tell them apart');
  }
}

/** The same as Markdown. */
export function planDifferenceMarkdown(difference: PlanDifference): string[] {
  return codeBlock(planDifferenceLines(difference), MAX_LINES);
}

/** The live object by its UID: one that was deleted and made again bears the same name. */
function identityOf({ uid }: PlannedObject): string {
  return uid === undefined ? 'there is no such object yet' : `the object with the uid ${uid}`;
}

function textOf(planned: PlannedObject | undefined): string[] {
  return planned ? Array.from(objectText(planned), printed) : [];
}

function line(kind: TextLine['kind'], text: string): TextLine {
  return { kind, text };
}
