import { openBucket } from '../../activities/s3/bucket.ts';
import type { Bucket, ObjectVersion } from '../../activities/s3/bucket.ts';
import { isHeadName, parseManifestName } from '../../domain/audit-head.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { AuditFile, AuditProblem } from '../audit-verify.ts';

export interface BucketFlags {
  readonly endpoint?: string;
  readonly region: string;
  readonly retentionDays: number;
}

const DAY_MS = 86_400_000;
/** Between the clock that asked for the retention and the one that stamped the object. */
const CLOCK_TOLERANCE_MS = 3_600_000;

export interface AuditObjects {
  readonly files: AuditFile[];
  /** What the bucket itself shows, whatever the objects hold. */
  readonly problems: AuditProblem[];
}

/**
 * The audit objects below `s3://bucket/prefix`; credentials are those of the environment.
 * @throws {ConnectorError} USAGE, CONFIG_INVALID (endpoint), S3_UNAVAILABLE
 */
export async function bucketAuditFiles(url: string, flags: BucketFlags): Promise<AuditObjects> {
  const match = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(url);
  if (!match?.[1]) throw new ConnectorError('USAGE', `"${url}" is not of the form s3://bucket/prefix.`);
  const bucket = openBucket({ bucket: match[1], region: flags.region, endpoint: flags.endpoint });
  return auditFilesIn(bucket, match[2] ?? '', flags.retentionDays);
}

/**
 * The audit objects below a prefix, by version: one that has several was written over, one without retention could be.
 * @param retentionDays how long after it was written each must be kept
 * @throws {ConnectorError} S3_UNAVAILABLE
 */
export async function auditFilesIn(bucket: Bucket, folder: string, retentionDays: number): Promise<AuditObjects> {
  const prefix = folder === '' || folder.endsWith('/') ? folder : `${folder}/`;
  const byKey = new Map<string, ObjectVersion[]>();
  for await (const version of bucket.versions(prefix)) {
    if (isAuditFile(version.key)) byKey.set(version.key, [...(byKey.get(version.key) ?? []), version]);
  }
  const files: AuditFile[] = [];
  const problems: AuditProblem[] = [];
  const locks = await bucket.hasObjectLock();
  if (!locks) {
    const expected = 'Object Lock, which keeps what is written from being deleted';
    problems.push({ kind: 'unprotected', file: `s3://${bucket.name}`, expected, found: 'a bucket without it' });
  }
  for (const [key, versions] of byKey) {
    const name = `s3://${bucket.name}/${key}`;
    if (versions.length > 1) {
      const markers = versions.filter(({ deleteMarker }) => deleteMarker).length;
      const found = `${versions.length}, ${markers} of them deletions`;
      problems.push({ kind: 'replaced', file: name, expected: 'one version', found });
    }
    // Whatever came later, what was written first is the log.
    const original = versions.filter(({ deleteMarker }) => !deleteMarker).reduce(older, undefined);
    if (!original) continue;
    files.push({ name, open: () => read(bucket, original) });
    const problem = locks && (await retentionProblem(bucket, original, retentionDays));
    if (problem) problems.push({ kind: 'unprotected', file: name, ...problem });
  }
  return { files, problems };
}

function isAuditFile(key: string): boolean {
  return key.endsWith('.jsonl') || isHeadName(key) || parseManifestName(key) !== undefined;
}

function older(a: ObjectVersion | undefined, b: ObjectVersion): ObjectVersion {
  // Times are whole seconds; of two that are equal S3 lists the newer one first.
  return a && (a.modified?.getTime() ?? 0) < (b.modified?.getTime() ?? 0) ? a : b;
}

async function* read(bucket: Bucket, { key, versionId }: ObjectVersion): AsyncGenerator<Uint8Array> {
  yield* await bucket.read(key, versionId);
}

async function retentionProblem(
  bucket: Bucket,
  { key, versionId, modified }: ObjectVersion,
  days: number,
): Promise<{ readonly expected: string; readonly found: string } | undefined> {
  const kept = await bucket.retentionOf(key, versionId);
  const due = (modified?.getTime() ?? 0) + days * DAY_MS - CLOCK_TOLERANCE_MS;
  if (kept?.mode === 'COMPLIANCE' && kept.until.getTime() >= due) return undefined;
  const found = kept ? `${kept.mode} until ${kept.until.toISOString()}` : 'no retention';
  return { expected: `COMPLIANCE for ${days} days after it was written`, found };
}
