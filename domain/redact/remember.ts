/** Values come again and again in a text, and libraries take their time; a text that holds too many gets no more room. */
const REMEMBERED = 4_096;

/** The same function, which asks once for each value as long as there is room. */
export function remember<T>(answer: (value: string) => T): (value: string) => T {
  const known = new Map<string, T>();
  return (value) => {
    const before = known.get(value);
    if (before !== undefined || known.has(value)) return before as T; // as it was put there
    const found = answer(value);
    if (known.size < REMEMBERED) known.set(value, found);
    return found;
  };
}
