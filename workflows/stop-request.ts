import { setHandler } from '@temporalio/workflow';
import type { StopRequest } from '../domain/status.ts';
import { stopRequested } from './messages.ts';
import type { PackageRun } from './package-run.ts';

const MAX_NAME_CHARS = 256;
const MAX_REASON_CHARS = 1_000;

/** Takes down who stops the package and why; a cancellation without it, as from the Temporal UI, stops it just as well. */
export function hearStop(run: PackageRun): void {
  const hear = (argument: unknown) => {
    const request = readRequest(argument);
    if (request) run.stopRequested(request);
  };
  setHandler(stopRequested, hear, { description: '{ by, reason? }: who cancels the run next, and why; asserted' });
}

/** Undefined for what is no such request: anybody may send anything. */
function readRequest(argument: unknown): StopRequest | undefined {
  if (typeof argument !== 'object' || argument === null || !('by' in argument)) return undefined;
  const { by } = argument;
  const reason = 'reason' in argument ? argument.reason : undefined;
  if (typeof by !== 'string' || by === '' || (reason !== undefined && typeof reason !== 'string')) return undefined;
  return { by: by.slice(0, MAX_NAME_CHARS), ...(reason && { reason: reason.slice(0, MAX_REASON_CHARS) }) };
}
