import { createHash } from 'node:crypto';

import type {
  DeleteMarkerEntry,
  ListObjectVersionsCommandInput,
  ListObjectVersionsCommandOutput,
  ObjectVersion as ObjectVersionOutput,
  PutObjectCommandInput,
} from '@aws-sdk/client-s3';
import {
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  GetObjectRetentionCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';

import { ConnectorError } from '../../domain/errors.ts';
import { isPrivateAddress } from '../../domain/private-address.ts';
import type { TlsSource } from '../tls/context.ts';
import { tlsContextOf } from '../tls/context.ts';
import { VerifyingHttpsAgent } from '../tls/https-agent.ts';
import { tlsTroubleIn } from '../tls/trouble.ts';

/** The one file that knows S3. */

export interface BucketOptions {
  readonly bucket: string;
  readonly region: string;
  /** Any S3 API; AWS where it is left out. Plain http is for this machine only. */
  readonly endpoint?: string | undefined;
  /** Whom to trust and who we are, towards the bucket and whoever gives out its credentials. */
  readonly tls?: TlsSource | undefined;
  /** The AWS SDK's own chain (environment, web identity, instance) where they are left out. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** How the server encrypts what is written; as the bucket is set where it is left out. */
  readonly encryption?: Encryption | undefined;
  /** How long the server may be silent, in milliseconds; 30 s where it is left out. */
  readonly timeoutMs?: number | undefined;
}

export type Encryption =
  | { readonly algorithm: 'AES256' }
  /** The account's own key where none is named. */
  | { readonly algorithm: 'aws:kms'; readonly keyId?: string | undefined };

export type LockMode = 'COMPLIANCE' | 'GOVERNANCE';

export interface Retention {
  readonly mode: LockMode;
  readonly until: Date;
}

export interface ObjectVersion {
  readonly key: string;
  readonly versionId: string;
  /** A version that says "deleted" and holds nothing. */
  readonly deleteMarker: boolean;
  readonly modified: Date | undefined;
}

export interface Bucket {
  readonly name: string;
  /** Whether the bucket can keep objects from being deleted. */
  hasObjectLock(): Promise<boolean>;
  /**
   * Writes an object that is not there yet.
   * @returns its version, or 'exists' without writing when there is one of that name
   */
  putOnce(key: string, body: Uint8Array, retention?: Retention): Promise<{ readonly versionId?: string } | 'exists'>;
  read(key: string, versionId?: string): AsyncIterable<Uint8Array>;
  /** All versions of all objects below a prefix, deleted ones too, page by page. */
  versions(prefix: string): AsyncIterable<ObjectVersion>;
  /** What the bucket says now, which is not what was asked for when the object was written. */
  retentionOf(key: string, versionId?: string): Promise<Retention | undefined>;
  close(): void;
}

const CONNECT_TIMEOUT_MS = 5_000;
const TIMEOUT_MS = 30_000;
/** As the SDK's own agent has it. */
const MAX_SOCKETS = 50;

/** @throws {ConnectorError} CONFIG_INVALID for an endpoint without TLS; all methods throw S3_UNAVAILABLE */
export function openBucket(options: BucketOptions): Bucket {
  const { bucket, region, endpoint, credentials, encryption, timeoutMs = TIMEOUT_MS } = options;
  if (endpoint !== undefined) assertPrivate(endpoint);
  const tls = tlsContextOf(options.tls);
  const httpsAgent = new VerifyingHttpsAgent(tls, { maxSockets: MAX_SOCKETS });
  const client = new S3Client({
    region,
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts: 3,
    requestHandler: {
      httpsAgent,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: timeoutMs,
      throwOnRequestTimeout: true, // else the SDK only prints a warning, and waits for ever
      socketTimeout: timeoutMs, // for an answer that begins and does not end
    },
  });
  // Before anything else, so that credentials too are asked for with what the files say now.
  const readFiles = { step: 'initialize', priority: 'high', name: 'readTlsFiles' } as const;
  client.middlewareStack.add((next) => async (args) => tls.current().then(() => next(args)), readFiles);

  return {
    name: bucket,

    async hasObjectLock() {
      try {
        const answer = await client.send(new GetObjectLockConfigurationCommand({ Bucket: bucket }));
        return answer.ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled';
      } catch (cause) {
        if (isNamed(cause, 'ObjectLockConfigurationNotFoundError')) return false;
        throw refused(`Reading the Object Lock configuration of bucket ${bucket}`, cause);
      }
    },

    async putOnce(key, body, retention) {
      const put = new PutObjectCommand({
        Bucket: bucket,
        Key: key,
        Body: body,
        ContentType: key.endsWith('.json') ? 'application/json' : 'application/x-ndjson',
        IfNoneMatch: '*',
        // Object Lock asks for a checksum, and the server refuses what was changed on its way.
        ChecksumSHA256: createHash('sha256').update(body).digest('base64'),
        ...(retention ? { ObjectLockMode: retention.mode, ObjectLockRetainUntilDate: retention.until } : {}),
        ...(encryption ? encryptionFields(encryption) : {}),
      });
      try {
        const { VersionId } = await client.send(put);
        return VersionId === undefined ? {} : { versionId: VersionId };
      } catch (cause) {
        if (isNamed(cause, 'PreconditionFailed')) return 'exists';
        throw refused(`Writing ${key} in bucket ${bucket}`, cause);
      }
    },

    async *read(key, versionId) {
      const get = new GetObjectCommand({ Bucket: bucket, Key: key, ...(versionId ? { VersionId: versionId } : {}) });
      try {
        const { Body } = await client.send(get);
        yield* (Body ?? []) as AsyncIterable<Uint8Array>; // on Node it is a Readable; the type covers browsers as well
      } catch (cause) {
        throw refused(`Reading ${key} in bucket ${bucket}`, cause);
      }
    },

    async *versions(prefix) {
      let from: { KeyMarker?: string | undefined; VersionIdMarker?: string | undefined } | undefined = {};
      while (from) {
        const input: ListObjectVersionsCommandInput = { Bucket: bucket, Prefix: prefix, ...from };
        const page: ListObjectVersionsCommandOutput = await client
          .send(new ListObjectVersionsCommand(input))
          .catch((cause: unknown) => {
            throw refused(`Listing objects in bucket ${bucket}`, cause);
          });
        yield* (page.Versions ?? []).map((version) => describeVersion(version, false));
        yield* (page.DeleteMarkers ?? []).map((marker) => describeVersion(marker, true));
        from = page.IsTruncated
          ? { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker }
          : undefined;
      }
    },

    async retentionOf(key, versionId) {
      const version = versionId ? { VersionId: versionId } : {};
      const get = new GetObjectRetentionCommand({ Bucket: bucket, Key: key, ...version });
      try {
        const { Mode, RetainUntilDate } = (await client.send(get)).Retention ?? {};
        return Mode && RetainUntilDate ? { mode: Mode, until: RetainUntilDate } : undefined;
      } catch (cause) {
        if (isNamed(cause, 'NoSuchObjectLockConfiguration', 'ObjectLockConfigurationNotFoundError')) return undefined;
        throw refused(`Reading the retention of ${key} in bucket ${bucket}`, cause);
      }
    },

    close() {
      client.destroy();
      httpsAgent.destroy();
    },
  };
}

function encryptionFields(encryption: Encryption): Pick<PutObjectCommandInput, 'ServerSideEncryption' | 'SSEKMSKeyId'> {
  const { algorithm } = encryption;
  const keyId = algorithm === 'aws:kms' ? encryption.keyId : undefined;
  return { ServerSideEncryption: algorithm, ...(keyId === undefined ? {} : { SSEKMSKeyId: keyId }) };
}

function describeVersion(from: ObjectVersionOutput | DeleteMarkerEntry, deleteMarker: boolean): ObjectVersion {
  return { key: from.Key ?? '', versionId: from.VersionId ?? '', deleteMarker, modified: from.LastModified };
}

function isNamed(error: unknown, ...names: string[]): boolean {
  return error instanceof S3ServiceException && names.includes(error.name);
}

function refused(what: string, cause: unknown): ConnectorError {
  const why = tlsTroubleIn(cause) ?? (cause instanceof Error ? cause.name : 'unknown error');
  return new ConnectorError('S3_UNAVAILABLE', `${what} failed: ${why}.`, { cause });
}

/** What is written tells who did what in the cluster; it leaves this machine encrypted or not at all. */
function assertPrivate(endpoint: string): void {
  if (isPrivateAddress(endpoint)) return;
  throw new ConnectorError('CONFIG_INVALID', `The S3 endpoint ${JSON.stringify(endpoint)} must be an https:// URL.`);
}
