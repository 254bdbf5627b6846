import type { Payload, PayloadConverter } from '@temporalio/common';
import { defaultPayloadConverter } from '@temporalio/common';
import { malformed } from '../../domain/malformed.ts';

/** Decodes what it can and hands on the rest as `Malformed`; see there. Runs in the workflow sandbox as well. */
class TolerantPayloadConverter implements PayloadConverter {
  toPayload<T>(value: T): Payload {
    return defaultPayloadConverter.toPayload(value);
  }

  fromPayload<T>(payload: Payload): T {
    try {
      return defaultPayloadConverter.fromPayload<T>(payload);
    } catch (error) {
      // T is what the receiver hopes for; receivers of messages from outside validate and find a Malformed instead.
      return malformed(error instanceof Error ? error.message : 'undecodable') as T;
    }
  }
}

export const payloadConverter = new TolerantPayloadConverter();
