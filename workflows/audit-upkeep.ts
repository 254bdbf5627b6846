import { proxyActivities } from '@temporalio/workflow';
import type { AuditReadActivities, AuditUpkeepActivities } from '../activities/audit/upkeep.ts';
import type { AuditRead, PayloadRead, PayloadReadReceipt } from '../domain/audit-read.ts';

export interface AuditUpkeepInput {
  /** The queue of the writer whose disk the log is on. */
  readonly taskQueue: string;
}

/** Shorter than the time between two runs: a run that cannot succeed ends, and the next one begins with fresh eyes. */
function activitiesOf({ taskQueue }: AuditUpkeepInput): AuditUpkeepActivities {
  return proxyActivities<AuditUpkeepActivities>({
    taskQueue,
    scheduleToCloseTimeout: '12 minutes',
    startToCloseTimeout: '10 minutes',
    retry: { initialInterval: '2s', backoffCoefficient: 2, maximumInterval: '1 minute' },
  });
}

/** Catches up with the upload of one writer's log. */
export async function auditUpload(input: AuditUpkeepInput): ReturnType<AuditUpkeepActivities['uploadAudit']> {
  return activitiesOf(input).uploadAudit();
}

/** Removes what one writer need not keep any longer. */
export async function auditRetention(input: AuditUpkeepInput): ReturnType<AuditUpkeepActivities['removeAudit']> {
  return activitiesOf(input).removeAudit();
}

/** Records that somebody read the log. */
export async function auditRead(read: AuditRead): Promise<void> {
  const { recordAuditRead } = proxyActivities<AuditReadActivities>({ startToCloseTimeout: '10 seconds' });
  await recordAuditRead(read);
}

/** Records that somebody looks at what is encrypted in Temporal. */
export async function payloadRead(read: PayloadRead): Promise<PayloadReadReceipt | undefined> {
  const { recordPayloadRead } = proxyActivities<AuditReadActivities>({ startToCloseTimeout: '10 seconds' });
  return recordPayloadRead(read);
}
