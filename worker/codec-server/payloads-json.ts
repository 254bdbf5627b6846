import type { Payload } from '@temporalio/common';
import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';

/** `temporal.api.common.v1.Payloads` as JSON (proto3): what the Temporal UI and command send to a codec server. */
const bytes = z.string().transform((text) => Buffer.from(text, 'base64'));
const payloadsSchema = z.object({
  payloads: z
    .array(z.object({ metadata: z.record(z.string(), bytes).default({}), data: bytes.optional() }))
    .max(10_000)
    .default([]),
});

/** @throws {ConnectorError} CALL_MALFORMED */
export function readPayloads(body: unknown): Payload[] {
  const parsed = payloadsSchema.safeParse(parse(body));
  if (parsed.success) return parsed.data.payloads.map(({ metadata, data }) => ({ metadata, ...(data && { data }) }));
  throw new ConnectorError('CALL_MALFORMED', '', { cause: parsed.error });
}

export function writePayloads(payloads: readonly Payload[]): object {
  const text = (value: Uint8Array | null | undefined) => Buffer.from(value ?? []).toString('base64');
  return {
    payloads: payloads.map(({ metadata, data }) => ({
      metadata: Object.fromEntries(Object.entries(metadata ?? {}).map(([name, value]) => [name, text(value)])),
      data: text(data),
    })),
  };
}

function parse(body: unknown): unknown {
  try {
    return JSON.parse(Buffer.isBuffer(body) ? body.toString('utf8') : '');
  } catch {
    throw new ConnectorError('CALL_MALFORMED'); // Node's error quotes what it could not read, and errors are logged
  }
}
