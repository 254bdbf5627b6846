import { z } from 'zod';

/** The workflow type that records a reading of the audit log. */
export const AUDIT_READ = 'auditRead';

const text = z.string().max(1_000);

/** What a tool says of a reading: by whom, with which command, of what, and looking for what. */
export const auditReadSchema = z.strictObject({
  reader: z.string().trim().min(1).max(256),
  command: text,
  source: text,
  filter: text,
});

export type AuditRead = z.infer<typeof auditReadSchema>;
