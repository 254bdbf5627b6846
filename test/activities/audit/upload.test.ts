import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  CreateBucketCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  PutObjectRetentionCommand,
} from '@aws-sdk/client-s3';
import type { S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { isChainOf } from '../../../activities/audit/continued-log.ts';
import { endsInBucket } from '../../../activities/audit/end-in-bucket.ts';
import { createHeadKey } from '../../../activities/audit/head-key.ts';
import { openAuditLog } from '../../../activities/audit/log.ts';
import type { AuditLog } from '../../../activities/audit/log.ts';
import type { RetentionOptions, RetentionResult } from '../../../activities/audit/retention.ts';
import { removeSealedFiles } from '../../../activities/audit/retention.ts';
import { readObject } from '../../../activities/audit/sealed-objects.ts';
import type { Uploader } from '../../../activities/audit/upload.ts';
import { createUploader } from '../../../activities/audit/upload.ts';
import type { Bucket, Encryption } from '../../../activities/s3/bucket.ts';
import { openBucket } from '../../../activities/s3/bucket.ts';
import type { AuditReport } from '../../../client/audit-verify.ts';
import { localAuditFiles } from '../../../client/audit-files.ts';
import { parseHeadKeys } from '../../../client/audit-keys.ts';
import { verifyAudit } from '../../../client/audit-verify.ts';
import { auditFilesIn } from '../../../client/cli/audit-bucket.ts';
import { s3ClientOf } from '../../../dev/servers/seaweedfs.ts';
import type { Stack } from '../../../dev/stack.ts';
import type { AuditEvent } from '../../../domain/audit.ts';
import { GENESIS, rangeName } from '../../../domain/audit.ts';
import { ownStack } from '../../support/stack.ts';
import { CHAIN, eventOf, filesOf, optionsFor, sha256, withFolder } from './support.ts';

// R19, R21

let stack: Stack;
let client: S3Client;
let bucket: Bucket;

beforeAll(async () => {
  stack = await ownStack(['s3']);
  const { endpoint, region, bucket: name, caFile, ...credentials } = stack.s3;
  client = await s3ClientOf(stack.s3);
  bucket = openBucket({ bucket: name, endpoint, region, credentials, tls: { ca: caFile } });
});

afterAll(async () => {
  client.destroy();
  bucket.close();
  await stack.stop();
});

interface Setup {
  readonly dir: string;
  readonly prefix: string;
  readonly log: AuditLog;
  readonly uploader: Uploader;
  append(count: number): Promise<void>;
  /** As a new process would begin. */
  restarted(): Uploader;
}

let setups = 0;
const key = createHeadKey(randomBytes(32));

async function withUpload(use: (setup: Setup) => Promise<void>, to: Bucket = bucket): Promise<void> {
  await withFolder(async (dir) => {
    const prefix = `test-${(setups += 1)}`;
    const options = optionsFor(dir);
    const log = await openAuditLog(options);
    const retention = { mode: 'COMPLIANCE', days: 90 } as const;
    const restarted = () => createUploader({ bucket: to, prefix, dir, log, retention, now: options.now, key, sha256 });
    let n = 0;
    const append = async (count: number) => {
      await Promise.all(Array.from({ length: count }, () => log.append(eventOf(`${prefix}/${(n += 1)}`))));
    };
    try {
      await use({ dir, prefix, log, uploader: restarted(), append, restarted });
    } finally {
      await log.close();
    }
  });
}

async function verifyBucket(prefix: string, from: Bucket = bucket, retentionDays = 90): Promise<AuditReport> {
  const objects = await auditFilesIn(from, prefix, retentionDays);
  const [files, problems] = [objects.files, await objects.problems()];
  const report = await verifyAudit(files, { keys: parseHeadKeys(key.publicKeyPem, 'key') });
  return { ...report, ok: report.ok && problems.length === 0, problems: [...report.problems, ...problems] };
}

async function keysIn(prefix: string): Promise<string[]> {
  const keys = [];
  for await (const { key } of bucket.versions(`${prefix}/`)) keys.push(key);
  return keys.sort();
}

const keyOf = (prefix: string, first: number, last: number) => `${prefix}/${CHAIN}/${rangeName(first, last)}`;
const failing = (code: string) => expect.objectContaining({ code });

describe('uploading', () => {
  it('puts each entry into the bucket once, in ranges that follow each other, and verifies from there', () =>
    withUpload(async ({ prefix, uploader, append, log, restarted }) => {
      await append(20);
      expect(await uploader.uploadPending()).toMatchObject({ objects: [{ first: 1, last: 20 }], warnings: [] });
      await append(5);
      expect(await uploader.uploadPending()).toMatchObject({ objects: [{ first: 21, last: 25 }] });
      expect(await uploader.uploadPending()).toMatchObject({ objects: [], uploaded: log.head() });
      expect(await restarted().uploadPending()).toMatchObject({ objects: [], uploaded: log.head() });
      expect((await keysIn(prefix)).filter((name) => name.endsWith('.jsonl'))).toEqual([
        keyOf(prefix, 1, 20),
        keyOf(prefix, 21, 25),
      ]);
      expect(await verifyBucket(prefix)).toMatchObject({
        ok: true,
        chains: [{ entries: 25, head: log.head().hash, signed: { seq: 25, keyId: key.keyId } }],
      });
    }));

  it('goes on after a restart without what it remembered', () =>
    withUpload(async ({ dir, prefix, uploader, append, restarted }) => {
      await append(3);
      await uploader.uploadPending();
      await rm(join(dir, CHAIN, 'uploaded.json'));
      await append(2);
      expect(await restarted().uploadPending()).toMatchObject({ objects: [{ first: 4, last: 5 }] });
      expect(await verifyBucket(prefix)).toMatchObject({ ok: true });
    }));

  it('tries the same range again when the answer to its first attempt was lost', () =>
    withUpload(async ({ dir, prefix, uploader, append, log, restarted }) => {
      await append(3);
      const path = join(dir, CHAIN, 'uploaded.json');
      const uploaded = { chain: CHAIN, seq: 0, hash: GENESIS, time: '' };
      const before = { uploaded, intent: { first: 1, last: 3 } };
      await writeFile(path, JSON.stringify(before));
      await append(4);
      expect(await restarted().uploadPending()).toMatchObject({
        objects: [
          { first: 1, last: 3 },
          { first: 4, last: 7 },
        ],
      });
      expect(await uploader.uploadPending()).toMatchObject({ objects: [], uploaded: log.head() });
      expect(await verifyBucket(prefix)).toMatchObject({ ok: true });
    }));

  it('takes an object that is there already with the same content for its own', () =>
    withUpload(async ({ dir, prefix, append, restarted }) => {
      await append(3);
      const uploader = restarted();
      await uploader.uploadPending();
      await append(2);
      const lines = (await readLog(dir)).split('\n').slice(3, 5);
      await put(keyOf(prefix, 4, 5), `${lines.join('\n')}\n`);
      expect(await uploader.uploadPending()).toMatchObject({ objects: [{ first: 4, last: 5 }] });
    }));

  it('refuses to go on where the bucket holds something else', () =>
    withUpload(async ({ prefix, uploader, append }) => {
      await append(3);
      await uploader.uploadPending();
      await append(1);
      await put(keyOf(prefix, 4, 4), 'something else\n');
      await expect(uploader.uploadPending()).rejects.toEqual(failing('AUDIT_BROKEN'));
    }));

  it('notices a local log that was cut or replaced since', () =>
    withUpload(async ({ dir, prefix, uploader, append }) => {
      await append(8);
      await uploader.uploadPending();
      await withFolder(async (other) => {
        const log = await openAuditLog(optionsFor(other));
        const options = { bucket, prefix, dir: other, log, now: () => new Date(), key, sha256 };
        const late = () => createUploader({ ...options, retention: { mode: 'COMPLIANCE', days: 90 } });
        await log.append(eventOf('a'));
        await expect(late().uploadPending()).rejects.toEqual(failing('AUDIT_BROKEN'));
        for (let n = 0; n < 9; n += 1) await log.append(eventOf(`b${n}`));
        await expect(late().uploadPending()).rejects.toEqual(failing('AUDIT_BROKEN'));
        await log.close();
      });
      expect(await readLog(dir)).not.toBe('');
    }));

  it('never uploads a line that does not verify', () =>
    withUpload(async ({ dir, prefix, uploader, append }) => {
      await append(3);
      const path = await logFile(dir);
      await writeFile(path, (await readLog(dir)).replace('mallory', 'malory1'));
      await expect(uploader.uploadPending()).rejects.toEqual(failing('AUDIT_BROKEN'));
      expect(await keysIn(prefix)).toEqual([]);
    }));

  it('fails while the bucket is away, and catches up in order', () =>
    withUpload(async ({ prefix, uploader, append }) => {
      await append(3);
      await uploader.uploadPending();
      await stack.kill('seaweedfs');
      await append(3);
      await expect(uploader.uploadPending()).rejects.toEqual(failing('S3_UNAVAILABLE'));
      await stack.restart('seaweedfs');
      expect(await uploader.uploadPending()).toMatchObject({ objects: [{ first: 4, last: 6 }] });
      expect(await verifyBucket(prefix)).toMatchObject({ ok: true });
    }));
});

const DAY_MS = 86_400_000;
/**
 * Days from tomorrow on, whenever the test runs: the bucket goes by its own clock, and by that what is kept for 90 days
 * from noon of today would be kept too shortly in the afternoon.
 */
const TOMORROW = Date.now() + DAY_MS;
const dayAt = (offset: number) => new Date(TOMORROW + offset * DAY_MS).toISOString().slice(0, 10);

interface Days {
  readonly dir: string;
  readonly prefix: string;
  /** Sets the clock to noon of a day. */
  goTo(offset: number): void;
  append(...ids: string[]): Promise<void>;
  appendEvent(event: AuditEvent): Promise<unknown>;
  upload(): ReturnType<Uploader['uploadPending']>;
  remove(limits: RetentionOptions['limits']): Promise<RetentionResult>;
  reopen(): Promise<void>;
}

/** A log over several days. */
async function withDays(use: (days: Days) => Promise<void>): Promise<void> {
  await withFolder(async (dir) => {
    let day = dayAt(0);
    const prefix = `test-${(setups += 1)}`;
    const now = () => new Date(`${day}T12:00:00.000Z`);
    const common = { bucket, prefix, dir, now, sha256 };
    const open = async () => {
      const log = await openAuditLog({ dir, chain: CHAIN, now, sha256 });
      return { log, uploader: createUploader({ ...common, log, retention: { mode: 'COMPLIANCE', days: 90 }, key }) };
    };
    let current = await open();
    try {
      await use({
        dir,
        prefix,
        goTo: (offset) => (day = dayAt(offset)),
        append: async (...ids) => {
          for (const id of ids) await current.log.append(eventOf(`${prefix}/${id}`));
        },
        appendEvent: (event) => current.log.append(event),
        upload: () => current.uploader.uploadPending(),
        remove: (limits) => removeSealedFiles({ ...common, chain: CHAIN, limits }),
        async reopen() {
          await current.log.close();
          current = await open();
        },
      });
    } finally {
      await current.log.close();
    }
  });
}

const dayFilesIn = async (dir: string) => (await filesOf(dir)).filter((name) => name.endsWith('.jsonl'));

describe('a bucket in which somebody hid what was uploaded last', () => {
  it('is uploaded to all the same, by a new process too, and shows what was done', () =>
    withUpload(async ({ prefix, uploader, append, restarted }) => {
      await append(3);
      await uploader.uploadPending();
      await client.send(new DeleteObjectCommand({ Bucket: bucket.name, Key: keyOf(prefix, 1, 3) }));
      await append(2);
      expect(await restarted().uploadPending()).toMatchObject({ objects: [{ first: 4, last: 5 }] });
      const report = await verifyBucket(prefix);
      expect(report).toMatchObject({ ok: false, chains: [{ entries: 5 }] });
      expect(report.problems.map(({ kind }) => kind)).toEqual(['replaced']);
    }));

  it('shows a deletion of which nothing else is left', async () => {
    const prefix = `test-${(setups += 1)}`;
    await client.send(new DeleteObjectCommand({ Bucket: bucket.name, Key: keyOf(prefix, 1, 3) }));
    expect((await verifyBucket(prefix)).problems).toMatchObject([
      { kind: 'replaced', found: '1, 1 of them deletions' },
    ]);
  });
});

describe('what waits for the bucket', () => {
  it('is counted, before anything was uploaded and after', () =>
    withUpload(async ({ uploader, append, restarted }) => {
      await append(3);
      expect(await uploader.waiting()).toBe(3);
      await uploader.uploadPending();
      await append(2);
      expect([await uploader.waiting(), await restarted().waiting()]).toEqual([2, 2]);
    }));
});

describe('where the chains of a writer end in the bucket', () => {
  it('is told of this writer, as far as the entries go', () =>
    withUpload(async ({ prefix, uploader, append, log }) => {
      await append(3);
      await uploader.uploadPending();
      await append(2);
      await uploader.uploadPending();
      await put(`${prefix}/${CHAIN}_2/${rangeName(1, 9)}`, 'nothing of ours\n');
      await put(`${prefix}/${CHAIN}x/${rangeName(1, 9)}`, 'of another writer\n');
      const isOurs = (chain: string) => isChainOf(chain, CHAIN);
      expect(await endsInBucket({ bucket, prefix, chain: CHAIN, sha256 }, isOurs)).toEqual([log.head()]);
    }));
});

describe('a day that is over', () => {
  it('is sealed by a manifest with its numbers, its first and last entry, and a signed head', () =>
    withDays(async ({ prefix, goTo, append, upload, reopen }) => {
      await append('a', 'b', 'c');
      expect((await upload()).manifests).toEqual([]);
      goTo(1);
      await append('d');
      const { manifests } = await upload();
      expect(manifests).toMatchObject([
        {
          key: `${prefix}/${CHAIN}/${dayAt(0)}.manifest.json`,
          manifest: { day: dayAt(0), entries: 3, first: { seq: 1 }, last: { seq: 3 }, head: { head: { seq: 3 } } },
        },
      ]);
      await reopen();
      expect((await upload()).manifests).toEqual([]);
      goTo(3);
      await append('e');
      expect((await upload()).manifests).toMatchObject([
        { manifest: { day: dayAt(1), first: { seq: 4 }, entries: 1 } },
      ]);
      expect(await verifyBucket(prefix)).toMatchObject({ ok: true, manifests: 2, chains: [{ signed: { seq: 5 } }] });
    }));

  it('is sealed once, also where what was remembered of it is lost', () =>
    withDays(async ({ dir, prefix, goTo, append, upload, reopen }) => {
      await append('a');
      goTo(1);
      await append('b');
      await upload();
      await rm(join(dir, CHAIN, 'uploaded.json'));
      await reopen();
      expect((await upload()).manifests).toEqual([]);
      expect((await keysIn(prefix)).filter((name) => name.endsWith('.manifest.json'))).toHaveLength(1);
    }));
});

describe('entries that only tell of an upload', () => {
  it('wait for others, or for the end of the day', () =>
    withDays(async ({ prefix, goTo, append, appendEvent, upload }) => {
      await append('a');
      const { uploaded } = await upload();
      expect(uploaded.seq).toBe(1);
      await appendEvent({
        eventId: `audit.uploaded/${prefix}`,
        type: 'audit.uploaded',
        actor: { id: CHAIN, proof: 'system' },
        outcome: 'succeeded',
        detail: { objects: [], last: { seq: 1, hash: uploaded.hash } },
      });
      expect(await upload()).toMatchObject({ objects: [], uploaded: { seq: 1 } });
      goTo(1);
      expect(await upload()).toMatchObject({
        objects: [{ first: 2, last: 2 }],
        manifests: [{ manifest: { entries: 2 } }],
      });
    }));
});

describe('local files', () => {
  const always = { days: 0, bytes: 0 };

  it('go when they are past the limits and sealed, never the newest, and the chain goes on', () =>
    withDays(async ({ dir, prefix, goTo, append, upload, remove, reopen }) => {
      await append('a', 'b');
      goTo(1);
      await append('c');
      goTo(2);
      await append('d');
      expect((await remove(always)).removed).toEqual([]);
      await upload();
      expect((await remove({ days: 90, bytes: 1_000_000 })).removed).toEqual([]);
      const { removed } = await remove({ days: 2, bytes: 1_000_000 });
      expect(removed).toEqual([]);
      goTo(3);
      expect((await remove({ days: 2, bytes: 1_000_000 })).removed).toMatchObject([
        { why: 'age', file: { name: `${dayAt(0)}.jsonl`, first: 1, last: 2 } },
      ]);
      expect((await remove({ days: 90, bytes: 1 })).removed).toMatchObject([
        { why: 'size', file: { first: 3, last: 3 } },
      ]);
      expect(await dayFilesIn(dir)).toEqual([`${dayAt(2)}.jsonl`]);
      await reopen();
      await append('e');
      await upload();
      expect(await dayFilesIn(dir)).toEqual([`${dayAt(2)}.jsonl`, `${dayAt(3)}.jsonl`]);
      expect(await verifyAudit(await localAuditFiles([dir]), { partial: true })).toMatchObject({ ok: true });
      expect(await verifyBucket(prefix)).toMatchObject({ ok: true, chains: [{ entries: 5 }] });
    }));

  it('stay where the bucket no longer has what was uploaded', () =>
    withDays(async ({ dir, prefix, goTo, append, upload, remove }) => {
      await append('a', 'b');
      await upload();
      goTo(1);
      await append('c');
      await upload();
      await client.send(new DeleteObjectCommand({ Bucket: bucket.name, Key: keyOf(prefix, 1, 2) }));
      await expect(remove(always)).rejects.toEqual(failing('AUDIT_BROKEN'));
      expect(await dayFilesIn(dir)).toHaveLength(2);
    }));

  it('that were removed otherwise than by us keep the log from being opened', () =>
    withDays(async ({ dir, goTo, append, upload, remove, reopen }) => {
      for (const day of [0, 1, 2]) {
        goTo(day);
        await append(`a${day}`);
      }
      await upload();
      await remove({ days: 90, bytes: 1 });
      goTo(3);
      await append('b');
      const [first = ''] = await dayFilesIn(dir);
      await rm(join(dir, CHAIN, first));
      await expect(reopen()).rejects.toEqual(failing('AUDIT_BROKEN'));
    }));
});

describe('encryption on the server', () => {
  it('is asked for as it is set, and what was written can be read', async () => {
    const { endpoint, region, bucket: name, caFile, accessKeyId, secretAccessKey } = stack.s3;
    const credentials = { accessKeyId, secretAccessKey };
    const encryption = { algorithm: 'AES256' } as const;
    const encrypted = openBucket({ bucket: name, endpoint, region, credentials, encryption, tls: { ca: caFile } });
    await withUpload(async ({ prefix, uploader, append }) => {
      await append(3);
      await uploader.uploadPending();
      const head = await client.send(new HeadObjectCommand({ Bucket: name, Key: keyOf(prefix, 1, 3) }));
      expect(head.ServerSideEncryption).toBe('AES256');
      expect(await verifyBucket(prefix)).toMatchObject({ ok: true });
    }, encrypted);
    encrypted.close();
  });
});

/** An S3 server that does what no real one can be made to: it goes silent, breaks off, or shows what it was asked. */
async function withServer(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  use: (bucket: Bucket) => Promise<void>,
  encryption?: Encryption,
): Promise<void> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
  const options = { bucket: 'b', region: 'us-east-1', endpoint: `http://127.0.0.1:${port}`, credentials };
  const there = openBucket({ ...options, timeoutMs: 300, encryption });
  try {
    await use(there);
  } finally {
    there.close();
    server.closeAllConnections();
    server.close();
  }
}

async function readAllOf(from: Bucket): Promise<Buffer> {
  const chunks = [];
  for await (const chunk of from.read('key')) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('a bucket that goes silent', () => {
  it('before it answers is unavailable, and does not hold up the next upload for ever', () =>
    withServer(
      (request) => request.resume(),
      async (silent) => {
        await expect(silent.putOnce('key', Buffer.from('x'))).rejects.toEqual(failing('S3_UNAVAILABLE'));
      },
    ));

  it('within an answer is unavailable', () =>
    withServer(
      (_, response) => response.writeHead(200, { 'content-length': '10' }).write('12345'),
      async (silent) => {
        await expect(readAllOf(silent)).rejects.toEqual(failing('S3_UNAVAILABLE'));
      },
    ));

  it('or breaks off within an answer is unavailable, and what came is not taken for all', () =>
    withServer(
      (_, response) => {
        response.writeHead(200, { 'content-length': '10' }).write('12345', () => response.destroy());
      },
      async (broken) => {
        await expect(readAllOf(broken)).rejects.toEqual(failing('S3_UNAVAILABLE'));
      },
    ));
});

describe('encryption with a key of the KMS', () => {
  it.each([
    [{ algorithm: 'aws:kms', keyId: 'alias/audit' } as const, ['aws:kms', 'alias/audit']],
    [{ algorithm: 'aws:kms' } as const, ['aws:kms', undefined]],
  ])('is asked for as %j with each object', async (encryption, expected) => {
    const asked: unknown[] = [];
    await withServer(
      ({ headers }, response) => {
        const name = 'x-amz-server-side-encryption';
        asked.push([headers[name], headers[`${name}-aws-kms-key-id`]]);
        response.end();
      },
      async (encrypting) => {
        await encrypting.putOnce('key', Buffer.from('x'));
      },
      encryption,
    );
    expect(asked).toEqual([expected]);
  });
});

describe('an object under a name of ours that is larger than any that we write', () => {
  it('is not read into memory', () =>
    withServer(
      (_, response) => {
        response.writeHead(200);
        const write = () => {
          while (!response.destroyed && response.write(Buffer.alloc(1024 * 1024)));
        };
        response.on('drain', write).on('error', () => undefined);
        write();
      },
      async (endless) => {
        await expect(readObject(endless, 'key')).rejects.toEqual(failing('AUDIT_BROKEN'));
      },
    ));
});

describe('a bucket with Object Lock', () => {
  it('refuses to delete what was uploaded, to shorten its retention, and to write over it', () =>
    withUpload(async ({ prefix, uploader, append }) => {
      await append(3);
      await uploader.uploadPending();
      const key = keyOf(prefix, 1, 3);
      const object = { Bucket: bucket.name, Key: key, VersionId: await versionOf(key) };
      await expect(client.send(new DeleteObjectCommand(object))).rejects.toThrow();
      const sooner = { Mode: 'COMPLIANCE', RetainUntilDate: new Date(Date.now() + 60_000) } as const;
      await expect(client.send(new PutObjectRetentionCommand({ ...object, Retention: sooner }))).rejects.toThrow();
      expect(await bucket.putOnce(key, Buffer.from('other'))).toBe('exists');
      expect(await verifyBucket(prefix)).toMatchObject({ ok: true });
    }));

  it('shows an object that was written over or deleted as replaced, and still reads the original', () =>
    withUpload(async ({ prefix, uploader, append }) => {
      await append(3);
      await uploader.uploadPending();
      const key = keyOf(prefix, 1, 3);
      await put(key, 'rewritten\n');
      const report = await verifyBucket(prefix);
      expect(report.chains).toMatchObject([{ entries: 3 }]);
      expect(report.problems.map(({ kind }) => kind)).toEqual(['replaced']);
      await client.send(new DeleteObjectCommand({ Bucket: bucket.name, Key: key }));
      expect((await verifyBucket(prefix)).problems).toMatchObject([{ found: '3, 1 of them deletions' }]);
    }));

  it('shows an object that is kept for less than it should be', () =>
    withUpload(async ({ prefix, uploader, append }) => {
      await append(3);
      await uploader.uploadPending();
      const { problems } = await verifyBucket(prefix, bucket, 120);
      expect(problems.map(({ kind }) => kind)).toEqual(['unprotected', 'unprotected']); // the entries and their head
    }));
});

describe('a bucket without Object Lock', () => {
  it('is used with a warning, and does not verify as protected', async () => {
    const { endpoint, region, caFile, accessKeyId, secretAccessKey } = stack.s3;
    await client.send(new CreateBucketCommand({ Bucket: 'plain' }));
    const credentials = { accessKeyId, secretAccessKey };
    const plain = openBucket({ bucket: 'plain', endpoint, region, credentials, tls: { ca: caFile } });
    await withUpload(async ({ prefix, uploader, append }) => {
      await append(3);
      const result = await uploader.uploadPending();
      expect(result).toMatchObject({ objects: [{ first: 1, last: 3 }] });
      expect(result.warnings).toEqual([expect.stringContaining('no Object Lock')]);
      expect((await verifyBucket(prefix, plain)).problems).toMatchObject([{ kind: 'unprotected' }]);
    }, plain);
    plain.close();
  });
});

describe('an endpoint', () => {
  it.each(['http://s3.example.com', 'ftp://127.0.0.1', 'nonsense'])('%s is refused: no TLS', (endpoint) => {
    expect(() => openBucket({ bucket: 'b', region: 'r', endpoint })).toThrow(failing('CONFIG_INVALID'));
  });
});

async function put(key: string, body: string): Promise<void> {
  await client.send(new PutObjectCommand({ Bucket: bucket.name, Key: key, Body: body }));
}

async function versionOf(key: string): Promise<string> {
  for await (const { versionId } of bucket.versions(key)) return versionId;
  throw new Error(`${key} is not in the bucket`);
}

async function logFile(dir: string): Promise<string> {
  return join(dir, CHAIN, `${new Date().toISOString().slice(0, 10)}.jsonl`);
}

async function readLog(dir: string): Promise<string> {
  return readFile(await logFile(dir), 'utf8');
}
