import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pair, YAMLMap } from 'yaml';
import { isMap, isScalar, parseDocument } from 'yaml';

export const CHART = join(import.meta.dirname, '..', '..', 'helm', 'connector');

/** A value of the chart, as the comment above it describes it. */
export interface Value {
  /** `image.tag`. */
  readonly path: string;
  readonly description: string;
  readonly preset: unknown;
  /** What `@schema` says besides what the preset tells. */
  readonly schema: Readonly<Record<string, unknown>>;
}

/**
 * Reads values.yaml with its comments. A value with a comment that begins with `--` is one for users; a map without one is
 * only a group of them.
 * @throws {Error} where a value has no description
 */
export async function readValues(): Promise<readonly Value[]> {
  const document = parseDocument(await readFile(join(CHART, 'values.yaml'), 'utf8'));
  if (document.errors[0]) throw document.errors[0];
  if (!isMap(document.contents)) throw new Error('values.yaml is no map');
  return valuesIn(document.contents, [], (node) => node.toJS(document));
}

type ToJs = (node: { toJS(document: unknown): unknown }) => unknown;

function valuesIn(map: YAMLMap, above: readonly string[], toJs: ToJs): Value[] {
  return (map.items as Pair[]).flatMap((pair, index) => {
    if (!isScalar(pair.key)) throw new Error(`A key below ${above.join('.')} is no text.`);
    const path = [...above, String(pair.key.value)];
    // The parser gives what stands before the first key of a map to the map.
    const comment = (index === 0 && above.length > 0 ? map.commentBefore : pair.key.commentBefore) ?? '';
    const described = describe(comment, path.join('.'));
    if (described) return [{ path: path.join('.'), ...described, preset: toJs(pair.value as never) }];
    if (isMap(pair.value) && pair.value.items.length > 0) return valuesIn(pair.value, path, toJs);
    throw new Error(`values.yaml does not say what ${path.join('.')} is.`);
  });
}

function describe(comment: string, path: string): Pick<Value, 'description' | 'schema'> | undefined {
  const lines = comment.split('\n').map((line) => line.trim());
  const first = lines.findLastIndex((line) => line.startsWith('-- '));
  if (first < 0) return undefined;
  const told = lines.slice(first);
  const schema = told.find((line) => line.startsWith('@schema '));
  const text = told.filter((line) => !line.startsWith('@schema ') && line !== '').join(' ');
  try {
    return { description: text.slice(3), schema: schema ? (JSON.parse(schema.slice(8)) as Value['schema']) : {} };
  } catch (cause) {
    throw new Error(`The @schema of ${path} is no JSON.`, { cause });
  }
}
