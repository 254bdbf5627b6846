import type { AuditRead, PayloadRead, PayloadReadReceipt } from '../../domain/audit-read.ts';

/** What is done for one writer's log in the background, each by the process that has the log on its disk. */
export interface AuditUpkeepActivities {
  /** Puts what is not there yet into the bucket, and the manifests of days that are over. */
  uploadAudit(): Promise<{ readonly objects: number; readonly days: readonly string[] }>;
  /** Removes local files that the bucket has and that are past the limits. */
  removeAudit(): Promise<{ readonly files: readonly string[]; readonly keptBytes: number }>;
}

/** Records that somebody read the log, as the tool that they used says. Any worker can: it is about the cluster's log. */
export interface AuditReadActivities {
  recordAuditRead(read: AuditRead): Promise<void>;
  /** @returns where the reading has a nonce, that it is recorded, for whoever asked */
  recordPayloadRead(read: PayloadRead): Promise<PayloadReadReceipt | undefined>;
}
