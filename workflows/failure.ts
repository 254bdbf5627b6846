import { ApplicationFailure } from '@temporalio/workflow';
import type { ErrorCode } from '../domain/errors.ts';

/** A final failure. Temporal keeps the stack of what it is given; paths of this machine are nobody's business. */
export function finalFailure(code: ErrorCode, message: string, ...details: unknown[]): ApplicationFailure {
  const failure = ApplicationFailure.create({ type: code, message, nonRetryable: true, details });
  failure.stack = `${code}: ${message}`;
  return failure;
}
