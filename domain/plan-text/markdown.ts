import type { Plan } from '../plan.ts';
import { counted, printed, type TextLine } from './lines.ts';
import { objectText } from './object-text.ts';
import { isChanged, planCounts, problemLine } from './plan-text.ts';

/** How much the Temporal UI shows; `byoc show` and the query `plan` have all of it. */
export const MAX_LINES = 120;
const MAX_LINE_CHARS = 200;
/** What each object gets at least, its head included, before others are only counted. */
const MIN_LINES_OF_OBJECT = 4;
const MAX_PROBLEMS = 40;

const WHERE_ALL_IS = 'byoc show and the query plan have all of it';

/** What a plan changes, as Markdown. Costs no more for a large plan than for a small one. */
export function planMarkdown(plan: Pick<Plan, 'objects' | 'problems'>): string[] {
  return [`${planCounts(plan)}.`, '', ...codeBlock(fewLines(plan), Infinity)];
}

/** The first lines as a block of code that nothing in them can end, each of them one short line. */
export function codeBlock(lines: Iterable<TextLine>, atMost: number): string[] {
  const first = firstOf(lines, atMost + 1);
  const shown = first.length > atMost ? [...first.slice(0, atMost), note(`more: ${WHERE_ALL_IS}`)] : first;
  return ['```diff', ...shown.map((line) => clipped(printed(line)).replaceAll('```', "'''")), '```'];
}

/** The first lines of each object: no large one hides the others. */
function* fewLines({ objects, problems }: Pick<Plan, 'objects' | 'problems'>): Generator<TextLine> {
  for (const problem of problems.slice(0, MAX_PROBLEMS)) yield problemLine(problem);
  const moreProblems = problems.length - MAX_PROBLEMS;
  if (moreProblems > 0) yield note(`${counted(moreProblems, 'more object')} refused: ${WHERE_ALL_IS}`);

  const budget = MAX_LINES - Math.min(problems.length, MAX_PROBLEMS);
  const changed = objects.filter(isChanged);
  const texts = changed
    .slice(0, Math.floor(budget / MIN_LINES_OF_OBJECT))
    .map((planned) => firstOf(objectText(planned), budget + 1));
  const share = shareOf(
    texts.map(({ length }) => length),
    budget,
  );
  for (const lines of texts) {
    if (lines.length <= share) yield* lines;
    else yield* [...lines.slice(0, share - 1), note(`  more of this object: ${WHERE_ALL_IS}`)];
  }
  const others = changed.length - texts.length;
  if (others > 0) yield note(`${counted(others, 'more object')} would change: ${WHERE_ALL_IS}`);
}

function firstOf(lines: Iterable<TextLine>, atMost: number): TextLine[] {
  const first: TextLine[] = [];
  for (const line of lines) if (first.push(line) === atMost) break;
  return first;
}

/** How many lines each may have at most, so that all have what the short ones leave. */
function shareOf(lengths: readonly number[], budget: number): number {
  let left = budget;
  let count = lengths.length;
  for (const length of [...lengths].sort((a, b) => a - b)) {
    const share = Math.floor(left / count);
    if (length > share) return share;
    left -= length;
    count -= 1;
  }
  return budget;
}

function note(text: string): TextLine {
  return { kind: 'note', text };
}

function clipped(line: string): string {
  return line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS)}…` : line;
}
