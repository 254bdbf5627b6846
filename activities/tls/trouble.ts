import { TlsFilesError } from './material.ts';

/**
 * Why a connection failed, where it is for its certificates: as the end of a sentence about the server. Only the kind of
 * error is told: the rest may hold a request.
 * @returns undefined where something else was wrong
 */
export function tlsTroubleIn(error: unknown): string | undefined {
  let one = error;
  for (let depth = 0; depth < 5 && typeof one === 'object' && one !== null; depth += 1) {
    if (one instanceof TlsFilesError) return one.message;
    const code = 'code' in one && typeof one.code === 'string' ? one.code : '';
    if (REFUSES_OURS.test(code)) return `it does not accept our client certificate (${code})`;
    if (NOT_VERIFIED.test(code)) return `its certificate does not verify (${code})`;
    if (/^(ERR_SSL|ERR_TLS|EPROTO)/.test(code)) return `no TLS connection comes about (${code})`;
    one = 'cause' in one ? one.cause : undefined;
  }
  return undefined;
}

/** Alerts of the other side (RFC 8446, section 6.2) as OpenSSL names them. */
const REFUSES_OURS =
  /^ERR_SSL_\w+_ALERT_(CERTIFICATE|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/;
/** https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const NOT_VERIFIED = /CERT|SIGNATURE|ISSUER|SELF_SIGNED|PATH_LENGTH|INVALID_PURPOSE|HOSTNAME_MISMATCH|CRL/;
