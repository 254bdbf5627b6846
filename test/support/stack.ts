import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServiceName, Stack } from '../../dev/stack.ts';
import { startStack } from '../../dev/stack.ts';
import type { Services } from '../../dev/stack.ts';
import { readState } from '../../dev/state.ts';

/** Names the state folder of the stack that test/run.ts started for the whole run. */
export const SHARED_STACK = 'BYOC_TEST_STACK';

/** Says what the connectors of a layer wear, where a test does not say it (`test/support/connector.ts`). */
export const TEST_CLOTHES = 'BYOC_TEST_CLOTHES';

/** The state folder of the shared stack; gone when the run ends. */
export function sharedFolder(): string {
  const folder = process.env[SHARED_STACK];
  if (folder === undefined) throw new Error(NO_STACK);
  return folder;
}

const NO_STACK = 'No stack runs for the tests. Run them with npm test, or one file with: npm test -- FILE';

/** The services that all tests of a run share: they use namespaces, clusters and ids of their own, and break nothing. */
export async function sharedServices(): Promise<Services> {
  const services = (await readState(sharedFolder()))?.services;
  if (!services?.temporal || !services.vault || !services.s3 || !services.kubernetes || !services.controlPlane) {
    throw new Error(NO_STACK);
  }
  return services as Services;
}

/** A stack of the test's own, to take parts away from. Stop it in `afterAll`. */
export async function ownStack(
  services: readonly ServiceName[],
  { persist = false }: { readonly persist?: boolean } = {},
): Promise<Stack> {
  const stateDir = await mkdtemp(join(tmpdir(), 'byoc-test-'));
  const stack = await startStack({ stateDir, env: process.env, services, persist });
  const stop = async () => {
    await stack.stop();
    await rm(stateDir, { recursive: true, force: true });
  };
  return Object.create(stack, { stop: { value: stop } }) as Stack;
}
