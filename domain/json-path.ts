/**
 * The part of JSONPath (RFC 9535) that names one value: names, indexes, and filters that pick an item by a field, such as
 * `{.status.conditions[?(@.type=="Ready")].status}`. Written with or without `$`, and in braces as kubectl has it. No
 * wildcard, slice or descent: what is compared with one text has to be one value.
 */
export type JsonPath = readonly Segment[];

type Segment =
  | { readonly name: string }
  | { readonly index: number }
  | { readonly where: readonly string[]; readonly equals: string };

const NAME = String.raw`[A-Za-z_][A-Za-z0-9_-]*`;
const QUOTED = String.raw`'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"`;
const FILTER = String.raw`\[\?\(\s*@((?:\.${NAME})+)\s*==\s*(${QUOTED})\s*\)\]`;
const SEGMENT = new RegExp(String.raw`\.(${NAME})|\[(-?\d{1,9})\]|\[(${QUOTED})\]|${FILTER}`, 'y');

/** Reads a path; undefined where the text is none, or could name more than one value. */
export function parseJsonPath(text: string): JsonPath | undefined {
  const trimmed = text.trim();
  const inner = /^\{(.*)\}$/s.exec(trimmed)?.[1] ?? trimmed;
  const path = inner.trim().replace(/^\$/, '');
  const segments: Segment[] = [];
  let end = 0;
  while (end < path.length) {
    SEGMENT.lastIndex = end;
    const match = SEGMENT.exec(path);
    if (!match) return undefined;
    segments.push(segmentOf(match));
    end = SEGMENT.lastIndex;
  }
  return segments.length > 0 ? segments : undefined;
}

function segmentOf([, name, index, quoted, where, equals]: RegExpExecArray): Segment {
  if (name !== undefined) return { name };
  if (index !== undefined) return { index: Number(index) };
  if (quoted !== undefined) return { name: unquoted(quoted) };
  return { where: (where ?? '').slice(1).split('.'), equals: unquoted(equals ?? '') };
}

function unquoted(text: string): string {
  return text.slice(1, -1).replace(/\\(.)/gs, '$1');
}

/** The values that a path leads to; several where a filter takes several items. */
export function valuesAt(value: unknown, path: JsonPath): readonly unknown[] {
  return path.reduce<readonly unknown[]>((found, segment) => found.flatMap((one) => step(one, segment)), [value]);
}

function step(value: unknown, segment: Segment): readonly unknown[] {
  if ('name' in segment) return property(value, segment.name);
  if (!Array.isArray(value)) return [];
  if ('index' in segment) {
    const item: unknown = value.at(segment.index);
    return item === undefined ? [] : [item];
  }
  const { where, equals } = segment;
  return value.filter((item) => {
    const found = where.reduce<readonly unknown[]>(
      (inner, name) => inner.flatMap((one) => property(one, name)),
      [item],
    );
    return found.some((one) => typeof one !== 'object' && String(one) === equals);
  });
}

function property(value: unknown, name: string): readonly unknown[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return [];
  return [(value as Readonly<Record<string, unknown>>)[name]];
}
