import { z } from 'zod';

/** What people are told of a setting: its schema says what it may be and its default, this what it is for. */
export interface SettingText {
  /** A sentence for docs/settings.md, in Markdown; links are relative to docs/. */
  readonly means: string;
  /** When it must be set, in few words; left out where it never must. */
  readonly needed?: string;
  /** What counts where it is left out, in words, for what the schema cannot say: only what has no default there. */
  readonly otherwise?: string;
}

const texts = z.registry<SettingText>();

/** Joins a schema with what is said of it. To be called last: what is derived from the result has no text. */
export function setting<S extends z.ZodType>(schema: S, text: SettingText): S {
  const own = schema.clone(); // several settings may share a schema, and none a text
  texts.add(own, text);
  return own;
}

/** @throws {Error} for a schema without a text, which is a slip of ours */
export function textOf(schema: z.ZodType): SettingText {
  const text = texts.get(schema);
  if (text === undefined) throw new Error('A setting has no text: make it with setting().');
  return text;
}

/** What the schema takes in the place of a setting that is left out; undefined where that is nothing. */
export function defaultOf(schema: z.ZodType): string | undefined {
  const { data } = schema.safeParse(undefined);
  if (data === undefined || (Array.isArray(data) && data.length === 0)) return undefined;
  return String(data);
}
