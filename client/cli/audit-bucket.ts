import { openBucket } from '../../activities/s3/bucket.ts';
import type { Bucket, ObjectVersion } from '../../activities/s3/bucket.ts';
import { usableTlsFiles } from '../../activities/tls/usable-files.ts';
import { isHeadName, parseManifestName } from '../../domain/audit-head.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { refuseUnverified } from '../../domain/tls-settings.ts';
import type { AuditFile, AuditProblem } from '../audit-verify.ts';
import { inBatches } from '../in-batches.ts';

export interface BucketFlags {
  readonly endpoint?: string;
  readonly region: string;
  readonly retentionDays: number;
}

const DAY_MS = 86_400_000;
/** Between the clock that asked for the retention and the one that stamped the object. */
const CLOCK_TOLERANCE_MS = 3_600_000;

/** How many objects are asked for their retention at once. */
const ASKED_AT_ONCE = 16;

export interface AuditObjects {
  readonly files: AuditFile[];
  /**
   * What the bucket itself shows, whatever the objects hold: a question for each object, so only whoever verifies asks.
   * Throws S3_UNAVAILABLE.
   */
  problems(): Promise<AuditProblem[]>;
}

/**
 * The audit objects below `s3://bucket/prefix`; credentials are those of the environment.
 * @throws {ConnectorError} USAGE, CONFIG_INVALID (endpoint, files of AWS_CA_BUNDLE and the like), S3_UNAVAILABLE
 */
export async function bucketAuditFiles(url: string, flags: BucketFlags): Promise<AuditObjects> {
  const match = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(url);
  if (!match?.[1]) throw new ConnectorError('USAGE', `"${url}" is not of the form s3://bucket/prefix.`);
  refuseUnverified(process.env);
  const tls = await usableTlsFiles(process.env, 's3');
  const bucket = openBucket({ bucket: match[1], region: flags.region, endpoint: flags.endpoint, tls });
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
    if (!isAuditFile(version.key)) continue;
    const versions = byKey.get(version.key);
    if (versions) versions.push(version);
    else byKey.set(version.key, [version]);
  }
  // Whatever came later, what was written first is the log.
  const originals = [...byKey.values()].flatMap(
    (versions) => versions.filter(({ deleteMarker }) => !deleteMarker).reduce(older, undefined) ?? [],
  );
  return {
    files: originals.map(({ key, versionId }) => ({
      name: nameOf(bucket, key),
      version: versionId,
      open: () => bucket.read(key, versionId),
    })),
    problems: async () => [
      ...[...byKey].flatMap(([key, versions]) => replacement(nameOf(bucket, key), versions)),
      ...(await protectionProblems(bucket, originals, retentionDays)),
    ],
  };
}

function nameOf(bucket: Bucket, key: string): string {
  return `s3://${bucket.name}/${key}`;
}

/** One version is as it was written; anything else was tampered with, also a deletion of which nothing else is left. */
function replacement(file: string, versions: readonly ObjectVersion[]): AuditProblem[] {
  const markers = versions.filter(({ deleteMarker }) => deleteMarker).length;
  if (versions.length === 1 && markers === 0) return [];
  const found = `${versions.length}, ${markers} of them deletions`;
  return [{ kind: 'replaced', file, expected: 'one version', found }];
}

async function protectionProblems(
  bucket: Bucket,
  objects: readonly ObjectVersion[],
  days: number,
): Promise<AuditProblem[]> {
  if (!(await bucket.hasObjectLock())) {
    const expected = 'Object Lock, which keeps what is written from being deleted';
    return [{ kind: 'unprotected', file: `s3://${bucket.name}`, expected, found: 'a bucket without it' }];
  }
  const found = await inBatches(objects, ASKED_AT_ONCE, (object) => retentionProblem(bucket, object, days));
  return found.flat();
}

function isAuditFile(key: string): boolean {
  return key.endsWith('.jsonl') || isHeadName(key) || parseManifestName(key) !== undefined;
}

function older(a: ObjectVersion | undefined, b: ObjectVersion): ObjectVersion {
  // Times are whole seconds; of two that are equal S3 lists the newer one first.
  return a && (a.modified?.getTime() ?? 0) < (b.modified?.getTime() ?? 0) ? a : b;
}

async function retentionProblem(
  bucket: Bucket,
  { key, versionId, modified }: ObjectVersion,
  days: number,
): Promise<AuditProblem[]> {
  const kept = await bucket.retentionOf(key, versionId);
  const due = (modified?.getTime() ?? 0) + days * DAY_MS - CLOCK_TOLERANCE_MS;
  if (kept?.mode === 'COMPLIANCE' && kept.until.getTime() >= due) return [];
  const found = kept ? `${kept.mode} until ${kept.until.toISOString()}` : 'no retention';
  const expected = `COMPLIANCE for ${days} days after it was written`;
  return [{ kind: 'unprotected', file: nameOf(bucket, key), expected, found }];
}
