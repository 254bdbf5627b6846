/**
 * Characters that YAML 1.1 forbids or reads as line breaks inside a quoted text, where JSON takes them as they are.
 * The API server reads apply requests as YAML: unescaped, U+2028 in a signed manifest would arrive as a space.
 */
const NOT_IN_YAML = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;

/** The JSON text of a value, escaped so that a YAML parser reads exactly the same value. */
export function toJsonBody(value: unknown): string {
  return JSON.stringify(value).replace(NOT_IN_YAML, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
