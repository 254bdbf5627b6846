import type { Plan, PlannedObject, PlanProblem } from '../plan.ts';
import { counted, type TextLine } from './lines.ts';
import { fullName, objectText } from './object-text.ts';

/** What of a plan people read: everything else is in its JSON. */
type Readable = Pick<Plan, 'objects' | 'problems'>;

/** What a plan would change, object by object, refusals first. Unchanged objects are counted (`planCounts`), not shown. */
export function* planText({ objects, problems }: Readable): Generator<TextLine> {
  for (const problem of problems) yield problemLine(problem);
  for (const planned of objects) if (isChanged(planned)) yield* objectText(planned);
}

export function problemLine({ step, object, message }: PlanProblem): TextLine {
  return { kind: 'refused', text: `${fullName(object)}: refused in step ${step}: ${message}` };
}

export function isChanged({ change }: PlannedObject): boolean {
  return change !== 'unchanged';
}

/** `2 to create, 1 to update, 3 refused; 1 object stays as it is`. */
export function planCounts({ objects, problems }: Readable): string {
  const of = (change: PlannedObject['change']) => objects.filter((one) => one.change === change).length;
  const counts = [
    [of('create'), 'to create'],
    [of('update'), 'to update'],
    [of('delete'), 'to delete'],
    [problems.length, 'refused'],
  ] as const;
  const told = counts.flatMap(([count, what]) => (count > 0 ? [`${count} ${what}`] : []));
  const unchanged = of('unchanged');
  const stays = `${counted(unchanged, 'object')} ${unchanged === 1 ? 'stays as it is' : 'stay as they are'}`;
  return [told.join(', ') || 'nothing to change', ...(unchanged > 0 ? [stays] : [])].join('; ');
}
