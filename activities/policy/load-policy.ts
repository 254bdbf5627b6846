import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import type { Place } from '../../domain/errors.ts';
import { byPlace, ConnectorError } from '../../domain/errors.ts';
import type { Policy } from '../../domain/policy.ts';
import { BUILT_IN_POLICY, policyDigest, policySchema } from '../../domain/policy.ts';
import { describeIssue, resolveUnions, toSentence } from '../../domain/schema-sentences.ts';
import type { PolicyYaml } from './policy-yaml.ts';
import { readPolicyYaml } from './policy-yaml.ts';

/** As much as a ConfigMap can hold. */
const MAX_CHARS = 1024 * 1024;

export interface LoadedPolicy {
  readonly policy: Policy;
  /** In every plan (`policyDigest`). */
  readonly digest: Digest;
}

/** Gives the policy as it is now: the file is read each time, so that a change decides at once. */
export type PolicySource = () => Promise<LoadedPolicy>;

/**
 * @param path the policy file (YAML 1.2); the built-in policy holds where none is given.
 * @param own namespaces of the connector's own, as its settings say: protected whatever the file says, and no part of its digest
 * The returned source throws POLICY_INVALID, with line and column, for a file that is missing or broken: nothing runs.
 */
export function policySource(path: string | undefined, sha256: Sha256, own: readonly string[] = []): PolicySource {
  const loaded = (policy: Policy): LoadedPolicy => ({
    policy: { ...policy, protectedNamespaces: [...new Set([...policy.protectedNamespaces, ...own])] },
    digest: policyDigest(sha256, policy),
  });
  if (path === undefined) {
    const builtIn = loaded(BUILT_IN_POLICY);
    return () => Promise.resolve(builtIn);
  }
  let last: { readonly text: string; readonly policy: LoadedPolicy } | undefined;
  return async () => {
    const text = await readPolicy(path);
    if (text !== last?.text) last = { text, policy: loaded(parsePolicy(text)) };
    return last.policy;
  };
}

export type CheckedPolicy =
  | { readonly policy: Policy; readonly problems: readonly [] }
  | { readonly policy?: never; readonly problems: readonly ConnectorError[] };

/** @throws {ConnectorError} POLICY_INVALID with the first problem's line and column. */
export function parsePolicy(text: string): Policy {
  const { policy, problems } = checkPolicy(text);
  if (policy) return policy;
  const [first] = problems;
  const more = problems.length > 1 ? ` (Problem 1 of ${problems.length}; byoc policy check tells all.)` : '';
  throw new ConnectorError('POLICY_INVALID', `${first?.detail}${more}`, first?.place && { place: first.place });
}

/** The same for people who write policies: everything that is wrong, in the order of the file. */
export function checkPolicy(text: string): CheckedPolicy {
  if (text.length > MAX_CHARS) return { problems: [problem(`It is longer than ${MAX_CHARS} characters.`, {})] };
  const yaml = readPolicyYaml(text);
  if (yaml.problems.length > 0) {
    return { problems: yaml.problems.map(({ sentence, place }) => problem(sentence, place)).sort(byPlace) };
  }
  const parsed = policySchema.safeParse(yaml.value, { error: describeEachKey, reportInput: true });
  if (parsed.success) return { policy: parsed.data, problems: [] };
  const problems = resolveUnions(parsed.error.issues).flatMap((issue) => problemsOf(issue, yaml));
  return { problems: problems.sort(byPlace) };
}

/** One line a field, where one issue names several; names of fields are quoted, so they hold no line break. */
function describeEachKey(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== 'unrecognized_keys') return describeIssue(issue);
  return issue.keys.map((key) => describeIssue({ ...issue, keys: [key] })).join('\n');
}

function problemsOf(issue: z.core.$ZodIssue, yaml: PolicyYaml): ConnectorError[] {
  if (issue.code !== 'unrecognized_keys')
    return [problem(toSentence(issue.message), yaml.placeOf(issue.path, 'value'))];
  const sentences = issue.message.split('\n');
  return issue.keys.map((key, index) => problem(sentences[index] ?? '', yaml.placeOf([...issue.path, key], 'key')));
}

function problem(sentence: string, place: Place): ConnectorError {
  return new ConnectorError('POLICY_INVALID', sentence, { place });
}

async function readPolicy(path: string): Promise<string> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new ConnectorError('POLICY_INVALID', 'The file cannot be read.', { cause });
  });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ConnectorError('POLICY_INVALID', 'The file is not UTF-8.', { cause });
  }
}
