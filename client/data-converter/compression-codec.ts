import { constants, deflate, inflate } from 'node:zlib';
import { promisify } from 'node:util';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { defaultPayloadConverter } from '@temporalio/common';
import protos from '@temporalio/proto';
import { malformed } from '../../domain/malformed.ts';

/** Payloads from this size on are compressed; smaller ones stay readable in the Temporal UI. */
const COMPRESS_FROM_BYTES = 16 * 1024;

/** What the compressed payloads of a message may grow to, together; more is refused before it fills the memory. */
const MAX_DECOMPRESSED_BYTES = 8 * 1024 * 1024;

/** The encoding's name and form are those of the Go SDK's `NewZlibCodec`: a zlib stream of the original payload message. */
const ENCODING = 'binary/zlib';

const compress = promisify<Buffer, object, Buffer>(deflate);
const decompress = promisify<Buffer, object, Buffer>(inflate);

const PayloadMessage = protos.temporal.api.common.v1.Payload;

/** Brings packages and plans of up to 1 MiB and 1,000 objects under Temporal's limit of 2 MB a payload. */
export class CompressionCodec implements PayloadCodec {
  async encode(payloads: Payload[]): Promise<Payload[]> {
    return Promise.all(payloads.map(encodeOne));
  }

  async decode(payloads: Payload[]): Promise<Payload[]> {
    let left = MAX_DECOMPRESSED_BYTES;
    const decoded: Payload[] = [];
    // One after the other: a message may have as many payloads as it likes, each of which could be a bomb.
    for (const payload of payloads) {
      const { message, sizeBytes } = await decodeOne(payload, left);
      decoded.push(message);
      left -= sizeBytes;
    }
    return decoded;
  }
}

async function encodeOne(payload: Payload): Promise<Payload> {
  if ((payload.data?.length ?? 0) < COMPRESS_FROM_BYTES) return payload;
  const message = PayloadMessage.encode(payload).finish();
  const data = await compress(Buffer.from(message), { level: constants.Z_BEST_SPEED });
  return data.length < message.length ? { metadata: { encoding: Buffer.from(ENCODING) }, data } : payload;
}

/** @returns the payload, and how much room it took of what was left */
async function decodeOne(payload: Payload, left: number): Promise<{ message: Payload; sizeBytes: number }> {
  const encoding = payload.metadata?.['encoding'];
  if (!encoding || Buffer.from(encoding).toString() !== ENCODING) return { message: payload, sizeBytes: 0 };
  try {
    if (left <= 0) throw new Error('too much of it');
    const bytes = await decompress(Buffer.from(payload.data ?? []), { maxOutputLength: left });
    return { message: PayloadMessage.decode(bytes), sizeBytes: bytes.length };
  } catch (error) {
    const why = error instanceof Error ? error.message : 'unreadable';
    return { message: defaultPayloadConverter.toPayload(malformed(`compressed data: ${why}`)), sizeBytes: 0 };
  }
}
