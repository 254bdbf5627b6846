import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import type { ErrorCode } from '../domain/errors.ts';
import { ConnectorError } from '../domain/errors.ts';

/** Waits that people end: what waits for them goes on soon after, however long it has waited. */
const SOON: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['FROZEN', 'FREEZE_UNKNOWN', 'OBJECTS_LOCKED']);
const SOON_AGAIN = '2s';

/**
 * The one translation from the connector's errors to Temporal's: the type is the code, and whether a retry can help is
 * what the code's table says. Causes and stacks stay here; they are for the log.
 */
export function toApplicationFailure(error: unknown, details?: unknown): Error {
  if (error instanceof CancelledFailure || error instanceof ApplicationFailure) return error;
  const known = error instanceof ConnectorError ? error : new ConnectorError('INTERNAL', '', { cause: error });
  // What is away is named by its code; addresses and paths of this cluster stay in its own logs.
  const message = known.traits.retryable ? known.traits.sentence : known.message;
  const failure = ApplicationFailure.create({
    type: known.code,
    message,
    nonRetryable: !known.traits.retryable,
    ...(SOON.has(known.code) && { nextRetryDelay: SOON_AGAIN }),
    ...(details === undefined ? {} : { details: [details] }),
  });
  failure.stack = `${known.code}: ${message}`; // Temporal stores stacks; paths of this machine are nobody's business.
  return failure;
}
