/**
 * What stands in for a message that could not be decoded. A message from outside (any bytes, any encoding) must never
 * fail a workflow task: a failed task is retried for ever, and a stop would no longer be heard either.
 */
export interface Malformed {
  readonly __malformed__: string;
}

export function malformed(why: string): Malformed {
  return { __malformed__: why };
}

export function isMalformed(value: unknown): value is Malformed {
  return typeof value === 'object' && value !== null && '__malformed__' in value;
}

/** What a worker answers that was asked of a run whose history is encrypted with a key that it does not have. */
export const UNREADABLE_RUN = 'PAYLOAD_SEALED: This run is encrypted, and the worker has no key for it.';

/** What is encrypted for others than the reader: a control plane, which has no key of the cluster's. */
const SEALED = 'it is encrypted, and there is no key for it here';

export function sealed(): Malformed {
  return malformed(SEALED);
}

export function isSealed(value: unknown): value is Malformed {
  return isMalformed(value) && value.__malformed__ === SEALED;
}
