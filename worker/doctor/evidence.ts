import type { TlsSource } from '../../activities/tls/context.ts';
import { tlsContextOf } from '../../activities/tls/context.ts';
import type { TlsMaterial } from '../../activities/tls/material.ts';
import { TlsFilesError } from '../../activities/tls/material.ts';
import { found } from './check.ts';
import type { Told } from './check.ts';
import type { FindingCode } from './catalogue.ts';
import type { Answered, NoAnswer } from './probe.ts';

/** What comes up while parts are asked for something else, and is judged together at the end. */
export class Evidence {
  /** How far each part's clock is ahead of ours, ms. */
  readonly clocks = new Map<string, number>();
  /** When certificates expire, by what they are. */
  readonly certificates = new Map<string, Date>();

  take(part: string, { clockOffsetMs, certificateExpiresAt }: Partial<Answered>): void {
    if (clockOffsetMs !== undefined) this.clocks.set(part, clockOffsetMs);
    if (certificateExpiresAt) this.certificates.set(part, certificateExpiresAt);
  }
}

/** What a part that does not answer is told as. */
export function noAnswer(
  { why, code }: NoAnswer,
  codes: { readonly away: FindingCode; readonly certificate: FindingCode },
  where: string,
): Told {
  return why === 'certificate'
    ? found(codes.certificate, `The certificate of ${where} does not verify (${code}).`)
    : found(codes.away, `${where} does not answer (${code}).`);
}

/** An address as it may be shown: without what it may hold of a login. */
export function shown(url: string): string {
  const parsed = URL.parse(url);
  return parsed ? `${parsed.protocol}//${parsed.host}${parsed.pathname.replace(/\/$/, '')}` : 'the address';
}

/** What the TLS files of a part hold, or why they cannot be used. */
export async function materialOf(source: TlsSource | undefined): Promise<TlsMaterial | TlsFilesError> {
  try {
    return await tlsContextOf(source).current();
  } catch (error) {
    if (error instanceof TlsFilesError) return error;
    throw error;
  }
}

/** The trouble with files, as a sentence. */
export function aboutFiles(where: string, { message }: TlsFilesError): string {
  return `${where}: ${message}.`;
}
