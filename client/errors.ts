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
  // A run that is no package's has no such query.
  if (error instanceof QueryNotRegisteredError) return new ConnectorError('WPK_NOT_FOUND', about, { cause: error });
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
