import { constants, deflate, inflate } from 'node:zlib';
import { promisify } from 'node:util';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { defaultPayloadConverter } from '@temporalio/common';
import protos from '@temporalio/proto';
import { malformed } from '../../domain/malformed.ts';

/** Payloads from this size on are compressed; smaller ones stay readable in the Temporal UI. */
const COMPRESS_FROM_BYTES = 16 * 1024;

/** What a compressed payload may grow to; more is refused before it fills the memory. */
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
    return Promise.all(payloads.map(decodeOne));
  }
}

async function encodeOne(payload: Payload): Promise<Payload> {
  if ((payload.data?.length ?? 0) < COMPRESS_FROM_BYTES) return payload;
  const message = PayloadMessage.encode(payload).finish();
  const data = await compress(Buffer.from(message), { level: constants.Z_BEST_SPEED });
  return data.length < message.length ? { metadata: { encoding: Buffer.from(ENCODING) }, data } : payload;
}

async function decodeOne(payload: Payload): Promise<Payload> {
  const encoding = payload.metadata?.['encoding'];
  if (!encoding || Buffer.from(encoding).toString() !== ENCODING) return payload;
  try {
    const message = await decompress(Buffer.from(payload.data ?? []), { maxOutputLength: MAX_DECOMPRESSED_BYTES });
    return PayloadMessage.decode(message);
  } catch (error) {
    const why = error instanceof Error ? error.message : 'unreadable';
    return defaultPayloadConverter.toPayload(malformed(`compressed data: ${why}`));
  }
}
