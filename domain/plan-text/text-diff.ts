import { diffArrays } from 'diff';

/** More than so many different lines are another text: they are told as gone and come, which costs nothing to find out. */
const MAX_EDITS = 200;
const MAX_LINES = 20_000;

export interface DiffPart {
  readonly kind: 'context' | 'remove' | 'add';
  readonly lines: readonly string[];
}

/**
 * The difference of two texts line by line (Myers, as in `diff` and git). The same texts always give the same parts,
 * and the work is bounded, because it is done in a workflow task.
 */
export function diffTexts(before: readonly string[], after: readonly string[]): readonly DiffPart[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let end = 0;
  const shorter = Math.min(before.length, after.length) - start;
  while (end < shorter && before.at(-1 - end) === after.at(-1 - end)) end++;
  const [gone, come] = [before.slice(start, before.length - end), after.slice(start, after.length - end)];
  const parts: DiffPart[] = [
    { kind: 'context', lines: before.slice(0, start) },
    ...middleParts(gone, come),
    { kind: 'context', lines: end > 0 ? before.slice(-end) : [] },
  ];
  return parts.filter(({ lines }) => lines.length > 0);
}

function middleParts(gone: readonly string[], come: readonly string[]): DiffPart[] {
  const isSmall = gone.length + come.length <= MAX_LINES;
  const lines = new Set(isSmall ? gone : []);
  // Without a line in common, as most often, there is nothing to search for.
  const isWorthIt = come.some((line) => lines.has(line));
  const found = isWorthIt ? diffArrays([...gone], [...come], { maxEditLength: MAX_EDITS }) : undefined;
  if (!found) {
    return [
      { kind: 'remove', lines: gone },
      { kind: 'add', lines: come },
    ];
  }
  return found.map(({ added, removed, value }) => ({
    kind: added ? 'add' : removed ? 'remove' : 'context',
    lines: value,
  }));
}
