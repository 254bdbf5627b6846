import { createHash, randomUUID } from 'node:crypto';

import type {
  DeleteMarkerEntry,
  ListObjectVersionsCommandInput,
  ListObjectVersionsCommandOutput,
  ObjectVersion as ObjectVersionOutput,
  PutObjectCommandInput,
} from '@aws-sdk/client-s3';
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetBucketEncryptionCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  GetObjectRetentionCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';

import { ConnectorError } from '../../domain/errors.ts';
import { isEncryptedOrLocal } from '../../domain/encrypted-or-local.ts';
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

/** How a bucket is set up, as far as the account may read it. */
export interface BucketSetup {
  /** What new objects are kept for where whoever writes them says nothing. */
  readonly defaultRetention: string | undefined;
  readonly isVersioned: boolean;
  /** What it encrypts with where whoever writes says nothing. */
  readonly encryption: string | undefined;
}

/** Why a bucket cannot be used, in what somebody can do about it; nothing of an answer. */
export interface BucketTrouble {
  readonly why: 'credentials' | 'missing' | 'denied' | 'certificate' | 'away';
  /** The name of the error, as S3 or Node have it. */
  readonly code: string;
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

/** What there is to know of a bucket for whoever looks after it. */
export interface BucketInspection {
  /** Whether it is there and may be listed; undefined where all is well. */
  trouble(): Promise<BucketTrouble | undefined>;
  setup(): Promise<BucketSetup>;
  /**
   * Whether objects may be written below a prefix, without writing one: an upload in parts is begun and given up. Until
   * one is completed there is no object, and so nothing that a lock could keep.
   */
  mayWrite(prefix: string): Promise<boolean>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const TIMEOUT_MS = 30_000;
/** As the SDK's own agent has it. */
const MAX_SOCKETS = 50;

/** @throws {ConnectorError} CONFIG_INVALID for an endpoint without TLS; all methods throw S3_UNAVAILABLE */
export function openBucket(options: BucketOptions): Bucket & BucketInspection {
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

    async trouble() {
      try {
        await client.send(new ListObjectVersionsCommand({ Bucket: bucket, MaxKeys: 1 }));
        return undefined;
      } catch (cause) {
        return troubleOf(cause);
      }
    },

    async setup() {
      const [{ Status }, lock, encryption] = await Promise.all([
        client.send(new GetBucketVersioningCommand({ Bucket: bucket })),
        client.send(new GetObjectLockConfigurationCommand({ Bucket: bucket })).catch(none('ObjectLockConfiguration')),
        client.send(new GetBucketEncryptionCommand({ Bucket: bucket })).catch(none('ServerSideEncryption')),
      ]).catch((cause: unknown) => {
        throw refused(`Reading the set-up of bucket ${bucket}`, cause);
      });
      const { Mode, Days, Years } = lock?.ObjectLockConfiguration?.Rule?.DefaultRetention ?? {};
      const [rule] = encryption?.ServerSideEncryptionConfiguration?.Rules ?? [];
      return {
        defaultRetention: Mode && `${Mode}, ${Days === undefined ? `${Years} years` : `${Days} days`}`,
        isVersioned: Status === 'Enabled',
        encryption: rule?.ApplyServerSideEncryptionByDefault?.SSEAlgorithm,
      };
    },

    async mayWrite(prefix) {
      const upload = { Bucket: bucket, Key: `${prefix}byoc-doctor-${randomUUID()}` };
      try {
        const fields = encryption && encryptionFields(encryption);
        const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...upload, ...fields }));
        await client.send(new AbortMultipartUploadCommand({ ...upload, UploadId }));
        return true;
      } catch (cause) {
        if (troubleOf(cause).why === 'denied') return false;
        throw refused(`Asking for leave to write in bucket ${bucket}`, cause);
      }
    },

    close() {
      client.destroy();
      httpsAgent.destroy();
    },
  };
}

/** For what a bucket may lack: its errors for that are many, and all are named after what is not there. */
function none(named: string): (cause: unknown) => undefined {
  return (cause) => {
    if (cause instanceof S3ServiceException && cause.name.startsWith(named) && /NotFound/.test(cause.name)) return;
    throw cause;
  };
}

/** Names of S3's errors: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
function troubleOf(cause: unknown): BucketTrouble {
  const { name = 'unknown', code = name } = cause as { name?: string; code?: string };
  if (isNamed(cause, 'NoSuchBucket', 'NotFound')) return { why: 'missing', code: name };
  const badCredentials = [
    'InvalidAccessKeyId',
    'SignatureDoesNotMatch',
    'ExpiredToken',
    'InvalidToken',
    'RequestTimeTooSkewed',
  ];
  if (isNamed(cause, ...badCredentials)) return { why: 'credentials', code: name };
  if (name === 'CredentialsProviderError' || name === 'TokenProviderError') return { why: 'credentials', code: name };
  if (cause instanceof S3ServiceException && [401, 403].includes(cause.$metadata.httpStatusCode ?? 0)) {
    return { why: 'denied', code: name };
  }
  if (/CERT|SIGNATURE|ISSUER|ERR_TLS|ERR_SSL|EPROTO/.test(code)) return { why: 'certificate', code };
  return { why: 'away', code };
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
  if (isEncryptedOrLocal(endpoint)) return;
  throw new ConnectorError('CONFIG_INVALID', `The S3 endpoint ${JSON.stringify(endpoint)} must be an https:// URL.`);
}
