/** A copy of a JSON value with one part replaced. */
export function replaced(value: unknown, [head, ...rest]: readonly string[], replacement: unknown): unknown {
  if (head === undefined) return replacement;
  const object = value as Record<string, unknown>;
  const changed = replaced(object[head], rest, replacement);
  if (Array.isArray(object)) return object.map((member: unknown, index) => (String(index) === head ? changed : member));
  return { ...object, [head]: changed };
}
