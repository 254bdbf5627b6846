import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { ConnectorError } from '../domain/errors.ts';
import { isAlive, thisProcess, type Owner } from './owner.ts';
import type { SimulatedServices } from './simulated-stack.ts';
import type { Services } from './stack.ts';

/** What `stack.json` says: who runs the stack, and once it is up, where its services are. It holds their secrets. */
export interface StackState {
  readonly owner: Owner;
  readonly services?: Partial<Services>;
  /** In the place of `services`, for a stack in simulation mode. */
  readonly simulation?: SimulatedServices;
  /** `BYOC_PAYLOAD_CODEC` of its worker, and of whoever reads what that tells Temporal. */
  readonly payloadCodec?: PayloadCodecName;
}

export type PayloadCodecName = 'vault' | 'off';

const fileOf = (stateDir: string) => join(stateDir, 'stack.json');

/** @returns what the state file says, or undefined where no stack runs with this folder */
export async function readState(stateDir: string): Promise<StackState | undefined> {
  const text = await readFile(fileOf(stateDir), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const state: StackState = JSON.parse(text);
  return isAlive(state.owner) ? state : undefined;
}

/**
 * Takes the folder for a stack of this process.
 * @throws ConnectorError PART_UNAVAILABLE when another stack runs with it
 */
export async function claimState(stateDir: string): Promise<void> {
  const state = await readState(stateDir);
  if (state) {
    const text = `Process ${state.owner.pid} already runs a stack in ${stateDir};`;
    throw new ConnectorError('PART_UNAVAILABLE', `${text} use another folder, or stop that one.`);
  }
  await write(stateDir, { owner: thisProcess() });
}

export async function writeState(stateDir: string, state: Omit<StackState, 'owner'>): Promise<void> {
  await write(stateDir, { owner: thisProcess(), ...state });
}

export async function releaseState(stateDir: string): Promise<void> {
  await rm(fileOf(stateDir), { force: true });
}

async function write(stateDir: string, state: StackState): Promise<void> {
  const fresh = `${fileOf(stateDir)}.${process.pid}`;
  await writeFile(fresh, JSON.stringify(state, undefined, 2), { mode: 0o600 });
  await rename(fresh, fileOf(stateDir));
}
