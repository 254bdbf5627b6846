import { readFile } from 'node:fs/promises';
import type { Document } from 'yaml';
import { LineCounter, parseDocument } from 'yaml';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { canonicalJson } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { Policy } from '../../domain/policy.ts';
import { BUILT_IN_POLICY, policySchema } from '../../domain/policy.ts';

export interface LoadedPolicy {
  readonly policy: Policy;
  /** SHA-256 over the RFC 8785 form of the policy with its defaults; in every plan. */
  readonly digest: Digest;
}

/** Gives the policy as it is now: the file is read each time, so that a change decides at once. */
export type PolicySource = () => Promise<LoadedPolicy>;

/**
 * @param path the policy file (YAML 1.2); the built-in policy holds where none is given.
 * The returned source throws POLICY_INVALID, with line and column, for a file that is missing or broken: nothing runs.
 */
export function policySource(path: string | undefined, sha256: Sha256): PolicySource {
  const loaded = (policy: Policy): LoadedPolicy => ({ policy, digest: sha256(canonicalJson(policy)) });
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

/** @throws {ConnectorError} POLICY_INVALID with the first error's line and column. */
export function parsePolicy(text: string): Policy {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, version: '1.2', uniqueKeys: true, merge: false });
  const placeOf = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const [syntax] = document.errors;
  if (syntax) throw new ConnectorError('POLICY_INVALID', syntax.message, { place: placeOf(syntax.pos[0]) });
  const parsed = policySchema.safeParse(plainValue(document));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = (issue?.path ?? []).map(String);
  const node: unknown = document.getIn(path, true);
  const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
  const offset = Array.isArray(range) && typeof range[0] === 'number' ? range[0] : 0;
  throw new ConnectorError('POLICY_INVALID', issue?.message ?? 'it does not have the form that it must have.', {
    place: { ...placeOf(offset), path: `/${path.join('/')}` },
  });
}

/** Aliases would let a small file stand for a huge one, and hide what it says. */
function plainValue(document: Document.Parsed): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw new ConnectorError('POLICY_INVALID', 'Anchors and aliases are not accepted.', { cause });
  }
}

async function readPolicy(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ConnectorError('POLICY_INVALID', 'The file cannot be read.', { cause });
  }
}
