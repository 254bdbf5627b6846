import { z } from 'zod';
import { canonicalJson } from './digest.ts';
import { PAYLOAD_KEY_NAME } from './payload-key.ts';

/** The workflow type that records a reading of the audit log. */
export const AUDIT_READ = 'auditRead';

/** The workflow type that records that somebody looks at what is encrypted in Temporal. */
export const PAYLOAD_READ = 'payloadRead';

const text = z.string().max(1_000);
const reader = z.string().trim().min(1).max(600);

/** What a tool says of a reading: by whom, with which command, of what, and looking for what. */
export const auditReadSchema = z.strictObject({
  reader: z.string().trim().min(1).max(256),
  command: text,
  source: text,
  filter: text,
});

export type AuditRead = z.infer<typeof auditReadSchema>;

/** What the codec server says of a reading: by whom, and in which Temporal namespace. */
export const payloadReadSchema = z.strictObject({
  reader,
  namespace: text,
  /** Chosen at random by who asks for a receipt, so that none of an earlier reading is one for this. */
  nonce: z
    .string()
    .regex(/^[\w-]{22,64}$/)
    .optional(),
});

export type PayloadRead = z.infer<typeof payloadReadSchema>;

/**
 * That a reading is in the audit log, in the word of a worker of the cluster. It comes back through Temporal, where anybody
 * could answer instead: so it is made with a payload key, which the worker and the codec server have and Temporal has not.
 */
export const payloadReadReceiptSchema = z.strictObject({
  /** Name of the payload key. */
  key: z.string().regex(PAYLOAD_KEY_NAME),
  /** HMAC-SHA-256 (RFC 2104) over `payloadReadText`, base64. */
  mac: z.base64().max(64),
});

export type PayloadReadReceipt = Readonly<z.infer<typeof payloadReadReceiptSchema>>;

/** What the receipt is made over: the context, then the RFC 8785 form of the cluster's id and the reading. */
export function payloadReadText(clusterId: string, read: PayloadRead): string {
  return 'neuralops.io/payload-read-receipt/v1\n' + canonicalJson({ clusterId, ...read });
}
