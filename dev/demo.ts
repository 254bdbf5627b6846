/**
 * `npm run demo`: the connector's main job on real parts, from nothing to a verified audit log.
 *   --keep            leaves the stack and the worker up and says how to go on
 *   --context NAME    changes your own cluster (kubectl context) instead of an embedded one, in a namespace of its own
 */
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { reportError } from '../client/cli/output.ts';
import { ConnectorClient } from '../client/connector-client.ts';
import type { PreparedConnector } from './connector.ts';
import { prepareConnector, startWorker } from './connector.ts';
import type { DemoCluster } from './demo/cluster.ts';
import { embeddedCluster, ownCluster } from './demo/cluster.ts';
import { Stage } from './demo/stage.ts';
import type { Refusal, Told } from './demo/story.ts';
import { setScene, tellMainStory, tellRefusals, verifyAudit } from './demo/story.ts';
import type { Stack } from './stack.ts';
import { startStack } from './stack.ts';

const { values: flags } = parseArgs({ options: { keep: { type: 'boolean', default: false }, context: { type: 'string' } } });

const stage = new Stage(process.stdout);
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interrupted.abort());

/** What has to be undone at the end, newest last; runs whatever happened. */
const cleanups: (() => Promise<unknown>)[] = [];

try {
  const told = await perform();
  await cleanUp();
  process.stdout.write(`${JSON.stringify({ ok: true, ...told, seconds: stage.seconds })}\n`);
} catch (error) {
  await cleanUp();
  process.exitCode = interrupted.signal.aborted ? 130 : reportError(error);
  process.stdout.write(`${JSON.stringify({ ok: false, interrupted: interrupted.signal.aborted, seconds: stage.seconds })}\n`);
}

async function perform(): Promise<{ package: Told; refused: readonly Refusal[]; auditEntries: number }> {
  const { signal } = interrupted;
  stage.heading('The stack');
  const stack = await raiseStack(signal);
  const cluster = await clusterFor(stack, signal);
  const connector = await stage.act('A worker runs, with a key of its own in Vault', () => raiseConnector(stack, cluster, signal));
  await setScene({ stage, cluster });

  const client = await ConnectorClient.connect(connector.clusterId, connector.env);
  cleanups.push(() => client.close());
  const scene = { stage, cluster, connector, client, temporal: stack.temporal, signal };
  stage.heading('A signed package runs');
  const told = await tellMainStory(scene);
  stage.heading('What must not run does not');
  const refused = await tellRefusals(scene);
  stage.heading('The audit log');
  const auditEntries = await verifyAudit(scene);
  return { package: told, refused, auditEntries };
}

async function raiseStack(signal: AbortSignal): Promise<Stack> {
  const folder = resolve('.byoc', `demo-${process.pid}`);
  const services = flags.context ? (['temporal', 'vault', 's3'] as const) : undefined;
  const stack = await stage.act('Temporal, Vault, S3 and Kubernetes are up, the real ones', (tell) =>
    startStack({
      stateDir: folder,
      env: process.env,
      signal,
      onProgress: (part, message) => tell(`${part}: ${message}`),
      ...(services && { services }),
    }),
  );
  cleanups.push(() => rm(folder, { recursive: true, force: true }), () => stack.stop());
  stage.show([`Temporal UI  ${stack.temporal.uiUrl}`]);
  return stack;
}

async function clusterFor(stack: Stack, signal: AbortSignal): Promise<DemoCluster> {
  if (!flags.context) return embeddedCluster(stack.kubernetes, signal);
  const kubectl = await stack.tool('kubectl');
  const cluster = await ownCluster({ kubectl, context: flags.context, env: process.env, signal });
  cleanups.push(() => stage.act(`Removed the namespace ${cluster.namespace}`, () => cluster.clean()));
  return cluster;
}

async function raiseConnector(stack: Stack, cluster: DemoCluster, signal: AbortSignal): Promise<PreparedConnector> {
  const folder = join(stack.stateDir, 'connector');
  const env = { KUBECONFIG: cluster.kubeconfig, BYOC_KUBE_CONTEXT: cluster.context };
  const connector = await prepareConnector({ services: stack, folder, env });
  const worker = await startWorker(connector, signal);
  cleanups.push(() => worker.stop());
  return connector;
}

async function cleanUp(): Promise<void> {
  for (const clean of cleanups.splice(0).reverse()) await clean().catch((error: unknown) => reportError(error));
}
