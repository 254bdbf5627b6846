import type { Document, Node } from 'yaml';
import { isAlias, isCollection, isMap, isNode, isScalar, LineCounter, parseDocument, visit } from 'yaml';
import type { Place } from '../../domain/errors.ts';
import { toPointer } from '../../domain/json-pointer.ts';
import { toSentence } from '../../domain/schema-sentences.ts';

/** A policy file as YAML (1.2) reads it, with the places of everything in it. */
export interface PolicyYaml {
  readonly value: unknown;
  /** What is wrong with the text itself; the value says nothing then. */
  readonly problems: readonly { readonly sentence: string; readonly place: Place }[];
  /**
   * Where something is, or the nearest thing around it that is there.
   * @param part whether its key is meant, or its value
   */
  placeOf(path: readonly PropertyKey[], part: 'key' | 'value'): Place;
}

export function readPolicyYaml(text: string): PolicyYaml {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, version: '1.2', prettyErrors: false });
  const placeAt = (offset: number): Place => {
    const { line, col } = lineCounter.linePos(offset);
    return { line, column: col };
  };
  // A tag that YAML does not know is only a warning to the parser; here nothing may mean something else than it seems.
  const problems = [...document.errors, ...document.warnings].map(({ code, message, pos: [offset] }) => ({
    sentence: code === 'MULTIPLE_DOCS' ? 'Another document begins here; a policy is one.' : toSentence(message),
    place: placeAt(offset),
  }));
  if (document.directives.yaml.version !== '1.2') {
    problems.push({
      sentence: 'YAML 1.2 only: 1.1 reads `on`, `22:00` and dates as something else.',
      place: placeAt(0),
    });
  }
  // Aliases would let a small file stand for a huge one, and hide what it says.
  visit(document, {
    Alias: (_, { range }) => {
      problems.push({ sentence: 'Aliases are not accepted.', place: placeAt(range?.[0] ?? 0) });
    },
  });
  return {
    value: problems.length > 0 ? undefined : document.toJS(),
    problems,
    placeOf: (path, part) => ({ ...placeAt(offsetOf(document, path, part)), path: toPointer(path) }),
  };
}

function offsetOf(document: Document.Parsed, path: readonly PropertyKey[], part: 'key' | 'value'): number {
  let node: Node | null = document.contents;
  let offset = node?.range?.[0] ?? 0;
  for (const [depth, key] of path.entries()) {
    if (!isCollection(node) || isAlias(node)) break;
    const isLast = depth === path.length - 1;
    const inner: unknown = isLast && part === 'key' && isMap(node) ? keyNode(node, key) : node.get(key, true);
    if (!isNode(inner)) break;
    node = inner;
    offset = node.range?.[0] ?? offset;
  }
  return offset;
}

function keyNode(map: { readonly items: readonly { readonly key: unknown }[] }, key: PropertyKey): unknown {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(key))?.key;
}
