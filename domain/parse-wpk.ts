import { z } from 'zod';
import { byPlace, ConnectorError } from './errors.ts';
import type { ParsedJson } from './json.ts';
import { parseStrictJson } from './json.ts';
import { toPointer } from './json-pointer.ts';
import { describeIssue, describeWithoutValues, toSentence } from './schema-sentences.ts';
import type { Step, Wpk } from './wpk.ts';
import { MAX_STEPS, stepSchema, WPK_MAX_BYTES, wpkSchema } from './wpk.ts';
import type { WpkFinding } from './wpk-rules.ts';
import { findWpkViolations } from './wpk-rules.ts';

const LIMITS = { maxBytes: WPK_MAX_BYTES, maxDepth: 64, maxValues: 100_000, maxMembers: 2_000 };

/** How many problems `checkWpk` tells; a bad package may have as many as it has bytes. */
const MAX_PROBLEMS = 20;
const MAX_POINTER_LENGTH = 512;

/** Everything but what is inside the steps. */
const frameSchema = wpkSchema.extend({ steps: z.array(z.unknown()).min(1).max(MAX_STEPS) });

export type CheckedWpk =
  | { readonly wpk: Wpk; readonly problems: readonly [] }
  | { readonly wpk?: never; readonly problems: readonly ConnectorError[] };

/**
 * The only way from the bytes of a work package to the type. Says nothing about who signed it or when it may run.
 * @param bytes the raw payload, at most 1 MiB, whose signature was already verified
 * @throws {ConnectorError} WPK_TOO_LARGE, WPK_SYNTAX or WPK_SCHEMA, with line, column and JSON pointer, and without any text
 *   of the package but names of fields: it goes to logs and histories
 */
export function parseWpk(bytes: Uint8Array): Wpk {
  const json = parseStrictJson(bytes, LIMITS);
  const result = findProblems(json, 1, describeWithoutValues);
  if (!result.wpk) throw toError(result.first, json);
  return result.wpk;
}

/** The same for people who write packages: what is wrong, at most 20 problems in the order of the file. */
export function checkWpk(bytes: Uint8Array): CheckedWpk {
  try {
    const json = parseStrictJson(bytes, LIMITS);
    const result = findProblems(json, MAX_PROBLEMS, describeIssue);
    if (result.wpk) return { wpk: result.wpk, problems: [] };
    const findings = [result.first, ...result.others].slice(0, MAX_PROBLEMS);
    return { problems: findings.map((finding) => toError(finding, json)).sort(byPlace) };
  } catch (error) {
    if (error instanceof ConnectorError) return { problems: [error] };
    throw error;
  }
}

type Problems = { wpk?: never; first: WpkFinding; others: WpkFinding[] };

/**
 * Applies schema and rules, step by step and only until `enough` problems are found: zod itself goes on to the end,
 * which took a second for 1 MiB of bad manifests.
 */
function findProblems(json: ParsedJson, enough: number, error: typeof describeIssue): { wpk: Wpk } | Problems {
  const frame = frameSchema.safeParse(json.value, { error });
  if (!frame.success) return toProblems(frame.error.issues.map((issue) => toFinding(issue, [])));
  const steps: Step[] = [];
  const findings: WpkFinding[] = [];
  for (const [index, candidate] of frame.data.steps.entries()) {
    const step = stepSchema.safeParse(candidate, { error });
    if (step.success) steps.push(step.data);
    else findings.push(...step.error.issues.slice(0, MAX_PROBLEMS).map((issue) => toFinding(issue, ['steps', index])));
    if (findings.length >= enough) break;
  }
  if (findings.length > 0) return toProblems(findings);
  const wpk = { ...frame.data, steps };
  const violations = findWpkViolations(wpk);
  return violations.length > 0 ? toProblems(violations) : { wpk };
}

/** A misspelt field is two problems, unknown and missing: the first explains the second, so it comes first. */
function toProblems(findings: readonly WpkFinding[]): Problems {
  const [first, ...others] = [...findings.filter(({ atKey }) => atKey), ...findings.filter(({ atKey }) => !atKey)];
  if (!first) throw new ConnectorError('INTERNAL', 'the schema refused a package without saying why');
  return { first, others };
}

function toFinding(issue: z.core.$ZodIssue, base: readonly PropertyKey[]): WpkFinding {
  // An unknown field is reported at its object by zod; a reader looks for the field itself.
  const atKey = issue.code === 'unrecognized_keys';
  const path = [...base, ...issue.path, ...(atKey ? issue.keys.slice(0, 1) : [])];
  return { code: 'WPK_SCHEMA', path, atKey, sentence: toSentence(issue.message) };
}

function toError(finding: WpkFinding, json: ParsedJson): ConnectorError {
  const pointer = toPointer(finding.path);
  const place = json.locate(pointer, finding.atKey ? 'key' : 'value');
  const path = pointer.length <= MAX_POINTER_LENGTH ? { path: pointer } : {};
  return new ConnectorError(finding.code, finding.sentence, { place: { ...place, ...path } });
}
