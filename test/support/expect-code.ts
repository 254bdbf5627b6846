import { expect } from '@jest/globals';
import { ConnectorError } from '../../domain/errors.ts';

/** The ConnectorError that a call ends with; fails the test where it ends otherwise. */
export function errorOf(work: () => unknown): ConnectorError {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(ConnectorError);
    return error as ConnectorError;
  }
  throw new Error('expected an error, but there was none');
}

export async function asyncErrorOf(work: () => Promise<unknown>): Promise<ConnectorError> {
  const error: unknown = await work().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ConnectorError);
  return error as ConnectorError;
}
