import type { IncomingMessage, RequestOptions } from 'node:http';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { connect as tlsConnect } from 'node:tls';

/**
 * Asks a part for anything at all, with a method that changes nothing and without saying who asks: whether it answers,
 * who it proves to be, and what time it has. Redirects are answers. Certificates are verified, whatever the environment says.
 */

export interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** The first 64 KiB. */
  readonly text: string;
  /** How far its clock is ahead of ours, ms; undefined where it told no time. */
  readonly clockOffsetMs: number | undefined;
  /** When its certificate expires; undefined for plain HTTP. */
  readonly certificateExpiresAt: Date | undefined;
}

/** Why there is no answer: what it proves itself with is not trusted here, or nobody is there. */
export interface NoAnswer {
  readonly why: 'certificate' | 'away';
  /** A code of Node or OpenSSL, or a word. */
  readonly code: string;
}

export type Probed = { readonly answer: Answered } | { readonly trouble: NoAnswer };

export interface ProbeOptions {
  readonly signal: AbortSignal;
  readonly method?: 'GET' | 'HEAD';
  readonly tls?: TlsMaterial;
  readonly headers?: Readonly<Record<string, string>>;
}

/** As Node takes it; the built-in authorities where `ca` is left out. */
export type TlsMaterial = Pick<
  ConnectionOptions,
  'ca' | 'cert' | 'key' | 'passphrase' | 'servername' | 'ALPNProtocols'
>;

const MAX_TEXT = 64 * 1024;

export async function probe(url: string, options: ProbeOptions): Promise<Probed> {
  const { signal, method = 'GET', tls, headers = {} } = options;
  const isTls = url.startsWith('https:');
  const asked: RequestOptions = {
    method,
    signal,
    agent: false,
    headers: { accept: 'application/json, */*', ...headers },
    ...(isTls && { ...tls, rejectUnauthorized: true }),
  };
  const sentAt = Date.now();
  try {
    const answer = await new Promise<Answered>((resolve, reject) => {
      const outgoing = (isTls ? httpsRequest : httpRequest)(url, asked, (incoming) => {
        const receivedAt = Date.now();
        const certificateExpiresAt = isTls ? expiryOf(incoming.socket as TLSSocket) : undefined;
        readText(incoming).then((text) => {
          const { statusCode: status = 0, headers: given } = incoming;
          const clockOffsetMs = offsetOf(given.date, sentAt, receivedAt);
          resolve({ status, headers: given, text, clockOffsetMs, certificateExpiresAt });
        }, reject);
      });
      outgoing.on('error', reject).end();
    });
    return { answer };
  } catch (error) {
    return { trouble: troubleOf(error) };
  }
}

/** The same for what speaks something else over TLS, such as gRPC: the handshake alone. */
export async function probeTls({
  host,
  port,
  tls,
  signal,
}: {
  host: string;
  port: number;
  tls: TlsMaterial;
  signal: AbortSignal;
}): Promise<{ readonly certificateExpiresAt: Date | undefined } | { readonly trouble: NoAnswer }> {
  const socket = tlsConnect({
    host,
    port,
    ...(isIP(host) ? {} : { servername: host }),
    ...tls,
    rejectUnauthorized: true,
  });
  const cut = () => socket.destroy(new Error('it was too slow'));
  signal.addEventListener('abort', cut, { once: true });
  try {
    await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    return { certificateExpiresAt: expiryOf(socket) };
  } catch (error) {
    return { trouble: troubleOf(error) };
  } finally {
    signal.removeEventListener('abort', cut);
    socket.destroy();
  }
}

function expiryOf(socket: TLSSocket): Date | undefined {
  const { valid_to: until } = socket.getPeerCertificate();
  const expiresAt = new Date(until ?? NaN);
  return Number.isNaN(expiresAt.getTime()) ? undefined : expiresAt;
}

async function readText(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size >= MAX_TEXT) break; // which ends the connection
  }
  return Buffer.concat(chunks).toString('utf8').slice(0, MAX_TEXT);
}

/** The header tells whole seconds, so half of one is added. */
function offsetOf(date: string | undefined, sentAt: number, receivedAt: number): number | undefined {
  const time = Date.parse(date ?? '') + 500;
  return Number.isNaN(time) ? undefined : Math.round(time - (sentAt + receivedAt) / 2);
}

function troubleOf(error: unknown): NoAnswer {
  const { code = error instanceof Error ? error.name : 'unknown' } = error as { code?: string };
  return { why: isAboutCertificates(code) ? 'certificate' : 'away', code };
}

/** What an answer says, undefined where it is no JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Codes of OpenSSL's verification as Node has them, and of a handshake that does not come about. */
function isAboutCertificates(code: string): boolean {
  return /CERT|SIGNATURE|ISSUER|CRL|ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO|PATH_LENGTH|INVALID_CA|INVALID_PURPOSE/.test(code);
}
