import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import { join } from 'node:path';

import { CreateBucketCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';

import type { Host } from '../host.ts';

export interface S3Service {
  /** https */
  readonly endpoint: string;
  /** PEM file of the authority that its certificate is verified against. */
  readonly caFile: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  /** A bucket with Object Lock. */
  readonly bucket: string;
}

const REGION = 'us-east-1';
const BUCKET = 'byoc-audit';

/** Starts SeaweedFS as an S3 server with one user, and makes the audit bucket. */
export async function startSeaweedFs(host: Host): Promise<S3Service> {
  const folder = host.folderOf('seaweedfs');
  await mkdir(folder, { recursive: true });
  const accessKeyId = 'byoc-dev';
  const secretAccessKey = randomBytes(24).toString('base64url');
  const sseKey = randomBytes(24).toString('base64url');
  const credentials = [{ accessKey: accessKeyId, secretKey: secretAccessKey }];
  const user = { name: accessKeyId, credentials, actions: ['Admin'] };
  const config = join(folder, 's3.json');
  await writeFile(config, JSON.stringify({ identities: [user] }), { mode: 0o600 });

  const tls = await host.tls.issue('seaweedfs', 'server');
  const { caFile } = host.tls;
  const servers = ['master', 'volume', 'filer', 's3'] as const;
  const grpcOf = { master: 'masterGrpc', volume: 'volumeGrpc', filer: 'filerGrpc', s3: 's3Grpc' } as const;
  const ports = await host.withPorts([...servers, ...Object.values(grpcOf)], (ports) =>
    host.start({
      name: 'seaweedfs',
      // Socket paths are limited to about 100 characters, so they are relative to the working directory.
      cwd: folder,
      // Without a key of its own it refuses what is to be encrypted on the server.
      env: { WEED_S3_SSE_KEY: sseKey },
      args: [
        ...['server', '-s3', `-dir=${folder}`, `-s3.config=${config}`, '-ip=127.0.0.1', '-ip.bind=127.0.0.1'],
        ...servers.flatMap((name) => [`-${name}.port=${ports[name]}`, `-${name}.port.grpc=${ports[grpcOf[name]]}`]),
        ...[`-s3.cert.file=${tls.cert}`, `-s3.key.file=${tls.key}`],
        ...['-s3.port.iceberg=0', '-s3.port.lance=0', '-filer.localSocket=filer.sock', '-s3.localSocket=s3.sock'],
        ...['-volume.max=20', '-master.volumeSizeLimitMB=64', '-volume.preStopSeconds=0'],
        // It would report to its makers otherwise.
        '-master.telemetry=false',
      ],
      healthy: () => hasBucket({ endpoint: `https://127.0.0.1:${ports.s3}`, caFile, accessKeyId, secretAccessKey }),
      // Asked to stop it takes 16 s. What it acknowledged is in its files by then.
      stopByKill: true,
      leftovers: servers.map((name) => `/tmp/seaweedfs-${name}-grpc-${ports[grpcOf[name]]}.sock`),
    }),
  );
  const endpoint = `https://127.0.0.1:${ports.s3}`;
  return { endpoint, caFile, accessKeyId, secretAccessKey, region: REGION, bucket: BUCKET };
}

/** Whether the server answers and has the audit bucket, which is made where it is missing. */
export async function hasBucket(service: Access): Promise<boolean> {
  const client = await s3ClientOf(service);
  try {
    await client.send(new HeadBucketCommand({ Bucket: BUCKET })).catch(async (error: unknown) => {
      if (!(error instanceof Error && error.name === 'NotFound')) throw error;
      await client.send(new CreateBucketCommand({ Bucket: BUCKET, ObjectLockEnabledForBucket: true }));
    });
    return true;
  } finally {
    client.destroy();
  }
}

type Access = Pick<S3Service, 'endpoint' | 'caFile' | 'accessKeyId' | 'secretAccessKey'>;

/** The plain SDK, for what the connector has no need of. Destroy it. */
export async function s3ClientOf({ endpoint, caFile, accessKeyId, secretAccessKey }: Access): Promise<S3Client> {
  const httpsAgent = new Agent({ ca: await readFile(caFile, 'utf8'), keepAlive: true });
  return new S3Client({
    endpoint,
    region: REGION,
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
    maxAttempts: 1,
    requestHandler: { httpsAgent },
  });
}
