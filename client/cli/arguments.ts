import { InvalidArgumentError } from 'commander';
import { AUDIT_CATALOGUE } from '../../domain/audit-catalogue.ts';
import { isDigest } from '../../domain/digest.ts';
import type { Digest } from '../../domain/digest.ts';
import { meantWord } from '../../domain/schema-sentences.ts';

/** A whole number from 0, as an argument of a command. */
export function toInteger(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new InvalidArgumentError('A whole number from 0.');
  return Number(text);
}

/** A digest as a whole: of one that is cut short nobody can say what it is of. */
export function toDigest(text: string): Digest {
  if (!isDigest(text)) throw new InvalidArgumentError('A digest: sha256: and 64 digits of 0-9 and a-f.');
  return text;
}

/** RFC 3339, with its offset: what a time without one means would depend on the machine. */
export function toInstant(text: string): Date {
  const time = new Date(text);
  if (!/^\d{4}-\d{2}-\d{2}T.*(Z|[+-]\d{2}:\d{2})$/.test(text) || Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError(
      'A date and time with its offset from UTC: 2026-12-24T18:00:00+01:00, or 2026-12-24T17:00:00Z.',
    );
  }
  return time;
}

/** A type of audit entries, or the part of it before the dot: of a word that there is not nothing would be found. */
export function toAuditType(text: string): string {
  const types = Object.keys(AUDIT_CATALOGUE);
  const known = [...types, ...new Set(types.map((type) => type.split('.')[0] ?? ''))];
  if (known.includes(text)) return text;
  const near = meantWord(text, known) ?? meantWord(text, types, 3);
  // Another word for the same thing is further away than that: the rest of its group helps then.
  const [group = ''] = text.split('.');
  const meant = near === undefined ? '' : ` Did you mean ${near}?`;
  const others = types.filter((type) => type.startsWith(`${group}.`));
  const list = others.length > 0 ? ` Of ${group} there are: ${others.join(', ')}.` : ' See docs/audit.md.';
  throw new InvalidArgumentError(`There are no entries of this type.${meant}${list}`);
}
