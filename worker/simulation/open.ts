import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import type { Logger } from 'pino';
import type { Prometheus } from '../../activities/prometheus/client.ts';
import type { Bucket } from '../../activities/s3/bucket.ts';
import type { ApproverSource } from '../../activities/sigstore/approver-keys.ts';
import { developmentKey } from '../../activities/sigstore/development-keys.ts';
import type { KeySource } from '../../activities/sigstore/keys.ts';
import { parsePublicKeys } from '../../activities/sigstore/keys.ts';
import type { Identity } from '../../activities/vault/identity.ts';
import { NOT_SIMULATED, SIMULATION_NOTICE } from '../../domain/simulation.ts';
import type { WorkerConfig } from '../config.ts';
import { startApiServer } from './api-server/server.ts';
import { selfSigned } from './certificate.ts';
import { openFolderBucket } from './folder-bucket.ts';
import { openLocalIdentity } from './local-identity.ts';
import { madeUpMetrics } from './made-up-metrics.ts';

/** What stands in for everything outside; the connector's own code is the same. */
export interface Simulation {
  readonly kubeConfig: KubeConfig;
  readonly keys: KeySource;
  readonly approvers: ApproverSource;
  readonly bucket: Bucket;
  readonly prometheus: Prometheus;
  identity(audience: string): Identity;
  close(): Promise<void>;
}

/** Who votes with the development key of a simulation. */
const SIMULATED_APPROVER = { identity: 'bob@example.com', groups: ['sre'] } as const;

/** Where a simulation leaves what others need to find it, below the data folder. */
export function simulationFiles(dataDir: string) {
  const folder = join(dataDir, 'simulation');
  return {
    folder,
    kubeconfig: join(folder, 'kubeconfig'),
    signingKey: join(folder, 'signing-key.pem'),
    signingKeyPublic: join(folder, 'signing-key.pub'),
    approverKey: join(folder, 'approver-key.pem'),
    identityKeys: join(folder, 'jwks.json'),
    bucket: join(folder, 'bucket'),
  };
}

/** Makes what a simulated connector stands on, in this process and a folder of it, and says loudly that it did. */
export async function openSimulation({ dataDir, clusterId }: WorkerConfig, logger: Logger): Promise<Simulation> {
  const files = simulationFiles(dataDir);
  await mkdir(files.folder, { recursive: true, mode: 0o700 });
  const server = await startApiServer({ tls: await selfSigned() });
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromOptions({
    clusters: [
      { name: clusterId, server: server.url, caData: Buffer.from(server.ca).toString('base64'), skipTLSVerify: false },
    ],
    users: [{ name: clusterId, token: server.token }],
    contexts: [{ name: clusterId, cluster: clusterId, user: clusterId }],
    currentContext: clusterId,
  });
  const [signing, approving] = [developmentKey('packages'), developmentKey('votes')];
  const secret = { mode: 0o600 };
  await rm(files.kubeconfig, { force: true });
  await writeFile(files.kubeconfig, kubeConfig.exportConfig(), secret);
  await writeFile(files.signingKey, signing.privateKeyPem, secret);
  await writeFile(files.signingKeyPublic, signing.publicKeyPem);
  await writeFile(files.approverKey, approving.privateKeyPem, secret);
  const identity = await openLocalIdentity(clusterId, files.identityKeys);
  tell(logger, clusterId, files);
  const keys = parsePublicKeys(signing.publicKeyPem, 'simulated development key');
  const approvers = parsePublicKeys(approving.publicKeyPem, 'simulated development approver');
  return {
    kubeConfig,
    keys: { load: () => Promise.resolve(keys) },
    approvers: { load: () => Promise.resolve(approvers.map((key) => ({ ...key, ...SIMULATED_APPROVER }))) },
    bucket: openFolderBucket(files.bucket),
    prometheus: madeUpMetrics(),
    identity,
    close: () => server.close(),
  };
}

/** Told on stderr, once for machines and once for people. */
function tell(logger: Logger, clusterId: string, files: ReturnType<typeof simulationFiles>): void {
  const lines = [
    SIMULATION_NOTICE,
    ...NOT_SIMULATED.map((line) => `- ${line}`),
    `It is called ${clusterId}; kubeconfig and keys are in ${files.folder}.`,
  ];
  const width = Math.max(...lines.map(({ length }) => length));
  const bar = '#'.repeat(width + 4);
  process.stderr.write(`${[bar, ...lines.map((line) => `# ${line.padEnd(width)} #`), bar].join('\n')}\n`);
  logger.warn({ alert: 'simulated', notSimulated: NOT_SIMULATED }, SIMULATION_NOTICE);
}
