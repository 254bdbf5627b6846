import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { extname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { ConnectorError } from '../domain/errors.ts';
import type { KeeperMessage } from './keeper.ts';
import { isAlive } from './owner.ts';
import { answers } from './servers/control-plane.ts';
import { isReady } from './servers/kubernetes.ts';
import { isUnsealed } from './servers/openbao.ts';
import { hasBucket } from './servers/seaweedfs.ts';
import { hasSearchAttributes } from './servers/temporal.ts';
import type { SimulatedServices } from './simulated-stack.ts';
import type { Services } from './stack.ts';
import { payloadCodecIn } from './settings.ts';
import { readState, releaseState, type PayloadCodecName, type StackState } from './state.ts';

/** How long the keeper may take to stop its servers before it is killed, and they with it. */
const DOWN_TIMEOUT_MS = 20_000;
const POLL_MS = 100;

export interface DevUpOptions {
  readonly stateDir: string;
  readonly env: NodeJS.ProcessEnv;
  /** Keeps the data of Temporal, S3 and Kubernetes for the next `up`. */
  readonly persist?: boolean;
  /** Starts a worker on it too, with a key and a policy for development (see `connector.ts`). */
  readonly connector?: boolean;
  readonly onProgress?: (part: string, message: string) => void;
  readonly signal?: AbortSignal;
}

export interface DevUp {
  readonly services: Services;
  /** False where the stack was up already. */
  readonly started: boolean;
}

export interface DevUpSimulated {
  readonly simulation: SimulatedServices;
  readonly started: boolean;
}

export interface DevStatus {
  readonly stateDir: string;
  readonly state: 'up' | 'starting' | 'down';
  /** The process that owns the stack. */
  readonly pid?: number;
  /** Where the services are; holds secrets of this development stack. */
  readonly services?: Services;
  /** In their place in simulation mode. */
  readonly simulation?: SimulatedServices;
  /** Whether its worker encrypts what it tells Temporal. */
  readonly payloadCodec?: PayloadCodecName;
  readonly healthy?: Readonly<Partial<Record<keyof Services, boolean>>>;
}

/** The folder of a stack: `state` where it is given, else `.byoc/NAME` below `folder`. */
export function stateDirOf(folder: string, choice: { readonly state?: string; readonly name?: string }): string {
  return resolve(folder, choice.state ?? join('.byoc', choice.name ?? 'dev'));
}

/**
 * Brings a stack up that outlives this process; where it is up already, nothing happens.
 * @throws ConnectorError PART_UNAVAILABLE when a part can't be had or does not get healthy, or what is up is another kind;
 *   USAGE, CONFIG_INVALID
 */
export async function devUp(options: DevUpOptions): Promise<DevUp> {
  const stateDir = resolve(options.stateDir);
  const codec = payloadCodecIn(options.env);
  if (codec === 'vault' && options.persist)
    throw new ConnectorError(
      'USAGE',
      "BYOC_PAYLOAD_CODEC=vault goes without --persist: the stack's Vault begins empty, and what an earlier key encrypted stays unreadable.",
    );
  const running = await untilUp(stateDir, options.signal);
  if (running?.simulation) throw otherKind(stateDir, 'in simulation mode');
  const { payloadCodec = 'off' } = running ?? {};
  if (running && codec && codec !== payloadCodec) throw otherKind(stateDir, `with BYOC_PAYLOAD_CODEC=${payloadCodec}`);
  if (running) return { services: servicesIn(running, stateDir), started: false };
  await startKeeper({ ...options, stateDir });
  const state = await untilUp(stateDir, options.signal);
  return { services: servicesIn(state, stateDir), started: true };
}

/**
 * The same in simulation mode, always with a worker and never with what an earlier one left.
 * @throws ConnectorError PART_UNAVAILABLE, also where a real stack is up there; USAGE, CONFIG_INVALID
 */
export async function devUpSimulated(options: Omit<DevUpOptions, 'persist' | 'connector'>): Promise<DevUpSimulated> {
  const stateDir = resolve(options.stateDir);
  if (payloadCodecIn(options.env) === 'vault')
    throw new ConnectorError('USAGE', 'BYOC_PAYLOAD_CODEC=vault goes without --simulate: there is no Vault in it.');
  const running = await untilUp(stateDir, options.signal);
  if (running?.services) throw otherKind(stateDir, 'of the real servers');
  if (running?.simulation) return { simulation: running.simulation, started: false };
  await startKeeper({ ...options, stateDir, simulate: true });
  const simulation = (await untilUp(stateDir, options.signal))?.simulation;
  if (!simulation) throw endedAtOnce(stateDir);
  return { simulation, started: true };
}

function otherKind(stateDir: string, which: string): ConnectorError {
  return new ConnectorError('PART_UNAVAILABLE', `A stack ${which} is up in ${stateDir}. Stop it first: byoc dev down`);
}

function endedAtOnce(stateDir: string): ConnectorError {
  return new ConnectorError('PART_UNAVAILABLE', `The stack ended as soon as it was up (${stateDir}).`);
}

function servicesIn(state: StackState | undefined, stateDir: string): Services {
  const services = state && completeOf(state);
  if (!services) throw endedAtOnce(stateDir);
  return services;
}

/** Stops the stack. @returns false where none runs */
export async function devDown(options: { readonly stateDir: string }): Promise<boolean> {
  const stateDir = resolve(options.stateDir);
  const state = await readState(stateDir);
  if (!state) {
    // What a killed owner left.
    await releaseState(stateDir);
    return false;
  }
  process.kill(state.owner.pid, 'SIGTERM');
  if (!(await untilGone(state, DOWN_TIMEOUT_MS))) {
    process.kill(state.owner.pid, 'SIGKILL');
    await untilGone(state, DOWN_TIMEOUT_MS);
    await releaseState(stateDir);
  }
  return true;
}

/** Asks each service how it is. */
export async function devStatus(options: { readonly stateDir: string }): Promise<DevStatus> {
  const stateDir = resolve(options.stateDir);
  const state = await readState(stateDir);
  if (!state) return { stateDir, state: 'down' };
  const services = completeOf(state);
  const { simulation, payloadCodec = 'off' } = state;
  const asked = (answer: Promise<boolean>) => answer.catch(() => false);
  if (simulation) {
    const [temporal, controlPlane] = await Promise.all([
      asked(hasSearchAttributes(simulation.temporal)),
      asked(answers(simulation.controlPlane)),
    ]);
    return { stateDir, state: 'up', pid: state.owner.pid, simulation, healthy: { temporal, controlPlane } };
  }
  if (!services) return { stateDir, state: 'starting', pid: state.owner.pid };
  const [temporal, vault, s3, kubernetes, controlPlane] = await Promise.all([
    asked(hasSearchAttributes(services.temporal)),
    asked(isUnsealed(services.vault)),
    asked(hasBucket(services.s3)),
    asked(isReady(services.kubernetes)),
    asked(answers(services.controlPlane)),
  ]);
  const healthy = { temporal, vault, s3, kubernetes, controlPlane };
  return { stateDir, state: 'up', pid: state.owner.pid, services, payloadCodec, healthy };
}

/** Resolves with the state of the stack once it is up, with undefined when none runs or is being started. */
async function untilUp(stateDir: string, signal: AbortSignal | undefined): Promise<StackState | undefined> {
  for (;;) {
    const state = await readState(stateDir);
    if (!state || state.simulation || completeOf(state)) return state;
    await sleep(POLL_MS, undefined, signal ? { signal } : {});
  }
}

function completeOf({ services }: StackState): Services | undefined {
  const { temporal, vault, s3, kubernetes, controlPlane } = services ?? {};
  if (!temporal || !vault || !s3 || !kubernetes || !controlPlane) return undefined;
  return { temporal, vault, s3, kubernetes, controlPlane };
}

async function untilGone({ owner }: StackState, timeoutMs: number): Promise<boolean> {
  for (const deadline = Date.now() + timeoutMs; isAlive(owner); await sleep(POLL_MS)) {
    if (Date.now() > deadline) return false;
  }
  return true;
}

function startKeeper(options: DevUpOptions & { readonly simulate?: boolean }): Promise<void> {
  const { stateDir, env, signal } = options;
  signal?.throwIfAborted();
  const logFile = join(stateDir, 'keeper.log');
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const log = openSync(logFile, 'a', 0o600);
  // The same file type as this one: it also runs from a build.
  const entry = join(import.meta.dirname, `keeper${extname(import.meta.filename)}`);
  const args = [
    entry,
    stateDir,
    options.simulate ? 'simulate' : options.persist ? 'persist' : 'fresh',
    options.connector ? 'connector' : 'stack-only',
  ];
  const keeper = spawn(process.execPath, args, { detached: true, env, stdio: ['ignore', log, log, 'ipc'] });
  closeSync(log);

  return new Promise((resolve, reject) => {
    let failure: Error | undefined;
    // It stops what it has started when we hang up before it is ready, and then exits.
    const abort = () => {
      if (keeper.connected) keeper.disconnect();
    };
    signal?.addEventListener('abort', abort, { once: true });
    keeper.on('message', (message: KeeperMessage) => {
      if (message.kind === 'progress') options.onProgress?.(message.part, message.message);
      if (message.kind === 'failed') failure = new ConnectorError(message.code, message.detail);
      if (message.kind !== 'ready') return;
      signal?.removeEventListener('abort', abort);
      keeper.disconnect();
      keeper.unref();
      resolve();
    });
    keeper.once('error', reject);
    keeper.once('exit', () => {
      signal?.removeEventListener('abort', abort);
      if (signal?.aborted) reject(signal.reason);
      else reject(failure ?? new ConnectorError('PART_UNAVAILABLE', `The stack's own process ended; see ${logFile}.`));
    });
  });
}
