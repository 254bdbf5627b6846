import { createDeflate, deflateSync } from 'node:zlib';
import { buffer } from 'node:stream/consumers';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { Payload } from '@temporalio/common';
import { defaultPayloadConverter } from '@temporalio/common';
import protos from '@temporalio/proto';
import { CompressionCodec } from '../../client/data-converter/compression-codec.ts';
import { isMalformed } from '../../domain/malformed.ts';

const MIB = 1024 * 1024;
const codec = new CompressionCodec();
const valuesOf = (payloads: readonly Payload[]) =>
  payloads.map((one) => defaultPayloadConverter.fromPayload<unknown>(one));
const compressed = (data: Uint8Array): Payload => ({ metadata: { encoding: Buffer.from('binary/zlib') }, data });

/** A payload as the codec writes it, of so much text. */
function textOf(sizeBytes: number): Payload {
  const payload = defaultPayloadConverter.toPayload('a'.repeat(sizeBytes));
  return compressed(deflateSync(protos.temporal.api.common.v1.Payload.encode(payload).finish()));
}

/** What is sent to the connector is compressed by whoever sends it. */
describe('a compressed payload', () => {
  let bomb: Buffer;
  beforeAll(async () => {
    const stream = createDeflate({ level: 9 });
    for (let written = 0; written < 256; written++) stream.write(Buffer.alloc(MIB));
    stream.end();
    bomb = await buffer(stream);
  });

  it('comes out as it went in', async () => {
    const values = ['a'.repeat(100_000), 'short'];
    const encoded = await codec.encode(values.map((value) => defaultPayloadConverter.toPayload(value)));
    expect(encoded[0]?.data?.length).toBeLessThan(1_000);
    expect(valuesOf(await codec.decode(encoded))).toEqual(values);
  });

  it('may grow to nearly 8 MiB, as the largest plans do', async () => {
    expect(valuesOf(await codec.decode([textOf(8 * MIB - 1_000)]))).toEqual(['a'.repeat(8 * MIB - 1_000)]);
  });

  it('is malformed where it would grow further, and costs no more memory than that', async () => {
    expect(bomb.length).toBeLessThan(MIB / 2); // 256 MiB of zeros
    const before = process.memoryUsage().arrayBuffers;
    const [value] = valuesOf(await codec.decode([compressed(bomb)]));
    expect(isMalformed(value)).toBe(true);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * MIB);
  });

  it('is malformed where the payloads of its message grow further together', async () => {
    const values = valuesOf(await codec.decode(Array.from({ length: 50 }, () => textOf(3 * MIB))));
    expect(values.map(isMalformed)).toEqual(values.map((_, index) => index >= 2));
  });
});
