import { pointerSegments } from '../json-pointer.ts';
import type { ObjectRef, PathChange, PlannedObject } from '../plan.ts';
import { describeObject } from '../plan.ts';
import { isServerDefault } from './defaults.ts';
import { counted, indented, type TextLine } from './lines.ts';
import { diffTexts } from './text-diff.ts';
import { type Block, blockLine, blockOf, type Hidden, keyText, scalarText, yamlLines } from './yaml.ts';

/** Lines that stay, shown around those of a text that change. */
const CONTEXT_LINES = 3;
/** How much of what two long values have in common is shown before the point where they part. */
const SHOWN_IN_COMMON = 40;

/** What an approver knows already from the line above. */
const SAID_BEFORE = new Set(['apiVersion', 'kind', 'metadata/name', 'metadata/namespace']);

/** Keys whose maps have keys of people's own, which may be numbers; elsewhere a number is the place in a list. */
const PLAIN_MAPS = new Set([
  'data',
  'binaryData',
  'stringData',
  'labels',
  'annotations',
  'matchLabels',
  'nodeSelector',
]);

/**
 * What a plan does to one object, as a unified diff in the form of YAML: its head, then each difference below the keys
 * that lead to it. Made line by line, so that whoever shows the first few pays for no more.
 */
export function* objectText(planned: PlannedObject): Generator<TextLine> {
  const { change } = planned;
  yield { kind: change === 'create' || change === 'delete' ? change : 'object', text: headOf(planned) };
  if (planned.changesOmitted) {
    yield { kind: 'note', text: '  the differences are too large to be carried in the plan; the digest covers them' };
    return;
  }
  const isHidden: Hidden = (path, value, holder) =>
    SAID_BEFORE.has(path.join('/')) || isServerDefault(planned.object, path, value, holder);
  let shown: readonly string[] = [];
  for (const change of planned.changes) {
    const path = pointerSegments(change.path);
    yield* contextLines(shown, path, change);
    shown = path.slice(0, -1);
    yield* changeLines(change, path, isHidden);
  }
}

/** Names an object so that it is no other: two groups may have a kind of the same name. */
export function fullName(object: ObjectRef): string {
  return `${describeObject(object)} (${object.apiVersion})`;
}

function headOf({ object, action, change, step, force, verified }: PlannedObject): string {
  const what = action === 'apply' ? change : change === 'unchanged' ? `${action}, unchanged` : action;
  const forced = force ? ', taking over fields of others' : '';
  const doubt =
    verified.by === 'nobody'
      ? `; not verified: ${verified.reason}`
      : verified.by === 'earlier-step'
        ? `; follows from step ${verified.step}`
        : '';
  return `${fullName(object)}: ${what} in step ${step}${forced}${doubt}`;
}

/** The keys on the way to a change that the lines before did not show. */
function* contextLines(
  shown: readonly string[],
  path: readonly string[],
  { path: pointer, names = {} }: PathChange,
): Generator<TextLine> {
  const parents = path.slice(0, -1);
  const fresh = parents.findIndex((key, index) => key !== shown[index]);
  if (fresh === -1) return;
  const segments = pointer.split('/');
  for (const [index, key] of parents.entries()) {
    if (index < fresh) continue;
    const here = segments.slice(0, index + 2).join('/');
    const name = Object.hasOwn(names, here) ? names[here] : undefined;
    const item = name === undefined ? `- # item ${key}` : `- name: ${scalarText(name)}`;
    const text = name !== undefined || isItem(parents, index) ? item : `${keyText(key)}:`;
    yield { kind: 'context', text: indented(index, text) };
  }
}

function isItem(path: readonly string[], index: number): boolean {
  return /^\d+$/.test(path[index] ?? '') && !PLAIN_MAPS.has(path[index - 1] ?? '');
}

function* changeLines(change: PathChange, path: readonly string[], isHidden: Hidden): Generator<TextLine> {
  const { before, after } = change;
  const last = path.length - 1;
  const depth = Math.max(0, last);
  const key = last < 0 ? '' : isItem(path, last) ? '-' : `${keyText(path[last] ?? '')}:`;
  if (typeof before === 'string' && typeof after === 'string') {
    if (before.includes('\n') || after.includes('\n')) return yield* blockLines(key, before, after, depth);
    const [was, will] = apart(before, after);
    yield { kind: 'remove', text: indented(depth, `${key} ${was}`) };
    yield { kind: 'add', text: indented(depth, `${key} ${will}`) };
    return;
  }
  for (const [kind, value] of [
    ['remove', before],
    ['add', after],
  ] as const) {
    if (value === undefined) continue;
    for (const text of wholeLines(key, value, depth, path, isHidden)) yield { kind, text };
  }
}

/** A value that comes or goes. That of a whole object has no key to stand below. */
function* wholeLines(
  key: string,
  value: unknown,
  depth: number,
  path: readonly string[],
  isHidden: Hidden,
): Generator<string> {
  if (path.length > 0 || typeof value !== 'object' || value === null) {
    return yield* yamlLines(key, value, depth, path, isHidden);
  }
  for (const line of yamlLines('', value, depth, path, isHidden)) if (line !== '') yield line.slice(2);
}

/** Two texts, one of them of several lines, line by line. */
function* blockLines(key: string, before: string, after: string, depth: number): Generator<TextLine> {
  const [was, will] = [blockOf(before), blockOf(after)];
  const head = (kind: TextLine['kind'], block: Block): TextLine => ({
    kind,
    text: indented(depth, `${key} ${block.head}`),
  });
  if (was.head === will.head) yield head('context', was);
  else yield* [head('remove', was), head('add', will)];
  const parts = diffTexts(was.lines, will.lines);
  for (const [index, { kind, lines }] of parts.entries()) {
    const line = (text: string): TextLine => ({ kind, text: indented(depth + 1, blockLine(text)) });
    const lead = index === 0 ? 0 : CONTEXT_LINES;
    const isLast = index === parts.length - 1 && was.head === will.head;
    const tail = isLast ? 0 : CONTEXT_LINES;
    const left = lines.length - lead - tail;
    if (kind !== 'context' || left <= 1) {
      for (const text of lines) yield line(text);
    } else {
      for (const text of lines.slice(0, lead)) yield line(text);
      yield { kind: 'note', text: indented(depth + 1, `${counted(left, 'line')} as before`) };
      for (const text of tail > 0 ? lines.slice(-tail) : []) yield line(text);
    }
  }
}

/** Two values of one line; long ones from shortly before the point where they part, for it may be far to the right. */
function apart(before: string, after: string): readonly [string, string] {
  let common = 0;
  while (common < before.length && before[common] === after[common]) common++;
  if (common <= 2 * SHOWN_IN_COMMON) return [scalarText(before), scalarText(after)];
  const from = common - SHOWN_IN_COMMON;
  const tail = (text: string) => `… ${JSON.stringify(text.slice(from))} (after ${from} equal characters)`;
  return [tail(before), tail(after)];
}
