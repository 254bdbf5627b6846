import { isMap, isScalar, LineCounter, parseAllDocuments, visit } from 'yaml';
import type { Document, ParsedNode, Scalar } from 'yaml';
import { ConnectorError } from '../../domain/errors.ts';
import type { Manifest } from '../../domain/wpk.ts';

/** A text with manifests, and what to call it in messages. */
export interface ManifestSource {
  readonly name: string;
  readonly text: string;
}

/**
 * Reads manifests as `helm template`, `kustomize build` and `kubectl get -o yaml` print them: YAML 1.2 (core schema)
 * with any number of documents, or JSON; the items of a `List` one by one.
 *
 * kubectl reads YAML 1.1. What the two versions read differently (`yes`, `0644`) is refused, not guessed: what is
 * signed must be what its author saw.
 * @throws {ConnectorError} MANIFEST_INVALID with the source's name, line and column
 */
export function readManifests({ name, text }: ManifestSource): Manifest[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { schema: 'core', uniqueKeys: true, merge: true, lineCounter: lines });
  if (!Array.isArray(documents)) return []; // an empty text
  return documents.flatMap((document) => readDocument(document, name, lines));
}

function readDocument(document: Document.Parsed, name: string, lines: LineCounter): Manifest[] {
  const refuse = (problem: string, offset: number): never => {
    const { line, col } = lines.linePos(offset);
    throw new ConnectorError('MANIFEST_INVALID', `${name}: ${problem}`, { place: { line, column: col } });
  };
  // A warning is a tag that is not understood; the value would not be what its author meant.
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) refuse(`${problem.message.split(/ at line \d+/)[0] ?? problem.message}.`, problem.pos[0]);
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return [];
  visit(document, {
    Scalar(_key, scalar) {
      const doubt = describeDoubt(scalar);
      if (doubt) refuse(doubt, scalar.range?.[0] ?? 0);
    },
  });
  const start = contents.range[0];
  if (!isMap(contents)) return refuse('Expected an object with apiVersion, kind and metadata.', start);
  return flattenList(toValue(document, refuse, start), (problem) => refuse(problem, start));
}

function toValue(document: Document.Parsed<ParsedNode>, refuse: (problem: string, at: number) => never, at: number) {
  try {
    return document.toJS() as Record<string, unknown>;
  } catch (error) {
    return refuse(`${error instanceof Error ? error.message : 'It cannot be read'}.`, at); // aliases without end
  }
}

/** Plain words and numbers that YAML 1.1, which kubectl speaks, takes for something else than YAML 1.2 does. */
function describeDoubt({ type, source, value }: Scalar): string | undefined {
  if (typeof value === 'number' && !Number.isFinite(value)) return 'JSON has no infinite numbers.';
  if (type !== 'PLAIN' || source === undefined) return undefined;
  if (/^(yes|no|on|off)$/i.test(source)) {
    return `"${source}" is a boolean in YAML 1.1 and a text in YAML 1.2: write true or false, or put it in quotes.`;
  }
  if (/^[-+]?(0[0-7_]+|0b[01_]+|[0-9][0-9_]*_[0-9_]*)$/.test(source)) {
    return `"${source}" is another number in YAML 1.1 than in YAML 1.2: write it in decimal, or put it in quotes.`;
  }
  return undefined;
}

function flattenList(value: Record<string, unknown>, refuse: (problem: string) => never): Manifest[] {
  const { kind, items } = value;
  if (typeof kind === 'string' && kind.endsWith('List') && Array.isArray(items)) {
    return items.flatMap((item: unknown) => {
      if (!isObject(item)) return refuse(`An item of the ${kind} is not an object.`);
      return flattenList(item, refuse);
    });
  }
  if (!isManifest(value)) return refuse('A manifest needs apiVersion, kind and metadata.name, each of them a text.');
  return [value];
}

function isManifest(value: Record<string, unknown>): value is Manifest {
  const { apiVersion, kind, metadata } = value;
  return (
    typeof apiVersion === 'string' &&
    typeof kind === 'string' &&
    isObject(metadata) &&
    typeof metadata['name'] === 'string' &&
    (metadata['namespace'] === undefined || typeof metadata['namespace'] === 'string')
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
