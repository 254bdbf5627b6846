import { printable } from '../printable.ts';

/**
 * One line of a plan as people read it. `object` opens what is said of one object that stays, `create` and `delete` of one
 * that comes or goes, `refused` is what the API server
 * refuses, `context` says where a change is, `note` tells about the text itself.
 */
export interface TextLine {
  readonly kind: 'object' | 'create' | 'delete' | 'refused' | 'context' | 'remove' | 'add' | 'note';
  /** May hold anything that a package or a cluster can hold: print it with `printed` only. */
  readonly text: string;
}

const MARKS = {
  object: '~',
  create: '+',
  delete: '-',
  refused: '!',
  context: ' ',
  remove: '-',
  add: '+',
  note: '#',
} as const satisfies Record<TextLine['kind'], string>;

/** The line with its mark in the manner of a unified diff: one line, whatever control characters the text holds. */
export function printed({ kind, text }: TextLine): string {
  return `${MARKS[kind]} ${printable(text)}`.trimEnd();
}

/** Two columns deeper for each step into the object. */
export function indented(depth: number, text: string): string {
  return '  '.repeat(depth) + text;
}

/** `1 object`, `2 objects`. */
export function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? '' : 's'}`;
}
