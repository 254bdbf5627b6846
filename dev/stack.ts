import { chmod, mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { ConnectorError } from '../domain/errors.ts';
import { Host } from './host.ts';
import type { ServerName } from './host.ts';
import type { PartName } from './parts.ts';
import { findProgram } from './programs.ts';
import { issuerOf, startControlPlaneServer, type ControlPlaneService } from './servers/control-plane.ts';
import { startKubernetes, type KubernetesService } from './servers/kubernetes.ts';
import { startOpenBao, type VaultService } from './servers/openbao.ts';
import { startPrometheus, type PrometheusService } from './servers/prometheus.ts';
import { startSeaweedFs, type S3Service } from './servers/seaweedfs.ts';
import { startTemporal, type TemporalService } from './servers/temporal.ts';
import { devSettings } from './settings.ts';
import { claimState, releaseState, writeState } from './state.ts';

/** The services of a stack under the names of what they stand for. */
export interface Services {
  readonly temporal: TemporalService;
  /** OpenBao, which has Vault's API. */
  readonly vault: VaultService;
  /** SeaweedFS. */
  readonly s3: S3Service;
  readonly kubernetes: KubernetesService;
  /** The reference control plane; it takes tokens of this stack's Vault. */
  readonly controlPlane: ControlPlaneService;
}

/** Services that a stack has only where they are asked for: few need them. */
export interface OptionalServices {
  readonly prometheus: PrometheusService;
}

type AllServices = Services & OptionalServices;

export type ServiceName = keyof AllServices;
/** What a stack has unless told otherwise. */
export const SERVICE_NAMES: readonly ServiceName[] = ['temporal', 'vault', 's3', 'kubernetes', 'controlPlane'];

export interface StackOptions {
  /** Folder for the data, the logs and the state file; made where it is missing. */
  readonly stateDir: string;
  /** The environment: says where programs and the cache are (`BYOC_CACHE`, `BYOC_…_BIN`, `PATH`). */
  readonly env: NodeJS.ProcessEnv;
  /** Which services to start; `SERVICE_NAMES` by default. */
  readonly services?: readonly ServiceName[];
  /** Keeps the data of Temporal, S3 and Kubernetes for the next start; else each start is empty. */
  readonly persist?: boolean;
  readonly onProgress?: (part: string, message: string) => void;
  /** A file in which the API server notes each write that it receives, as `audit.k8s.io/v1` has it. */
  readonly requestLog?: string;
  /** Ends the start, installs included; what was started is stopped. */
  readonly signal?: AbortSignal;
}

export interface PartHealth {
  readonly part: ServerName;
  readonly pid: number | undefined;
  readonly healthy: boolean;
}

/** A running stack. Each getter throws PART_UNAVAILABLE for a service that the stack was started without. */
export interface Stack extends Services, OptionalServices {
  readonly stateDir: string;
  /** Path of a tool, installed on first use. */
  tool(name: 'cosign' | 'helm' | 'kubectl' | 'promtool' | 'toxiproxy'): Promise<string>;
  check(): Promise<PartHealth[]>;
  /** Ends one server at once, as a crash would. */
  kill(part: ServerName): Promise<void>;
  /** Starts one server again, at the same address, without what was only in its memory. */
  restart(part: ServerName): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts the real servers that the connector talks to, on free ports of 127.0.0.1, and resolves when each is healthy.
 * They end when this process ends, however it ends.
 * @throws ConnectorError PART_UNAVAILABLE when a part can't be had or does not get healthy
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { signal, persist = false } = options;
  const stateDir = resolve(options.stateDir);
  const settings = devSettings(options.env);
  const onProgress = options.onProgress ?? (() => undefined);
  const wanted = options.services ?? SERVICE_NAMES;
  await mkdir(stateDir, { recursive: true });
  await chmod(stateDir, 0o700);
  await claimState(stateDir);
  if (!persist) await removeFolders(stateDir, [...DATA_FOLDERS, 'logs']);

  const find = (name: PartName) => findProgram(name, { settings, onProgress, signal });
  // The first failure ends the other starts as well.
  const failed = new AbortController();
  const host = new Host(stateDir, find, signal ? AbortSignal.any([signal, failed.signal]) : failed.signal);
  let vault: Promise<VaultService> | undefined;
  const startVault = () => (vault ??= startOpenBao(host));
  const starters: Record<ServiceName, () => Promise<AllServices[ServiceName]>> = {
    temporal: () => startTemporal(host, persist),
    vault: startVault,
    s3: () => startSeaweedFs(host),
    kubernetes: () => startKubernetes(host, options.requestLog),
    controlPlane: async () => startControlPlaneServer(host, issuerOf(await startVault())),
    prometheus: () => startPrometheus(host),
  };
  const stop = async () => {
    await host.stopAll();
    if (!persist) await removeFolders(stateDir, DATA_FOLDERS);
    await releaseState(stateDir);
  };
  try {
    // Installs come one after the other: the costly ones use all cores by themselves.
    for (const name of programsOf(wanted)) await find(name);
    const starts = wanted.map((name) => timed(name, starters[name], onProgress));
    const started = await allOrError(starts, () => failed.abort());
    const services: Partial<AllServices> = Object.assign({}, ...started);
    await writeState(stateDir, { services, payloadCodec: settings.payloadCodec });
    return stackOf(services, host, find, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What a stop removes below the state folder: the logs, which tell why something failed, stay until the next start. */
const DATA_FOLDERS = ['tls', 'temporal', 'openbao', 'seaweedfs', 'etcd', 'kubernetes', 'control-plane', 'prometheus'];

const PROGRAMS: Record<ServiceName, readonly PartName[]> = {
  temporal: ['temporal'],
  vault: ['openbao'],
  s3: ['seaweedfs'],
  kubernetes: ['kubectl', 'etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kwok'],
  controlPlane: ['openbao'],
  prometheus: ['prometheus'],
};

function programsOf(services: readonly ServiceName[]): PartName[] {
  return services.flatMap((name) => PROGRAMS[name]);
}

async function timed<T>(
  name: ServiceName,
  start: () => Promise<T>,
  onProgress: (part: string, message: string) => void,
): Promise<Record<string, T>> {
  const startedAt = Date.now();
  const service = await start();
  onProgress(name, `ready in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
  return { [name]: service };
}

/** Waits for all, also when one fails, so that nothing is still being started when the rest is stopped. */
async function allOrError<T>(promises: readonly Promise<T>[], onError: () => void): Promise<T[]> {
  let first: { readonly error: unknown } | undefined;
  const results = await Promise.all(
    promises.map((promise) =>
      promise.catch((error: unknown) => {
        first ??= { error };
        onError();
        return undefined;
      }),
    ),
  );
  if (first) throw first.error;
  return results.filter((result) => result !== undefined);
}

async function removeFolders(stateDir: string, names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => rm(join(stateDir, name), { recursive: true, force: true })));
}

function stackOf(
  services: Partial<AllServices>,
  host: Host,
  find: (name: PartName) => Promise<string>,
  stop: () => Promise<void>,
): Stack {
  const get = <Name extends ServiceName>(name: Name): AllServices[Name] => {
    const service: AllServices[Name] | undefined = services[name];
    if (service === undefined) throw new ConnectorError('PART_UNAVAILABLE', `This stack was started without ${name}.`);
    return service;
  };
  return {
    stateDir: host.stateDir,
    get temporal() {
      return get('temporal');
    },
    get vault() {
      return get('vault');
    },
    get s3() {
      return get('s3');
    },
    get kubernetes() {
      return get('kubernetes');
    },
    get controlPlane() {
      return get('controlPlane');
    },
    get prometheus() {
      return get('prometheus');
    },
    tool: find,
    check: () => Promise.all(host.names.map(async (part) => ({ part, ...(await host.check(part)) }))),
    kill: (part) => host.kill(part),
    restart: (part) => host.restart(part),
    stop,
  };
}
