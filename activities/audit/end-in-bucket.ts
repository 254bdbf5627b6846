import type { EntryLink } from '../../domain/audit-chain.ts';
import { checkLine } from '../../domain/audit-chain.ts';
import type { AuditHead } from '../../domain/audit.ts';
import { AUDIT_MAX_LINE_BYTES, parseRangeName } from '../../domain/audit.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { LineSplitter } from '../../domain/line-splitter.ts';
import type { Bucket } from '../s3/bucket.ts';
import { readObject } from './sealed-objects.ts';

/** One version of an object. */
export interface Version {
  readonly key: string;
  readonly versionId: string;
}

interface Source {
  readonly bucket: Bucket;
  readonly sha256: Sha256;
}

/**
 * The last entry of a range of entries in the bucket; undefined where its last line is none.
 * @throws {ConnectorError} S3_UNAVAILABLE, AUDIT_BROKEN (too large)
 */
export async function readLastEntry(
  { bucket, sha256 }: Source,
  { key, versionId }: Version,
): Promise<{ readonly entry: EntryLink; readonly hash: Digest } | undefined> {
  const splitter = new LineSplitter(AUDIT_MAX_LINE_BYTES);
  const line = splitter.push(await readObject(bucket, key, versionId)).at(-1);
  const checked = line && checkLine(line.bytes, sha256);
  return checked?.ok ? checked : undefined;
}

/**
 * Where the chains of one writer end in the bucket. Nobody signed for that: it is good for choosing a chain that is not
 * there yet, and for nothing else.
 * @param isOurs whether a chain is one of this writer's
 * @throws {ConnectorError} as `readLastEntry`
 */
export async function endsInBucket(
  source: Source & { readonly prefix: string; readonly chain: string },
  isOurs: (chain: string) => boolean,
): Promise<AuditHead[]> {
  const newest = new Map<string, Version & { readonly last: number }>();
  for await (const { key, versionId, deleteMarker } of source.bucket.versions(`${source.prefix}/${source.chain}`)) {
    const range = parseRangeName(key);
    const chain = key.slice(source.prefix.length + 1, key.lastIndexOf('/'));
    if (deleteMarker || !range || !isOurs(chain)) continue;
    if (range.last >= (newest.get(chain)?.last ?? 0)) newest.set(chain, { key, versionId, last: range.last });
  }
  const ends: AuditHead[] = [];
  for (const [chain, version] of newest) {
    const found = await readLastEntry(source, version);
    if (found?.entry.chain === chain) ends.push({ chain, seq: found.entry.seq, hash: found.hash });
  }
  return ends;
}
