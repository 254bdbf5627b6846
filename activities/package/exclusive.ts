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
  /** Whether more work on the same objects follows when this has failed: another attempt, or undoing it. */
  readonly goesOn: (error: unknown) => boolean;
}

/**
 * Does work on the objects of a package while no other package does. Work that fails, and is gone on with, keeps them.
 * @throws {ConnectorError} what `Locks.acquire` and the work throw
 */
export async function exclusively<T>(locks: Locks, request: ExclusiveRequest, work: () => Promise<T>): Promise<T> {
  const lock = await locks.acquire(request);
  let goesOn = false;
  try {
    return await work();
  } catch (error) {
    goesOn = request.goesOn(error);
    throw error;
  } finally {
    await (goesOn ? lock.keep() : lock.release());
  }
}
