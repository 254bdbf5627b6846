import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { AuditLog } from '../activities/audit/log.ts';
import { openAuditLog } from '../activities/audit/log.ts';
import { createUploader } from '../activities/audit/upload.ts';
import { openBucket } from '../activities/s3/bucket.ts';
import { sha256 } from '../client/sha256.ts';
import type { AuditEvent } from '../domain/audit.ts';
import { AUDIT_RETENTION_DAYS } from '../domain/audit.ts';
import type { WorkerConfig } from './config.ts';

/** The audit log of this worker and its way into the customer's bucket. */
export interface AuditTrail extends Pick<AuditLog, 'append'> {
  /**
   * Puts what was written so far into the bucket; without a bucket there is nothing to do.
   * @throws {ConnectorError} S3_UNAVAILABLE, AUDIT_BROKEN
   */
  upload(): Promise<void>;
  /** The same without waiting; what fails is told in the log and tried again with the next package. */
  uploadLater(): void;
  close(): Promise<void>;
}

/** How long after the end of a package the rest of its entries goes to the bucket. */
const UPLOAD_AFTER_MS = 500;

const now = () => new Date();

/** Opens the trail and records that a worker began. */
export async function openAuditTrail(
  config: WorkerConfig,
  about: { version: string },
  logger: Logger,
): Promise<AuditTrail> {
  const dir = join(config.dataDir, 'audit');
  const log = await openAuditLog({ dir, chain: `${config.clusterId}.${config.writer}`, now, sha256 });
  const bucket = config.s3 && openBucket(config.s3);
  const uploader =
    bucket &&
    createUploader({
      bucket,
      prefix: `byoc/${config.clusterId}`,
      dir,
      log,
      retention: { mode: 'COMPLIANCE', days: AUDIT_RETENTION_DAYS },
      now,
      sha256,
    });

  const upload = async () => {
    const { warnings = [] } = (await uploader?.uploadPending()) ?? {};
    for (const warning of warnings) logger.warn({ alert: 'audit-unprotected' }, warning);
  };
  let waiting: NodeJS.Timeout | undefined;
  const uploadOrTell = () =>
    upload().catch((error: unknown) => {
      logger.error({ alert: 'audit-not-uploaded', err: error }, 'the audit log could not be uploaded');
    });
  // Packages that end together share an upload, and none of them waits for it.
  const uploadLater = () => {
    waiting ??= setTimeout(() => {
      waiting = undefined;
      void uploadOrTell();
    }, UPLOAD_AFTER_MS);
  };
  const record = (type: 'worker.started' | 'worker.stopped', detail: AuditEvent['detail']) =>
    log.append({
      eventId: `${type}/${randomUUID()}`,
      type,
      actor: { id: config.writer, proof: 'system' },
      outcome: 'succeeded',
      detail,
    });

  await record('worker.started', { ...about, bucket: config.s3?.bucket ?? null });
  return {
    append: (event) => log.append(event),
    upload,
    uploadLater,
    async close() {
      await record('worker.stopped', about);
      clearTimeout(waiting);
      await uploadOrTell();
      await log.close();
      bucket?.close();
    },
  };
}
