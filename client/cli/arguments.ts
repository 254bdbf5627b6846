import { InvalidArgumentError } from 'commander';

/** A whole number from 0, as an argument of a command. */
export function toInteger(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError('A whole number from 0.');
  return Number(text);
}

/** RFC 3339, with its offset: what a time without one means would depend on the machine. */
export function toInstant(text: string): Date {
  const time = new Date(text);
  if (!/^\d{4}-\d{2}-\d{2}T.*(Z|[+-]\d{2}:\d{2})$/.test(text) || Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError('A time with its offset, such as 2026-12-24T18:00:00+01:00.');
  }
  return time;
}
