import { z } from 'zod';
import { quote } from './json-parser.ts';

/**
 * Says in a sentence what the schema found wrong (an error map of zod, asked before its own texts).
 * @returns undefined where the schema itself brings the words, as its patterns do
 */
export function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  return describe(issue, describeInput);
}

/**
 * The same without the text that was there instead: in a wrong place it may be a secret, and who is told may be a log that
 * nobody can delete from.
 */
export function describeWithoutValues(issue: z.core.$ZodRawIssue): string | undefined {
  return describe(issue, (input) => (typeof input === 'string' ? 'another text' : describeInput(input)));
}

type DescribeInput = (input: unknown) => string;

function describe(issue: z.core.$ZodRawIssue, inputOf: DescribeInput): string | undefined {
  switch (issue.code) {
    case 'unrecognized_keys':
      return describeUnknownField(issue.keys, issue.inst);
    case 'invalid_type':
      if (issue.input === undefined) return `Missing: ${articleOf(issue.expected)} is required here.`;
      return `Must be ${articleOf(issue.expected)}, not ${inputOf(issue.input)}.`;
    case 'invalid_value':
      if (issue.input === undefined) return `Missing: must be ${listOf(issue.values)}.`;
      return `Must be ${listOf(issue.values)}, not ${inputOf(issue.input)}.`;
    case 'invalid_union':
      return describeUnion(issue, inputOf);
    case 'too_big':
      return `Must ${measureOf(issue.origin)} at most ${issue.maximum}${unitOf(issue.origin)}.`;
    case 'too_small':
      if (issue.minimum === 1 && unitOf(issue.origin)) return 'Must not be empty.';
      return `Must ${measureOf(issue.origin)} at least ${issue.minimum}${unitOf(issue.origin)}.`;
    default:
      return undefined;
  }
}

/** What a schema says, as a sentence of its own. */
export function toSentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}${/[.?]$/.test(message) ? '' : '.'}`;
}

function describeUnknownField(keys: readonly string[], schema: unknown): string {
  const [unknown = ''] = keys;
  const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const meant = meantWord(unknown, known);
  const more = keys.length > 1 ? ` (and ${keys.length - 1} more)` : '';
  return `Unknown field ${quote(unknown)}${more}${meant ? `; did you mean "${meant}"?` : '.'}`;
}

function describeUnion(issue: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidUnion>, inputOf: DescribeInput): string {
  const { inst, discriminator } = issue;
  if (!(inst instanceof z.ZodDiscriminatedUnion) || discriminator === undefined) return describeForms(issue, inputOf);
  const values = inst.options.flatMap((option) => {
    const field: unknown = option instanceof z.ZodObject ? option.shape[discriminator] : undefined;
    return field instanceof z.ZodLiteral ? [...field.values] : [];
  });
  return `"${discriminator}" must be ${listOf(values)}.`;
}

/** Of a union without discriminator whose forms are of different types, such as a number or an object. */
function describeForms(
  { errors, input }: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidUnion>,
  inputOf: DescribeInput,
): string {
  const types = errors.map(([first]) => (first && isOfOtherType(first) ? articleOf(first.expected) : undefined));
  if (types.length === 0 || types.includes(undefined)) return 'No allowed form matches.';
  return `Must be ${types.join(' or ')}, not ${inputOf(input)}.`;
}

/**
 * What is wrong with a value that may have one of several forms is told of the form that was most likely meant: the one
 * with the fewest problems. Where only the form itself is wrong, or nothing says which one was meant, the problem stays
 * as the schema tells it.
 */
export function resolveUnions(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue[] {
  return issues.flatMap((issue) => {
    if (issue.code !== 'invalid_union') return [issue];
    const forms = issue.errors.filter(([first]) => first && !isOfOtherType(first));
    if (forms.every((problems) => problems.every(isMissing))) return [issue];
    const [meant = []] = forms.sort((a, b) => weightOf(a) - weightOf(b));
    return resolveUnions(meant).map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
  });
}

function isOfOtherType(issue: z.core.$ZodIssue): issue is z.core.$ZodIssueInvalidType {
  return issue.code === 'invalid_type' && issue.path.length === 0;
}

/** Needs the option `reportInput`. */
function isMissing(issue: z.core.$ZodIssue): boolean {
  return issue.path.length > 0 && issue.input === undefined;
}

function weightOf(issues: readonly z.core.$ZodIssue[]): number {
  return issues.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0);
}

const ARTICLES: Readonly<Record<string, string>> = { object: 'an object', array: 'an array', int: 'an integer' };

function articleOf(type: string): string {
  return ARTICLES[type] ?? (type === 'record' ? 'an object' : `a ${type}`);
}

function describeInput(input: unknown): string {
  if (input === null) return 'null';
  if (Array.isArray(input)) return 'an array';
  if (typeof input === 'object') return 'an object';
  return typeof input === 'string' ? quote(input) : String(input);
}

function listOf(values: readonly unknown[]): string {
  const texts = values.map((value) => JSON.stringify(value));
  return texts.length < 2 ? texts.join('') : `${texts.slice(0, -1).join(', ')} or ${texts.at(-1)}`;
}

function measureOf(origin: string): string {
  return unitOf(origin) ? 'have' : 'be';
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' ? ' entries' : '';
}

/** The known word that was meant, most likely; undefined where none is within so many slips of the keys. */
export function meantWord(typed: string, known: readonly string[], slips = 2): string | undefined {
  return known.find((word) => isNear(typed, word, slips));
}

/** Whether a slip of the keys could make one word of the other: an edit or two, or another case. */
function isNear(typed: string, known: string, slips: number): boolean {
  if (Math.abs(typed.length - known.length) > slips) return false;
  return editDistance(typed.toLowerCase(), known.toLowerCase()) <= (known.length >= 4 ? slips : 1);
}

/** Levenshtein's distance; the words are short, being about as long as a known field. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
