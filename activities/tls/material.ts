import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { TlsFiles } from '../../domain/tls-settings.ts';

/** What is in the files, as Node's TLS takes it. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** A certificate that somebody has to replace before it ends. */
export interface CertificateFacts {
  /** `ca`: of the authorities, the one that ends first · `client`: ours · `server`: the other side's. */
  readonly kind: 'ca' | 'client' | 'server';
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SHA-256 of all that the file holds of its kind, or of the server's certificate; lower-case hexadecimal. */
  readonly fingerprint: string;
}

/** Files that can't be used. It names no file and holds nothing of one. */
export class TlsFilesError extends Error {
  readonly code = 'TLS_FILES_UNUSABLE';
  readonly which: keyof TlsFiles;

  /** @param said as the end of a sentence about the file */
  constructor(which: keyof TlsFiles, said: string, cause?: unknown) {
    super(`the file with ${NAMES[which]} ${said}`, { cause });
    this.name = 'TlsFilesError';
    this.which = which;
  }
}

const NAMES = {
  ca: 'the certificate authorities',
  cert: 'the client certificate',
  key: 'the key of the client certificate',
} as const;

/**
 * Reads the files, all at the same moment as far as that can be had.
 * @throws {TlsFilesError} for a file that can't be read or holds something else, and for a key that isn't the certificate's
 */
export async function readTlsMaterial({ ca, cert, key }: TlsFiles): Promise<TlsMaterial> {
  const [authorities, certificate, privateKey] = await Promise.all([
    read('ca', ca),
    read('cert', cert),
    read('key', key),
  ]);
  if ((certificate === undefined) !== (privateKey === undefined)) {
    throw new TlsFilesError(certificate === undefined ? 'cert' : 'key', 'is missing');
  }
  if (certificate !== undefined && privateKey !== undefined) {
    const [own] = certificatesIn('cert', certificate);
    // While both are being replaced one may be older than the other.
    if (!own.checkPrivateKey(privateKeyIn(privateKey)))
      throw new TlsFilesError('key', 'is not that of the certificate');
  }
  return {
    // OpenSSL would take a file without any certificate for "trust nobody".
    ...(authorities !== undefined && { ca: pemOf(certificatesIn('ca', authorities)) }),
    ...(certificate !== undefined && { cert: pemOf(certificatesIn('cert', certificate)) }),
    ...(privateKey !== undefined && { key: privateKey }),
  };
}

/** One after the other, also where whoever joined them left out the line between: OpenSSL would stop reading there. */
function pemOf(certificates: readonly X509Certificate[]): string {
  return certificates.map((one) => one.toString()).join('');
}

/** What there is to know of the certificates in the files. */
export function certificateFacts({ ca, cert }: TlsMaterial): CertificateFacts[] {
  return [
    ...(ca === undefined ? [] : [factsOf('ca', ca, certificatesIn('ca', ca))]),
    // A chain may end earlier than what it leads to, and nobody accepts that then.
    ...(cert === undefined ? [] : [factsOf('client', cert, certificatesIn('cert', cert))]),
  ];
}

/** What there is to know of the certificate that a server has shown. */
export function serverFacts(certificate: X509Certificate): CertificateFacts {
  return { ...validityOf(certificate), kind: 'server', fingerprint: digestOf(certificate.raw) };
}

function factsOf(kind: 'ca' | 'client', pem: string, certificates: readonly X509Certificate[]): CertificateFacts {
  const [first] = certificates.map(validityOf).sort((a, b) => a.notAfter.getTime() - b.notAfter.getTime());
  if (!first) throw new TlsFilesError(kind === 'ca' ? 'ca' : 'cert', 'holds no certificate');
  return { ...first, kind, fingerprint: digestOf(pem) };
}

function validityOf({ validFromDate, validToDate }: X509Certificate) {
  return { notBefore: validFromDate, notAfter: validToDate };
}

function digestOf(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

async function read(which: keyof TlsFiles, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new TlsFilesError(which, 'cannot be read', cause);
  });
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function certificatesIn(which: 'ca' | 'cert', pem: string): [X509Certificate, ...X509Certificate[]] {
  try {
    const [first, ...others] = (pem.match(CERTIFICATE) ?? []).map((text) => new X509Certificate(text));
    if (first) return [first, ...others];
  } catch (cause) {
    throw new TlsFilesError(which, 'holds a certificate that is none', cause);
  }
  throw new TlsFilesError(which, 'holds no certificate');
}

function privateKeyIn(pem: string) {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new TlsFilesError('key', 'holds no private key', cause);
  }
}
