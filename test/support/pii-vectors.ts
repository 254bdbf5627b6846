import { z } from 'zod';
import type { PiiKind } from '../../domain/redact/kinds.ts';
import { PII_KINDS } from '../../domain/redact/kinds.ts';
import type { Redactor } from '../../domain/redact/redactor.ts';

const schema = z.array(
  z.object({
    full_text: z.string(),
    spans: z.array(z.object({ entity_type: z.string(), start_position: z.number(), end_position: z.number() })),
  }),
);

export type PiiVectors = z.infer<typeof schema>;

export function readPiiVectors(text: string): PiiVectors {
  return schema.parse(JSON.parse(text));
}

/** What the published texts call the kinds. */
const NAMES: Readonly<Record<PiiKind, string>> = {
  email: 'EMAIL_ADDRESS',
  phone: 'PHONE_NUMBER',
  card: 'CREDIT_CARD',
  iban: 'IBAN_CODE',
  ssn: 'US_SSN',
  ip: 'IP_ADDRESS',
};

export interface Judged {
  readonly kind: PiiKind;
  /** How many the publisher marked, and how many of those are redacted from first to last character. */
  readonly marked: number;
  readonly found: number;
  /** Redacted as this kind where the publisher marked nothing of it. */
  readonly wrong: number;
}

export function judgeVectors(vectors: PiiVectors, redactor: Redactor): Judged[] {
  const all = vectors.map(({ full_text, spans }) => ({ spans, found: redactor.find(full_text) }));
  return PII_KINDS.map((kind) => {
    let [marked, hit, wrong] = [0, 0, 0];
    for (const { spans, found } of all) {
      const ours = found.filter((one) => one.kind === kind);
      const theirs = spans.filter(({ entity_type }) => entity_type === NAMES[kind]);
      marked += theirs.length;
      hit += theirs.filter((s) => ours.some((o) => o.start <= s.start_position && o.end >= s.end_position)).length;
      wrong += ours.filter((o) => !theirs.some((s) => s.start_position < o.end && o.start < s.end_position)).length;
    }
    return { kind, marked, found: hit, wrong };
  });
}
