import { join } from 'node:path';
import { stringify } from 'yaml';
import { ConnectorClient } from '../client/connector-client.ts';
import type { PreparedConnector } from '../dev/connector.ts';
import type { ConnectorServices } from '../dev/environment.ts';
import { prepareConnector, startWorker } from '../dev/connector.ts';
import type { Stack } from '../dev/stack.ts';
import { WPK_API_VERSION } from '../domain/wpk.ts';
import { readConfig } from '../worker/config.ts';
import { createConnector } from '../worker/connector.ts';
import { createLogger, installTemporalLogger } from '../worker/logging.ts';
import { RUNTIME } from './roles.ts';
import type { Change } from './changes.ts';
import { PLAYBOOK } from './changes.ts';

/** A connector at work and a client to submit to it. */
export interface RunningConnector {
  readonly client: ConnectorClient;
  readonly clusterId: string;
  readonly privateKeyPem: string;
  /** Of the worker, where that is a process of its own. */
  readonly pid?: number | undefined;
  stop(): Promise<void>;
}

export interface ConnectorRequest {
  readonly stack: ConnectorServices & Pick<Stack, 'stateDir'>;
  readonly clusterId: string;
  /** What runs without a person, as long as its risk is low. */
  readonly approved: readonly Change[];
  readonly env: NodeJS.ProcessEnv;
}

/** Client and worker in this process on one connection, as where the control plane runs inside: packages start eagerly. */
export async function startInProcess(request: ConnectorRequest): Promise<RunningConnector> {
  const prepared = await prepare(request);
  const { clusterId, privateKeyPem } = prepared;
  // The kubeconfig is found in the environment of the process, here as by every client of Kubernetes.
  Object.assign(request.env, prepared.env);
  const logger = createLogger('warn', { cluster: clusterId });
  installTemporalLogger(logger);
  const connector = await createConnector(readConfig(request.env), request.env, logger);
  const running = connector.run();
  const client = new ConnectorClient({ ...connector.temporal, clusterId });
  const stop = async () => {
    connector.shutdown();
    await running; // closes the connection too, which the client only borrowed
  };
  return { client, clusterId, privateKeyPem, stop };
}

/** The worker as a process of its own, with the chart's settings of the runtime, and a client with a connection of its own, as in an installation. */
export async function startApart(request: ConnectorRequest): Promise<RunningConnector> {
  const prepared = await prepare(request);
  const { clusterId, privateKeyPem, env } = prepared;
  const worker = await startWorker({ ...prepared, env: { ...env, ...RUNTIME.execution } });
  const client = await ConnectorClient.connect(clusterId, { ...request.env, ...env });
  const stop = async () => {
    await client.close();
    await worker.stop();
  };
  return { client, clusterId, privateKeyPem, pid: worker.pid, stop };
}

async function prepare({ stack, clusterId, approved }: ConnectorRequest): Promise<PreparedConnector> {
  const folder = join(stack.stateDir, clusterId);
  const policy = stringify({
    apiVersion: WPK_API_VERSION,
    kind: 'Policy',
    approvals: { acceptAsserted: true },
    autoApprove: approved
      .flatMap(({ stepsDigests }) => stepsDigests)
      .map((stepsDigest) => ({ playbook: PLAYBOOK, stepsDigest })),
  });
  // The shell pipeline keeps its log on the local disk, so ours stays there too.
  return prepareConnector({ services: stack, folder, clusterId, policy, env: { S3_BUCKET: '' } });
}
