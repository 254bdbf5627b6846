/**
 * `npm run demo`: the connector's main job on real parts, from nothing to a verified audit log.
 *   --keep            leaves the stack and the worker up and says how to go on
 *   --simulate        the same without anything to install but Temporal: cluster, keys and bucket are made up, and say so
 *   --context NAME    changes your own cluster (kubectl context) instead of an embedded one, in a namespace of its own
 */
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { reportError, say } from '../client/cli/output.ts';
import { ConnectorClient } from '../client/connector-client.ts';
import { NOT_SIMULATED, SIMULATION_NOTICE } from '../domain/simulation.ts';
import { simulationFiles } from '../worker/simulation/open.ts';
import type { PreparedConnector } from './connector.ts';
import { connectorFolder, existingConnector, prepareConnector, startWorker } from './connector.ts';
import type { DemoCluster } from './demo/cluster.ts';
import { embeddedCluster, ownCluster } from './demo/cluster.ts';
import { simulatedCluster } from './demo/simulated-cluster.ts';
import { Stage } from './demo/stage.ts';
import type { Refusal, Told } from './demo/story.ts';
import { setScene, tellMainStory, tellRefusals, verifyAudit } from './demo/story.ts';
import type { TemporalService } from './servers/temporal.ts';
import { simulatedConnector, startSimulatedStack } from './simulated-stack.ts';
import { devDown, devUp, devUpSimulated, stateDirOf } from './stack-command.ts';
import type { Stack } from './stack.ts';
import { startStack } from './stack.ts';

const USAGE = 'usage: npm run demo [-- --keep | -- --context NAME | -- --simulate [--keep]]';
const options = {
  keep: { type: 'boolean', default: false },
  simulate: { type: 'boolean', default: false },
  context: { type: 'string' },
  help: { type: 'boolean' },
} as const;
const flags = readFlags();

const STACK_TITLE = flags.simulate
  ? 'Temporal is up, the real one; a worker simulates the rest'
  : flags.context
    ? 'Temporal, Vault and S3 are up, the real ones'
    : 'Temporal, Vault, S3 and Kubernetes are up, the real ones';

const stage = new Stage(process.stdout);
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupted.abort());

/** The story is told by a client without a key, so that all of it can be looked at in the Temporal UI. */
const env = { ...process.env, BYOC_PAYLOAD_CODEC: 'off' };

/** What has to be undone at the end, newest last; runs whatever happened. */
const cleanups: (() => Promise<unknown>)[] = [];

try {
  const told = await perform();
  await cleanUp();
  const mark = flags.simulate && { simulated: true };
  process.stdout.write(`${JSON.stringify({ ok: true, ...mark, ...told, seconds: stage.seconds })}\n`);
} catch (error) {
  await cleanUp();
  if (interrupted.signal.aborted) say('Interrupted; everything that was started is stopped.');
  process.exitCode = interrupted.signal.aborted ? 130 : reportError(error);
  process.stdout.write(
    `${JSON.stringify({ ok: false, interrupted: interrupted.signal.aborted, seconds: stage.seconds })}\n`,
  );
}

async function perform(): Promise<{ package: Told; refused: readonly Refusal[]; auditEntries: number }> {
  const { signal } = interrupted;
  if (flags.simulate) tellSimulation();
  stage.heading('The stack');
  const { temporal, cluster, connector } = await raise(signal);
  stage.show([`Temporal UI  ${temporal.uiUrl}`]);
  await setScene({ stage, cluster });

  const client = await ConnectorClient.connect(connector.clusterId, connector.env);
  cleanups.push(() => client.close());
  const scene = { stage, cluster, connector, client, temporal, signal };
  stage.heading('A signed package runs');
  const told = await tellMainStory(scene);
  stage.heading('What must not run does not');
  const refused = await tellRefusals(scene);
  stage.heading('The audit log');
  const auditEntries = await verifyAudit(scene);
  if (flags.simulate) stage.show([stage.paint('yellow', SIMULATION_NOTICE)]);
  if (flags.keep) tellHowToGoOn(temporal);
  return { package: told, refused, auditEntries };
}

function readFlags() {
  try {
    const { values } = parseArgs({ options });
    if (values.keep && values.context !== undefined) throw new Error('Give either --keep or --context.');
    if (values.simulate && values.context !== undefined) throw new Error('Give either --simulate or --context.');
    if (!values.help) return values;
    process.stdout.write(`${USAGE}\n`);
    return process.exit(0);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    return process.exit(2);
  }
}

interface Raised {
  readonly temporal: TemporalService;
  readonly cluster: DemoCluster;
  readonly connector: PreparedConnector;
}

function raise(signal: AbortSignal): Promise<Raised> {
  if (flags.simulate) return raiseSimulated(signal);
  return flags.keep ? raiseToKeep(signal) : raiseForNow(signal);
}

function tellSimulation(): void {
  stage.heading(stage.paint('yellow', SIMULATION_NOTICE));
  stage.show(NOT_SIMULATED.map((line) => `- ${line}`));
}

/** With nothing but Node and the Temporal server. */
async function raiseSimulated(signal: AbortSignal): Promise<Raised> {
  const options = { env, signal };
  const { temporal, connector } = await stage.act(STACK_TITLE, async (tell) => {
    const onProgress = (part: string, message: string) => tell(`${part}: ${message}`);
    if (flags.keep) {
      const stateDir = stateDirOf(process.cwd(), {});
      const { simulation, started } = await devUpSimulated({ ...options, stateDir, onProgress });
      if (started) signal.addEventListener('abort', () => cleanups.push(() => devDown({ stateDir })));
      return { ...simulation, connector: simulatedConnector(simulation, stateDir) };
    }
    const folder = resolve('.byoc', `demo-${process.pid}`);
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    const stack = await startSimulatedStack({ ...options, stateDir: folder, onProgress });
    cleanups.push(() => stack.stop());
    return stack;
  });
  const { kubeconfig } = simulationFiles(connector.env['BYOC_DATA_DIR'] ?? '');
  return { temporal, cluster: simulatedCluster(kubeconfig, signal), connector };
}

/** Everything ends with this process, however it ends. */
async function raiseForNow(signal: AbortSignal): Promise<Raised> {
  const folder = resolve('.byoc', `demo-${process.pid}`);
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const services = flags.context ? (['temporal', 'vault', 's3'] as const) : undefined;
  const stack = await stage.act(STACK_TITLE, (tell) =>
    startStack({
      stateDir: folder,
      env,
      signal,
      onProgress: (part, message) => tell(`${part}: ${message}`),
      ...(services && { services }),
    }),
  );
  cleanups.push(() => stack.stop());
  const cluster = await clusterFor(stack, signal);
  const { temporal, vault, s3 } = stack;
  const own = { temporal, vault, s3, kubernetes: cluster };
  const connector = await stage.act('A worker runs, with a key of its own in Vault', async () => {
    const ready = await prepareConnector({
      services: own,
      folder: connectorFolder(stack.stateDir),
      env: { BYOC_KUBE_CONTEXT: cluster.context },
    });
    const worker = await startWorker(ready, signal);
    cleanups.push(() => worker.stop());
    return ready;
  });
  return { temporal, cluster, connector };
}

/** The same stack and worker as `byoc dev up` has; they outlive this process unless it is interrupted. */
async function raiseToKeep(signal: AbortSignal): Promise<Raised> {
  const stateDir = stateDirOf(process.cwd(), {});
  const { services, started } = await stage.act(STACK_TITLE, (tell) =>
    devUp({
      stateDir,
      env,
      connector: true,
      signal,
      onProgress: (part, message) => tell(`${part}: ${message}`),
    }),
  );
  // A stack that was up before is not ours to end.
  if (started) signal.addEventListener('abort', () => cleanups.push(() => devDown({ stateDir })));
  const connector = await existingConnector({ services, folder: connectorFolder(stateDir) });
  return { temporal: services.temporal, cluster: embeddedCluster(services.kubernetes, signal), connector };
}

function tellHowToGoOn({ uiUrl }: TemporalService): void {
  stage.heading('Go on');
  stage.show([
    `Temporal UI  ${uiUrl}`,
    'eval "$(npm run -s byoc -- dev env)"      lets every command find the stack',
    'byoc list',
    'byoc pack dev/demo/next.yaml -o next.wpk.json -n shop --author alice@example.com --reason "try it"',
    'byoc dev sign next.wpk.json && byoc submit next.wpk.json',
    'byoc dev down                             stops everything',
  ]);
}

async function clusterFor(stack: Stack, signal: AbortSignal): Promise<DemoCluster> {
  if (!flags.context) return embeddedCluster(stack.kubernetes, signal);
  const kubectl = await stack.tool('kubectl');
  const cluster = await ownCluster({ kubectl, context: flags.context, env, signal });
  cleanups.push(() => stage.act(`Removed the namespace ${cluster.namespace}`, () => cluster.clean()));
  return cluster;
}

async function cleanUp(): Promise<void> {
  for (const clean of cleanups.splice(0).reverse()) await clean().catch((error: unknown) => reportError(error));
}
