import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { ConnectorError } from '../../domain/errors.ts';
import { isReference, secretAt } from '../../domain/vault-setup.ts';
import type { SetupStep, SetupValue } from '../../domain/vault-setup.ts';
import { createRequests, member, VaultRequestError } from './requests.ts';
import type { VaultAddress, VaultRequests } from './requests.ts';

/** What became of a step. */
export interface SetupResult {
  readonly path: string;
  readonly outcome: 'made' | 'changed' | 'unchanged';
}

/** An administrator's way into Vault. */
export interface VaultAdmin extends VaultAddress {
  readonly token: string;
}

/**
 * Performs a setup, step by step. What is as it should be is left alone, so it can be done again at any time.
 * @param onResult is told each step as it is done
 * @throws {ConnectorError} VAULT_UNAVAILABLE; CONFIG_INVALID where an engine is there that is another than is needed.
 *   What was done before stays.
 */
export async function applyVaultSetup(
  admin: VaultAdmin,
  steps: readonly SetupStep[],
  onResult: (result: SetupResult) => void = () => undefined,
): Promise<void> {
  const requests = createRequests(admin);
  try {
    for (const step of steps) {
      const { path } = step;
      try {
        onResult({ path, outcome: await applyStep(requests, admin.token, step) });
      } catch (error) {
        if (!(error instanceof VaultRequestError)) throw error;
        throw new ConnectorError('VAULT_UNAVAILABLE', `Setting up ${path}: ${error.said}.`, { cause: error });
      }
    }
  } finally {
    await requests.close();
  }
}

async function applyStep(requests: VaultRequests, token: string, step: SetupStep): Promise<SetupResult['outcome']> {
  const { path, keyBytes } = step;
  if (keyBytes !== undefined) return onceReady(() => makeKey(requests, token, path, keyBytes));
  const resolved = await Promise.all(
    Object.entries(step.data).map(async ([name, value]) => [name, await valueOf(requests, token, value)] as const),
  );
  const there = await find(requests, token, step);
  const isAsWanted = resolved.every(([name, value]) => isSame(member(there, name), value));
  if (there !== undefined && isAsWanted) return 'unchanged';
  if (there !== undefined && step.once) {
    throw new ConnectorError('CONFIG_INVALID', `${step.path} is there already, and is something else.`);
  }
  await requests.post(step.path, Object.fromEntries(resolved), token);
  return there === undefined ? 'made' : 'changed';
}

const READY_WITHIN_MS = 15_000;
const ASK_EVERY_MS = 100;

/** A version 2 KV engine that was made a moment ago refuses everything with a 400 until it has set itself up. */
async function onceReady<T>(work: () => Promise<T>): Promise<T> {
  for (const deadline = performance.now() + READY_WITHIN_MS; ; await sleep(ASK_EVERY_MS)) {
    try {
      return await work();
    } catch (error) {
      const isSettingUp = error instanceof VaultRequestError && error.status === 400;
      if (!isSettingUp || performance.now() > deadline) throw error;
    }
  }
}

/** Also where all that the folder has was deleted: under a name that was used, another key would pass for the old one. */
async function makeKey(
  requests: VaultRequests,
  token: string,
  path: string,
  bytes: number,
): Promise<SetupResult['outcome']> {
  const { mount, folder } = secretAt(path);
  const isThere = await requests.list(`${mount}/metadata/${folder}`, token).then(
    () => true,
    (error: unknown) => {
      if (error instanceof VaultRequestError && error.status === 404) return false;
      throw error;
    },
  );
  if (isThere) return 'unchanged';
  const key = randomBytes(bytes).toString('base64');
  await requests.post(path, { options: { cas: 0 }, data: { key } }, token);
  return 'made';
}

async function valueOf(requests: VaultRequests, token: string, value: SetupValue): Promise<unknown> {
  if (!isReference(value)) return value;
  const found = member(member(await requests.get(value.read, token), 'data'), value.field);
  if (found === undefined) throw new VaultRequestError(undefined, `${value.read} has no ${value.field}`);
  return found;
}

async function find(requests: VaultRequests, token: string, { path, alias, once }: SetupStep): Promise<unknown> {
  try {
    const data = member(await requests.get(alias ?? path, token), 'data');
    return alias === undefined ? data : (member(data, 'aliases') as unknown[] | null)?.[0];
  } catch (error) {
    // An engine that is not there is a 400.
    const absent = once ? [400, 404] : [404];
    if (error instanceof VaultRequestError && absent.includes(error.status ?? 0)) return undefined;
    throw error;
  }
}

/** Vault keeps lists as sets. */
function isSame(there: unknown, wanted: unknown): boolean {
  if (Array.isArray(there) && Array.isArray(wanted)) {
    return isDeepStrictEqual([...there].sort(), [...wanted].sort());
  }
  return isDeepStrictEqual(there, wanted);
}
