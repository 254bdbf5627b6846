import { ConnectorError } from '../../domain/errors.ts';
import type { Bucket, LockMode } from '../s3/bucket.ts';

const DAY_MS = 86_400_000;
/** Far more than any object that we write: a stranger's, under a name of ours, must not fill the memory. */
const MAX_READ_BYTES = 32 * 1024 * 1024;
/** Object stores keep retention in seconds. */
const RETENTION_TOLERANCE_MS = 1_000;

export interface SealedObjectsOptions {
  readonly bucket: Bucket;
  /** How the bucket is to keep each object; used where it has Object Lock. */
  readonly retention: { readonly mode: LockMode; readonly days: number };
  readonly now: () => Date;
}

/** Objects that are written once, kept for as long as the bucket can be made to, and read back after they were written. */
export class SealedObjects {
  readonly #options: SealedObjectsOptions;
  #hasLock = false;

  constructor(options: SealedObjectsOptions) {
    this.#options = options;
  }

  /** Whether the bucket keeps what is written from being deleted. Once it does there is no way back, says S3. */
  async areLocked(): Promise<boolean> {
    this.#hasLock ||= await this.#options.bucket.hasObjectLock();
    return this.#hasLock;
  }

  /**
   * @returns warnings, when what the bucket did falls short of what it was asked for
   * @throws {ConnectorError} S3_UNAVAILABLE, AUDIT_BROKEN where the bucket holds something else under that name
   */
  async put(key: string, body: Buffer): Promise<string[]> {
    const { bucket, retention, now } = this.#options;
    const locked = await this.areLocked();
    const wanted = { mode: retention.mode, until: new Date(now().getTime() + retention.days * DAY_MS) };
    const written = await bucket.putOnce(key, body, locked ? wanted : undefined);
    // An object that an earlier attempt wrote keeps the retention of that attempt.
    const isOurs = locked && written !== 'exists';
    const [found, kept] = await Promise.all([
      readObject(bucket, key),
      isOurs ? bucket.retentionOf(key, written.versionId) : undefined,
    ]);
    if (!body.equals(found)) throw new ConnectorError('AUDIT_BROKEN', `${key} in the bucket holds something else.`);
    const due = wanted.until.getTime() - RETENTION_TOLERANCE_MS;
    if (!isOurs || (kept?.mode === wanted.mode && kept.until.getTime() >= due)) return [];
    const actual = kept ? `${kept.mode} until ${kept.until.toISOString()}` : 'no retention';
    return [`${key}: asked for ${wanted.mode} until ${wanted.until.toISOString()}, the bucket keeps ${actual}.`];
  }
}

/** @throws {ConnectorError} S3_UNAVAILABLE, AUDIT_BROKEN for an object that is larger than any of ours */
export async function readObject(bucket: Bucket, key: string, versionId?: string): Promise<Buffer> {
  const chunks = [];
  let size = 0;
  for await (const chunk of bucket.read(key, versionId)) {
    size += chunk.length;
    if (size > MAX_READ_BYTES) throw new ConnectorError('AUDIT_BROKEN', `${key} in the bucket is none of our objects.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
