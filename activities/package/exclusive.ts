import { ConnectorError } from '../../domain/errors.ts';
import type { Wpk } from '../../domain/wpk.ts';
import type { Locks } from './locks.ts';

export interface ExclusiveRequest {
  readonly wpk: Wpk;
  readonly runId: string;
  /** Name of the Lease of the executor that does the work. */
  readonly executor: string;
  readonly signal: AbortSignal;
  /** Told what it waits for, in words. */
  readonly onWait: (waitingFor: string) => void;
  /** Whether the work, where it fails, may have left something half done. */
  readonly isBegun: () => boolean;
}

/**
 * Does work on the objects of a package while no other package does. Work that fails halfway, to be tried again, keeps them.
 * @throws {ConnectorError} what `Locks.acquire` and the work throw
 */
export async function exclusively<T>(locks: Locks, request: ExclusiveRequest, work: () => Promise<T>): Promise<T> {
  const lock = await locks.acquire(request);
  let comesAgain = false;
  try {
    return await work();
  } catch (error) {
    const isFinal = error instanceof ConnectorError && !error.traits.retryable;
    comesAgain = !isFinal && request.isBegun();
    throw error;
  } finally {
    await (comesAgain ? lock.keep() : lock.release());
  }
}
