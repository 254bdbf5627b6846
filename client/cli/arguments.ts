import { InvalidArgumentError } from 'commander';

/** A whole number from 0, as an argument of a command. */
export function toInteger(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError('A whole number from 0.');
  return Number(text);
}
