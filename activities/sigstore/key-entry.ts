import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import { refuseDevelopmentKeys } from './development-keys.ts';
import type { TrustedKey } from './keys.ts';
import { parsePublicKeys } from './keys.ts';

const time = z.iso.datetime().transform((text) => new Date(text));

/** What is written down about a key, in Vault or in a file: its PEM, and where wanted times (RFC 3339, in UTC). */
export const keyFields = {
  pem: z.string().max(16_384),
  notBefore: time.optional(),
  notAfter: time.optional(),
  revokedAt: time.optional(),
};

type KeyFields = z.infer<z.ZodObject<typeof keyFields>>;

/**
 * Parses what is written down about a key.
 * @param schema strict, because a misspelt `revokedAt` must not leave a key in force
 * @throws {Error} whose message ends the sentence "The key … : "
 */
export function parseEntry<Entry extends KeyFields>(schema: z.ZodType<Entry>, data: unknown): Entry {
  const entry = schema.safeParse(data);
  if (entry.success) return entry.data;
  const [issue] = entry.error.issues;
  throw new Error(`${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim());
}

/**
 * The one key of an entry.
 * @param name what to call it
 * @throws {Error} whose message ends the sentence "The key … : "
 */
export function keyOf(name: string, { pem, notBefore, notAfter, revokedAt }: KeyFields): TrustedKey {
  const [key, second] = parsePem(pem, name);
  if (!key || second) throw new Error('one key an entry is expected');
  return {
    ...key,
    ...(notBefore && { notBefore }),
    ...(notAfter && { notAfter }),
    ...(revokedAt && { revokedAt }),
  };
}

function parsePem(pem: string, name: string): readonly TrustedKey[] {
  try {
    return refuseDevelopmentKeys(parsePublicKeys(pem, name));
  } catch (cause) {
    const problem = cause instanceof ConnectorError ? cause.detail.replace(/\.$/, '') : 'it cannot be read';
    throw new Error(problem, { cause });
  }
}
