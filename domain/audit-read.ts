import { z } from 'zod';

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
export const payloadReadSchema = z.strictObject({ reader, namespace: text });

export type PayloadRead = z.infer<typeof payloadReadSchema>;
