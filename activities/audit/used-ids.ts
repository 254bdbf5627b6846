import { canonicalJson } from '../../domain/digest.ts';
import type { Digest } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { readObject, SealedObjects } from './sealed-objects.ts';
import type { SealedObjectsOptions } from './sealed-objects.ts';

/** The one run in which a package may be carried out. */
export interface Use {
  readonly wpkId: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly wpkDigest: Digest;
}

export interface UsedIdsOptions extends SealedObjectsOptions {
  /** Objects are `<prefix>/used/<wpkId>.json`. */
  readonly prefix: string;
}

/**
 * Which package ids were used, where neither Temporal nor the cluster can forget it. The claim in the cluster says the same
 * and is gone when etcd is restored from a backup; what is in the bucket is written once and kept longer than any package
 * is valid (90 days, against the 30 that a policy may allow at most).
 */
export class UsedIds {
  readonly #options: UsedIdsOptions;
  readonly #objects: SealedObjects;

  constructor(options: UsedIdsOptions) {
    this.#options = options;
    this.#objects = new SealedObjects(options);
  }

  /**
   * Notes, before its first write, that a run carries a package out; the same run may do so again.
   * @throws {ConnectorError} WPK_ALREADY_USED where another run did, S3_UNAVAILABLE
   */
  async use({ wpkId, workflowId, runId, wpkDigest }: Use): Promise<void> {
    const key = `${this.#options.prefix}/used/${wpkId}.json`;
    const body = Buffer.from(canonicalJson({ wpkId, workflowId, runId, wpkDigest }));
    try {
      await this.#objects.put(key, body);
    } catch (error) {
      if (error instanceof ConnectorError && error.code === 'AUDIT_BROKEN') throw used(wpkId);
      throw error;
    }
    // Behind a marker that says "deleted" the bucket takes the name again; the version that was written first counts.
    if (!body.equals(await this.#first(key))) throw used(wpkId);
  }

  async #first(key: string): Promise<Buffer> {
    const { bucket } = this.#options;
    let first: string | undefined;
    for await (const version of bucket.versions(key)) {
      if (version.key === key && !version.deleteMarker) first = version.versionId; // the oldest is listed last
    }
    return readObject(bucket, key, first);
  }
}

function used(wpkId: string): ConnectorError {
  return new ConnectorError('WPK_ALREADY_USED', `The audit bucket has ${wpkId} as carried out by another run.`);
}
