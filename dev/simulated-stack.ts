import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { developmentKey } from '../activities/sigstore/development-keys.ts';
import { SIMULATED_CLUSTER } from '../domain/simulation.ts';
import { SIMULATION_ALLOWED } from '../worker/simulation/settings.ts';
import { simulationFiles } from '../worker/simulation/open.ts';
import type { PreparedConnector } from './connector.ts';
import { connectorFolder, DEV_POLICY, startWorker } from './connector.ts';
import { temporalSettings } from './environment.ts';
import { Host } from './host.ts';
import type { PartName } from './parts.ts';
import { findProgram } from './programs.ts';
import { startControlPlaneServer, type ControlPlaneService } from './servers/control-plane.ts';
import { startTemporal, type TemporalService } from './servers/temporal.ts';
import { devSettings } from './settings.ts';
import type { StackOptions } from './stack.ts';
import { claimState, releaseState, writeState } from './state.ts';

/** What is real in a simulation: Temporal, and the reference control plane, which takes made-up tokens then. */
export interface SimulatedServices {
  readonly temporal: TemporalService;
  readonly controlPlane: ControlPlaneService;
}

export interface SimulatedStack extends SimulatedServices {
  readonly connector: PreparedConnector;
  stop(): Promise<void>;
}

interface Options extends Pick<StackOptions, 'stateDir' | 'env' | 'signal' | 'onProgress'> {
  /** More settings of the worker. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * Starts Temporal, the control plane and a worker in simulation mode: nothing else is installed or built.
 * @throws ConnectorError PART_UNAVAILABLE
 */
export async function startSimulatedStack(options: Options): Promise<SimulatedStack> {
  const { signal } = options;
  const stateDir = resolve(options.stateDir);
  await mkdir(stateDir, { recursive: true });
  await chmod(stateDir, 0o700);
  await claimState(stateDir);
  for (const name of ['tls', 'temporal', 'control-plane', 'connector', 'logs'])
    await rm(join(stateDir, name), { recursive: true, force: true });
  const onProgress = options.onProgress ?? (() => undefined);
  const settings = devSettings(options.env);
  const find = (name: PartName) => findProgram(name, { settings, onProgress, signal });
  const host = new Host(stateDir, find, signal);
  const stops = [() => releaseState(stateDir), () => host.stopAll()];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  try {
    const keysFile = simulationFiles(dataDirOf(stateDir)).identityKeys;
    const [temporal, controlPlane] = await Promise.all([
      startTemporal(host, false),
      startControlPlaneServer(host, { SIMULATED_KEYS: keysFile }),
    ]);
    onProgress('temporal', 'ready');
    const connector = await prepare(stateDir, { temporal, controlPlane }, options);
    const worker = await startWorker(connector, signal);
    stops.push(() => worker.stop());
    onProgress('worker', 'ready');
    await writeState(stateDir, { simulation: { temporal, controlPlane } });
    return { temporal, controlPlane, connector, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Settings with which commands find a simulated stack. */
export function simulatedEnvironment({ temporal }: SimulatedServices, stateDir: string): Record<string, string> {
  return {
    ...temporalSettings(temporal),
    KUBECONFIG: simulationFiles(dataDirOf(stateDir)).kubeconfig,
    BYOC_CLUSTER_ID: SIMULATED_CLUSTER,
  };
}

/** The connector of a simulated stack that runs already. */
export function simulatedConnector(services: SimulatedServices, stateDir: string): PreparedConnector {
  const { temporal, controlPlane } = services;
  const folder = connectorFolder(stateDir);
  const files = simulationFiles(dataDirOf(stateDir));
  return {
    clusterId: SIMULATED_CLUSTER,
    folder,
    auditDir: join(dataDirOf(stateDir), 'audit'),
    policyPath: join(folder, 'policy.yaml'),
    privateKeyPem: developmentKey('packages').privateKeyPem,
    publicKeyPath: files.signingKeyPublic,
    approverKeyPath: files.approverKey,
    env: {
      SIMULATION: 'true',
      ...temporalSettings(temporal),
      BYOC_CLUSTER_ID: SIMULATED_CLUSTER,
      BYOC_DATA_DIR: dataDirOf(stateDir),
      BYOC_POLICY: join(folder, 'policy.yaml'),
      BYOC_WRITER: 'worker-0',
      CONTROL_PLANE_URL: controlPlane.url,
      BYOC_CONTROL_PLANE_CA: controlPlane.caFile,
      INSIGHT_URL: controlPlane.url,
      BYOC_INSIGHT_CA: controlPlane.caFile,
    },
  };
}

function dataDirOf(stateDir: string): string {
  return join(connectorFolder(resolve(stateDir)), 'data');
}

async function prepare(stateDir: string, services: SimulatedServices, { env, settings }: Options) {
  const connector = simulatedConnector(services, stateDir);
  await mkdir(connector.folder, { recursive: true, mode: 0o700 });
  await writeFile(connector.policyPath, DEV_POLICY);
  // The worker itself judges whether it may be here, as it would anywhere.
  const told = ['NODE_ENV', 'KUBERNETES_SERVICE_HOST', SIMULATION_ALLOWED.name].flatMap((name) =>
    env[name] ? [[name, env[name]] as const] : [],
  );
  return { ...connector, env: { ...connector.env, ...settings, ...Object.fromEntries(told) } };
}
