import {
  isGrpcServiceError,
  NamespaceNotFoundError,
  QueryNotRegisteredError,
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { ActivityFailure, ApplicationFailure } from '@temporalio/common';
import type { ErrorCode } from '../domain/errors.ts';
import { ConnectorError, ERRORS, isErrorCode } from '../domain/errors.ts';
import { UNREADABLE_RUN } from '../domain/malformed.ts';

// Codes of gRPC (https://grpc.io/docs/guides/status-codes/) that say who is away.
const GRPC_DEADLINE_EXCEEDED = 4;
const GRPC_NOT_FOUND = 5;
const GRPC_FAILED_PRECONDITION = 9;
const GRPC_UNAVAILABLE = 14;

/** Turns what Temporal's client throws into the connector's own errors; `about` names the package. */
export function toConnectorError(error: unknown, about = ''): Error {
  if (error instanceof ConnectorError) return error;
  if (error instanceof WorkflowExecutionAlreadyStartedError) return new ConnectorError('WPK_ALREADY_USED', about);
  if (error instanceof WorkflowNotFoundError) return new ConnectorError('WPK_NOT_FOUND', about);
  if (error instanceof WorkflowUpdateFailedError) {
    const { cause } = error;
    if (cause instanceof ApplicationFailure && isErrorCode(cause.type)) {
      return fromFailure(cause.type, cause.message, error);
    }
  }
  if (error instanceof WorkflowFailedError) {
    const refusal = error.cause instanceof ActivityFailure ? error.cause.cause : error.cause;
    if (refusal instanceof ApplicationFailure && isErrorCode(refusal.type))
      return fromFailure(refusal.type, refusal.message, error);
  }
  if (error instanceof NamespaceNotFoundError) {
    return new ConnectorError('CONFIG_INVALID', `Temporal has no namespace ${error.namespace}.`, { cause: error });
  }
  if (error instanceof QueryNotRegisteredError) return fromQuery(error, about);
  const grpc = grpcErrorIn(error);
  switch (grpc?.code) {
    case GRPC_NOT_FOUND:
      return new ConnectorError('WPK_NOT_FOUND', about, { cause: error });
    case GRPC_FAILED_PRECONDITION:
      // What the service answers a query for which no worker polls.
      return new ConnectorError('WORKER_UNAVAILABLE', grpc.details, { cause: error });
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_UNAVAILABLE:
      return new ConnectorError('TEMPORAL_UNAVAILABLE', '', { cause: error });
    default:
      return error instanceof ServiceError
        ? new ConnectorError('TEMPORAL_UNAVAILABLE', error.message, { cause: error })
        : new ConnectorError('INTERNAL', '', { cause: error });
  }
}

/** What the SDK puts in place of a message that is encrypted: those without the key know the code only. */
export const SEALED_MESSAGE = 'Encoded failure';

/**
 * How workers answer that there is no such query: the SDKs of TypeScript, Go and Java, and Python. Any could have been
 * started under the id of a package.
 */
const NO_SUCH_QUERY = /did not register a handler|unknown query ?type|expected but not found/i;

/** Temporal's client has one error for whatever a query is answered with that is no answer. */
function fromQuery(error: QueryNotRegisteredError, about: string): ConnectorError {
  if (isUnreadableRun(error)) {
    return new ConnectorError('PAYLOAD_SEALED', 'It is the worker that has none for this run.', { cause: error });
  }
  // A run that is no package's has no such query.
  if (NO_SUCH_QUERY.test(error.message)) return new ConnectorError('WPK_NOT_FOUND', about, { cause: error });
  return new ConnectorError('INTERNAL', `The worker cannot tell of ${about}: ${error.message}`, { cause: error });
}

/** Whether a query met a worker that has no key for the run. One that lost a single key encrypts its answer as well. */
export function isUnreadableRun(error: unknown): boolean {
  if (!(error instanceof QueryNotRegisteredError)) return false;
  return error.message.includes(UNREADABLE_RUN) || error.message.includes(SEALED_MESSAGE);
}

/** The message begins with the sentence of the code, which the new error says again. */
function fromFailure(code: ErrorCode, message: string, cause: unknown): ConnectorError {
  const detail = message === SEALED_MESSAGE ? '' : message.replace(ERRORS[code].sentence, '').trim();
  return new ConnectorError(code, detail, { cause });
}

/** Whether a call ended because its time was over. */
export function isDeadlineExceeded(error: unknown): boolean {
  return (
    error instanceof WorkflowUpdateRPCTimeoutOrCancelledError || grpcErrorIn(error)?.code === GRPC_DEADLINE_EXCEEDED
  );
}

function grpcErrorIn(error: unknown): { code: number; details: string } | undefined {
  for (let one = error; one instanceof Error; one = one.cause) {
    if (isGrpcServiceError(one)) return one;
  }
  return undefined;
}
