import { z } from 'zod';

/** What the redactor looks for. Names of people and addresses are not among it: no pattern tells them from other words. */
export const PII_KINDS = ['email', 'phone', 'card', 'iban', 'ssn', 'ip'] as const;
export const SECRET_KINDS = ['jwt', 'bearer', 'cloud-key', 'private-key', 'credentials', 'secret'] as const;
export type PiiKind = (typeof PII_KINDS)[number];
export type SecretKind = (typeof SECRET_KINDS)[number];
export type Kind = PiiKind | SecretKind;
export const KINDS: readonly Kind[] = [...PII_KINDS, ...SECRET_KINDS];

/** Where in a text something was found. */
export interface Found {
  /** Offsets in UTF-16 units; `end` is the first one after it. */
  readonly start: number;
  readonly end: number;
  readonly kind: Kind;
  /** What equal values have in common, however they are written; the key of joins. */
  readonly canonical: string;
  /** Of an address: whether it is of a range that means nothing outside of its own network. */
  readonly isPrivate?: boolean;
}

const mode = z.enum(['mask', 'hash']);

/** How to redact. `mask` leaves the kind, `hash` also a keyed hash, by which equal values can be joined. */
export const redactionPolicySchema = z.strictObject({
  /** Personal data: hashed, so that a series or a line can still be followed. */
  pii: mode.default('hash'),
  /** Secrets: masked, because not even that two of them are equal is anybody's business. */
  secrets: mode.default('mask'),
  /** Addresses of private ranges (RFC 1918, RFC 4193, loopback, link-local): they may also stay. */
  privateIps: z.enum(['mask', 'hash', 'keep']).default('hash'),
  /**
   * Countries (ISO 3166) whose way of writing telephone numbers counts where nothing else tells one from other numbers,
   * and that numbers without a country belong to. Each costs time for each number in doubt.
   */
  phoneCountries: z
    .array(z.string().regex(/^[A-Z]{2}$/, 'must be two capital letters'))
    .max(5)
    .default(['US']),
});

export type RedactionPolicy = z.infer<typeof redactionPolicySchema>;

export const DEFAULT_REDACTION: RedactionPolicy = redactionPolicySchema.parse({});
