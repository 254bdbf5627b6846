import { hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { z } from 'zod';
import type { Digest } from '../../domain/digest.ts';
import { Refusal } from './refusal.ts';

const MAX_BYTES = 1024 * 1024;
const MAX_UNPACKED_BYTES = 8 * 1024 * 1024;

const unpack = promisify(gunzip);

export interface ReadBody<T> {
  readonly value: T;
  /** Over the JSON text, whatever it was packed in. */
  readonly digest: Digest;
}

/** Reads a JSON body and holds it against a schema; what is too large is refused before it is read or unpacked. */
export async function readBody<T>(request: IncomingMessage, schema: z.ZodType<T>): Promise<ReadBody<T>> {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = request.headers;
  if (!/^application\/json\s*(;|$)/i.test(type)) throw new Refusal('unsupported-media', `content type ${type}`);
  if (encoding !== 'gzip' && encoding !== 'identity') throw new Refusal('unsupported-media', `encoding ${encoding}`);
  const received = await collect(request);
  const text = encoding === 'gzip' ? await unpacked(received) : received;
  const parsed = schema.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new Refusal(
      'malformed',
      parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('; '),
    );
  }
  return { value: parsed.data, digest: `sha256:${hash('sha256', text, 'hex')}` };
}

async function collect(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BYTES) throw new Refusal('too-large', 'content-length');
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Refusal('too-large', `more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function unpacked(packed: Buffer): Promise<Buffer> {
  try {
    return await unpack(packed, { maxOutputLength: MAX_UNPACKED_BYTES });
  } catch (error) {
    const isTooLarge =
      typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
    throw new Refusal(isTooLarge ? 'too-large' : 'malformed', String(error));
  }
}

function parseJson(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString('utf8'));
  } catch {
    throw new Refusal('malformed', 'no JSON');
  }
}
