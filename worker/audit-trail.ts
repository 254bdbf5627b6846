import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isChainOf, openContinuedLog } from '../activities/audit/continued-log.ts';
import { endsInBucket } from '../activities/audit/end-in-bucket.ts';
import { createHeadKey } from '../activities/audit/head-key.ts';
import type { AuditLog } from '../activities/audit/log.ts';
import type { RetentionResult } from '../activities/audit/retention.ts';
import { removeSealedFiles } from '../activities/audit/retention.ts';
import type { UploadResult } from '../activities/audit/upload.ts';
import { createUploader } from '../activities/audit/upload.ts';
import { readProgress } from '../activities/audit/upload-progress.ts';
import type { Use } from '../activities/audit/used-ids.ts';
import { UsedIds } from '../activities/audit/used-ids.ts';
import type { KubeApi } from '../activities/kubernetes/kube-api.ts';
import type { HeadLease, HeadLeases } from '../activities/kubernetes/writer.ts';
import { createHeadLeases, sharedKey } from '../activities/kubernetes/writer.ts';
import type { Admission } from '../activities/package/admission.ts';
import { freeTextFilter } from '../activities/audit/free-text.ts';
import type { Bucket } from '../activities/s3/bucket.ts';
import { checkHead, parseHeadKeys } from '../client/audit-keys.ts';
import { sha256 } from '../client/sha256.ts';
import type { AuditEvent, AuditHead } from '../domain/audit.ts';
import { AUDIT_RETENTION_DAYS, dayOf } from '../domain/audit.ts';
import type { HeadKey } from '../domain/audit-head.ts';
import { parseSignedHead } from '../domain/audit-head.ts';
import { canonicalJson } from '../domain/digest.ts';
import { ConnectorError } from '../domain/errors.ts';
import { chainOf, leaseNameOf } from '../domain/names.ts';
import type { Alerts } from './alerts.ts';
import { publishHeads } from './audit-heads.ts';
import { describeUpload, UploadOutage } from './audit-outage.ts';
import type { Record } from './audit-watch.ts';
import { onceId } from './audit-watch.ts';
import type { WorkerConfig } from './config.ts';

/** The audit log of this worker and its way into the customer's bucket. */
export interface AuditTrail extends Pick<AuditLog, 'append'> {
  /** What heads are signed with, PEM. */
  readonly publicKeyPem: string;
  /** Signs what this cluster says of itself elsewhere; each kind of text begins with a context of its own. */
  readonly sign: HeadKey['sign'];
  readonly record: Record;
  readonly leases: HeadLeases;
  /** An admission that also asks what the policy wants of the log. It throws POLICY_DENIED, S3_UNAVAILABLE too. */
  guard(admit: Admission): Admission;
  /**
   * To be called before the first write of a package: puts what was written so far into the bucket, where there is one,
   * and makes sure that the disk has room for what the package will have to record.
   * @throws {ConnectorError} AUDIT_UNAVAILABLE, S3_UNAVAILABLE, AUDIT_BROKEN
   */
  secure(): Promise<void>;
  /**
   * To be called at the same time: notes in the bucket, where there is one, which run the package is carried out by.
   * @throws {ConnectorError} WPK_ALREADY_USED, S3_UNAVAILABLE
   */
  useOnce(use: Use): Promise<void>;
  /** Whether the disk has room for what a package will have to record. */
  hasRoom(): Promise<boolean>;
  upload(): Promise<Pick<UploadResult, 'objects' | 'manifests'>>;
  /** The same without waiting; what fails is told in the log and tried again later. */
  uploadLater(): void;
  removeFiles(): Promise<RetentionResult>;
  /** How it stands, as far as is known here: nothing is asked. */
  state(): AuditState;
  close(): Promise<void>;
}

export interface AuditState {
  /** The last durable entry. */
  readonly head: AuditHead;
  /** Whether the last entry could be written. */
  readonly isWritten: boolean;
  /** Absent where no bucket is set. */
  readonly bucket?: {
    /** The last entry that is in the bucket, and how many are not. */
    readonly uploadedSeq: number;
    readonly waiting: number;
    readonly failingSince?: string;
    readonly code?: string;
    /** Whether the log cannot be deleted there; null where that could not be asked. */
    readonly objectLock: boolean | null;
  };
}

/** Hears of each entry: what there is to count and to be told is in the log. */
export interface AuditWatcher {
  onRecorded(event: AuditEvent): void;
  onUnrecorded(event: AuditEvent): void;
}

export interface AuditTrailOptions {
  readonly config: WorkerConfig;
  readonly version: string;
  /** With the rights for the state namespace. */
  readonly api: KubeApi;
  /** Where the log is uploaded to; closed with the trail. */
  readonly bucket: Bucket | undefined;
  readonly watchers: readonly AuditWatcher[];
  /** For what the log cannot tell, because it is about the log. */
  readonly raise: Alerts['raise'];
  readonly logger: Logger;
}

/** The Secret with the key that heads are signed with. */
const HEAD_KEY = 'byoc-audit-key';
/** How long after the end of a package the rest of its entries goes to the bucket. */
const UPLOAD_AFTER_MS = 500;
/** How long a process that ends waits for the bucket: what is not there yet goes there when the next one begins. */
const CLOSE_UPLOAD_WITHIN_MS = 10_000;
/** Room that a package must find on the disk before it is begun: far more than any package records. */
const ROOM_BYTES = 4 * 1024 * 1024;

const now = () => new Date();

/** Opens the trail and records that a worker began. */
export async function openAuditTrail(options: AuditTrailOptions): Promise<AuditTrail> {
  const { config, version, api, bucket, watchers, raise, logger } = options;
  const { clusterId, writer } = config;
  const dir = join(config.dataDir, 'audit');
  const key = createHeadKey(await sharedKey(api, HEAD_KEY, config.stateNamespace));
  const leases = createHeadLeases(api, config.headsNamespace);
  const lease = { name: leaseNameOf(clusterId, writer), clusterId, holder: writer, roles: config.roles };
  const base = chainOf(clusterId, writer);
  const published = headIn(await leases.read(lease.name), { key, base, logger });
  const elsewhere = async () => {
    if (!bucket) return [];
    const source = { bucket, prefix: prefixOf(config), chain: base, sha256 };
    try {
      return await endsInBucket(source, (chain) => isChainOf(chain, base));
    } catch (err) {
      const alert = 'audit-head-unknown';
      logger.warn({ alert, err }, 'the bucket cannot be asked where the audit log ended; the disk is believed');
      return [];
    }
  };
  const { log, lost } = await openContinuedLog({ dir, chain: base, now, sha256 }, published, elsewhere);
  const { chain } = log.head();

  const withoutPersonal = freeTextFilter(sha256);
  let failing = false;
  const append: AuditLog['append'] = async (event) => {
    const before = log.head().seq;
    try {
      const receipt = await log.append(await withoutPersonal(event));
      // Not for one that was written before.
      if (receipt.seq > before) for (const watcher of watchers) watcher.onRecorded(event);
      if (failing) logger.info('the audit log is written again');
      failing = false;
      return receipt;
    } catch (error) {
      for (const watcher of watchers) watcher.onUnrecorded(event);
      if (!failing) logger.error({ alert: 'audit-unavailable', err: error }, 'the audit log cannot be written');
      failing = true;
      throw error;
    }
  };
  const record: Record = async (type, detail, more = {}) => {
    const actor = { id: writer, proof: 'system' } as const;
    await append({ eventId: onceId(type), type, actor, outcome: 'succeeded', detail, ...more });
  };

  const store = bucket && openStore(bucket, { config, dir, log, key });
  const outage = new UploadOutage(config.audit.uploadAlertAfterMs);
  let uploadedSeq = (await readProgress(join(dir, chain), chain)).uploaded.seq;

  const tellBroken = (err: unknown) => {
    if (!(err instanceof ConnectorError && err.code === 'AUDIT_BROKEN')) return;
    logger.error({ alert: 'audit-broken', err }, 'the audit log and the bucket contradict each other');
    raise('audit-broken', dayOf(now().toISOString())); // a log that contradicts its bucket is no witness of that
  };
  const upload = async () => {
    if (!store) return { objects: [], manifests: [] };
    try {
      const result = await store.uploader.uploadPending();
      outage.over();
      uploadedSeq = result.uploaded.seq;
      for (const warning of result.warnings) logger.warn({ alert: 'audit-unprotected' }, warning);
      for (const { type, detail, eventId } of describeUpload(chain, result)) await record(type, detail, { eventId });
      return result;
    } catch (error) {
      tellBroken(error);
      const late = outage.failed(error, await store.uploader.waiting());
      if (late) {
        logger.error({ alert: 'audit-not-uploaded', ...late, err: error }, 'the audit log has waited too long for S3');
        await record('audit.upload-late', late, { outcome: 'failed' });
      }
      throw error;
    }
  };
  let waiting: NodeJS.Timeout | undefined;
  const uploadOrTell = () =>
    upload().catch((error: unknown) => {
      logger.error({ err: error }, 'the audit log could not be uploaded, and is tried again');
    });

  const objectLock = await tellProtection(bucket, logger);
  if (lost) {
    logger.error({ alert: 'audit-lost', ...lost, chain }, 'the disk lost the end of the audit log; a new chain begins');
    const found = { seq: lost.found.seq, hash: lost.found.hash };
    await record('audit.chain-begun', { after: lost.after, found }, { outcome: 'failed' });
  }
  await record('worker.started', {
    version,
    bucket: bucket?.name ?? null,
    objectLock,
    headKey: key.keyId,
    settings: sha256(canonicalJson(withoutSecrets(config))),
  });
  await record('secret.read', { store: 'kubernetes', paths: [`${config.stateNamespace}/${HEAD_KEY}`] });
  const heads = publishHeads({ log, key, leases, lease, logger });

  return {
    publicKeyPem: key.publicKeyPem,
    sign: key.sign,
    append,
    record,
    leases,
    upload,
    guard: (admit) => async (signed, options) => {
      const admitted = await admit(signed, options);
      if (admitted.policy.policy.audit.requireObjectLock && !(await bucket?.hasObjectLock())) {
        throw new ConnectorError('POLICY_DENIED', 'The policy wants an audit bucket with Object Lock.');
      }
      return admitted;
    },
    hasRoom: async () => (await freeBytes(dir)) >= ROOM_BYTES,
    async secure() {
      const free = await freeBytes(dir);
      if (free < ROOM_BYTES) {
        logger.error({ alert: 'audit-unavailable', freeBytes: free }, 'the disk of the audit log is full');
        throw new ConnectorError('AUDIT_UNAVAILABLE', `Less than ${ROOM_BYTES} bytes are free.`);
      }
      await upload();
    },
    async useOnce(use) {
      await store?.usedIds.use(use);
    },
    // Packages that end together share an upload, and none of them waits for it.
    uploadLater() {
      waiting ??= setTimeout(() => {
        waiting = undefined;
        void uploadOrTell();
      }, UPLOAD_AFTER_MS);
    },
    async removeFiles() {
      const removing = store?.removeFiles().catch((error: unknown) => {
        tellBroken(error);
        throw error;
      });
      const result = (await removing) ?? { removed: [], keptBytes: 0 };
      for (const why of ['age', 'size'] as const) {
        const files = result.removed.filter((one) => one.why === why).map(({ file }) => file);
        if (files.length > 0) await record('audit.files-removed', { why, files });
      }
      if (result.keptBytes > config.audit.localBytes) {
        logger.warn({ alert: 'audit-disk', keptBytes: result.keptBytes }, 'the audit log takes more disk than it may');
      }
      return result;
    },
    state() {
      const head = log.head();
      const waiting = head.seq - uploadedSeq;
      return {
        head,
        isWritten: !failing,
        ...(bucket && { bucket: { uploadedSeq, waiting, objectLock, ...outage.current } }),
      };
    },
    async close() {
      clearTimeout(waiting);
      // Whatever refuses, the disk or the bucket, keeps nothing of the rest from being done: the head, the lock.
      await record('worker.stopped', { version }).catch(() => undefined); // told where it failed
      await Promise.race([uploadOrTell(), sleep(CLOSE_UPLOAD_WITHIN_MS, undefined, { ref: false })]);
      await heads.close();
      await log.close();
      bucket?.close();
    },
  };
}

async function freeBytes(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

interface Expected {
  readonly key: HeadKey;
  /** The chain that this writer began with. */
  readonly base: string;
  readonly logger: Logger;
}

/** Where this writer's chain was last said to end; what its own key did not sign, or of another chain, is nobody's word. */
function headIn(lease: HeadLease | undefined, { key, base, logger }: Expected): AuditHead | undefined {
  if (!lease) return undefined;
  const signed = parseSignedHead(lease.head);
  const isSigned = signed && checkHead(signed, parseHeadKeys(key.publicKeyPem, 'the audit key')) === 'good';
  if (isSigned && isChainOf(signed.head.chain, base)) return signed.head;
  const found = isSigned ? `one of ${signed.head.chain}` : 'none that our key signed';
  logger.error(
    { alert: 'audit-head-forged', lease: lease.name, found },
    'the Lease holds no audit head of this writer',
  );
  return undefined;
}

export function prefixOf({ clusterId }: Pick<WorkerConfig, 'clusterId'>): string {
  return `byoc/${clusterId}`;
}

interface StoreOptions {
  readonly config: WorkerConfig;
  readonly dir: string;
  readonly log: AuditLog;
  readonly key: HeadKey;
}

function openStore(bucket: Bucket, { config, dir, log, key }: StoreOptions) {
  const common = { bucket, prefix: prefixOf(config), dir, now, sha256 };
  const retention = { mode: 'COMPLIANCE', days: AUDIT_RETENTION_DAYS } as const;
  const limits = { days: config.audit.localDays, bytes: config.audit.localBytes };
  const { chain } = log.head();
  return {
    uploader: createUploader({ ...common, log, key, retention }),
    usedIds: new UsedIds({ ...common, retention }),
    removeFiles: () => removeSealedFiles({ ...common, chain, limits }),
  };
}

/** @returns whether the log cannot be deleted where it is kept; null where that is not known */
async function tellProtection(bucket: Bucket | undefined, logger: Logger): Promise<boolean | null> {
  const unprotected = { alert: 'audit-unprotected' };
  if (!bucket) {
    logger.warn(unprotected, 'No S3_BUCKET is set: the audit log is on this disk alone and can be deleted.');
    return false;
  }
  try {
    const isLocked = await bucket.hasObjectLock();
    if (!isLocked) logger.warn(unprotected, `Bucket ${bucket.name} has no Object Lock: its audit log can be deleted.`);
    return isLocked;
  } catch (error) {
    logger.warn({ ...unprotected, err: error }, `Bucket ${bucket.name} cannot be asked for its Object Lock.`);
    return null;
  }
}

function withoutSecrets({ vault, registrationVault, metricsVault, metrics, ...config }: WorkerConfig): unknown {
  const told = (one: WorkerConfig['vault']) => one && { address: one.address, auth: one.auth.method };
  const plain = {
    ...config,
    vault: told(vault),
    registrationVault: told(registrationVault),
    metricsVault: told(metricsVault),
    metrics: metrics && {
      ...metrics,
      prometheus: { ...metrics.prometheus, auth: metrics.prometheus.auth.method },
    },
  };
  return JSON.parse(JSON.stringify(plain)); // without what is undefined
}
