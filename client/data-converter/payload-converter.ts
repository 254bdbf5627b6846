import type { Payload, PayloadConverter } from '@temporalio/common';
import { defaultPayloadConverter } from '@temporalio/common';
import { decode } from '@temporalio/common/lib/encoding.js';
import { malformed, sealed } from '../../domain/malformed.ts';
import { ENCRYPTED_ENCODING } from '../../domain/payload-key.ts';

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
      const undecodable = isEncrypted(payload)
        ? sealed()
        : malformed(error instanceof Error ? error.message : 'undecodable');
      return undecodable as T;
    }
  }
}

/** Whoever has the key has taken the encryption off before this. */
function isEncrypted({ metadata }: Payload): boolean {
  const encoding = metadata?.['encoding'];
  return encoding !== undefined && decode(encoding) === ENCRYPTED_ENCODING;
}

export const payloadConverter = new TolerantPayloadConverter();
