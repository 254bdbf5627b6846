import { readFile } from 'node:fs/promises';
import { createLocalJWKSet, errors } from 'jose';
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import { request } from 'undici';
import { z } from 'zod';
import type { TlsSource } from '../../activities/tls/context.ts';
import { verifyingAgents } from '../../activities/tls/undici-agents.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { JwtSettings } from './settings.ts';

/** How long keys are used before they are read again; also how long a withdrawn key may still count. */
const FRESH_MS = 5 * 60_000;
/** How long they serve where nobody answers. */
const USABLE_MS = 60 * 60_000;
/** The least time between two readings: tokens with made-up key ids cause no more. */
const COOLDOWN_MS = 5_000;
const TIMEOUT_MS = 3_000;
const MAX_BYTES = 256 * 1024;

const jwksSchema = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(100) });

export interface KeySet {
  readonly keyFor: JWTVerifyGetKey;
  close(): Promise<void>;
}

/** The public keys of whoever issues tokens, kept and read again when they are old or a token names one that is not among them. */
export function createKeySet(source: JwtSettings['keys'], onRead: (error?: unknown) => void): KeySet {
  const now = () => performance.now();
  const reader = readerOf(source);
  let kept: { readonly find: JWTVerifyGetKey; readonly at: number } | undefined;
  let triedAt = -Infinity;
  let reading: Promise<void> | undefined;

  /** One at a time, for all who wait; not again before the cooldown is over, whatever came of it. */
  function refresh(): Promise<void> {
    if (reading) return reading;
    if (now() - triedAt < COOLDOWN_MS) return Promise.resolve();
    triedAt = now();
    reading = reader
      .read()
      .then(
        (jwks) => {
          kept = { find: createLocalJWKSet(jwks), at: now() };
          onRead();
        },
        (error: unknown) => {
          onRead(error);
          throw error;
        },
      )
      .finally(() => (reading = undefined));
    return reading;
  }

  return {
    async keyFor(header, token) {
      if (!kept || now() - kept.at > FRESH_MS) await refresh().catch(unlessKept(kept));
      if (!kept || now() - kept.at > USABLE_MS) {
        throw new ConnectorError('CALLERS_UNAVAILABLE', 'The keys cannot be read.');
      }
      const { find } = kept;
      try {
        return await find(header, token);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
        await refresh().catch(() => undefined); // those that are there don't have it, which is the answer then
        if (kept.find === find) throw error;
        return kept.find(header, token);
      }
    },
    close: () => reader.close(),
  };
}

/** Reads the keys once, for whoever asks whether they can be read. */
export async function readJwks(source: JwtSettings['keys']): Promise<JSONWebKeySet> {
  const reader = readerOf(source);
  try {
    return await reader.read();
  } finally {
    await reader.close();
  }
}

function readerOf(source: JwtSettings['keys']): Reader {
  return 'url' in source ? urlReader(source.url, source.tls) : fileReader(source.path);
}

function unlessKept(kept: unknown): (cause: unknown) => void {
  return (cause) => {
    if (!kept) throw new ConnectorError('CALLERS_UNAVAILABLE', 'The keys cannot be read.', { cause });
  };
}

interface Reader {
  read(): Promise<JSONWebKeySet>;
  close(): Promise<void>;
}

function fileReader(path: string): Reader {
  return { read: async () => parse(await readFile(path, 'utf8')), close: () => Promise.resolve() };
}

/** Follows no redirects, and reads no more than keys can be. */
function urlReader(url: string, tls: TlsSource): Reader {
  const agents = verifyingAgents(tls, { connectTimeoutMs: TIMEOUT_MS });
  return {
    async read() {
      const dispatcher = await agents.current();
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const { statusCode, body } = await request(url, { dispatcher, signal });
      if (statusCode !== 200) {
        await body.dump();
        throw new Error(`it answered ${statusCode}`);
      }
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes`);
        chunks.push(chunk);
      }
      return parse(Buffer.concat(chunks).toString('utf8'));
    },
    close: () => agents.close(),
  };
}

function parse(text: string): JSONWebKeySet {
  return jwksSchema.parse(JSON.parse(text));
}
