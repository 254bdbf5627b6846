import 'reflect-metadata'; // @peculiar/x509 does not load without it
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 3_600_000;
const LIFETIME_MS = 30 * DAY_MS;

/** A certificate and its private key, both in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** Whom it is for; servers where it is left out. */
  readonly use?: 'server' | 'client';
  /** Its subject alternative names; this machine where they are left out. */
  readonly names?: readonly { readonly type: 'dns' | 'ip' | 'url'; readonly value: string }[];
  readonly notAfter?: Date;
}

/** An authority of the embedded stack's own, or of a test's: what it signs is trusted by those who are given its certificate. */
export interface Authority {
  /** Its certificate, PEM. */
  readonly ca: string;
  issue(name: string, options?: CertificateOptions): Promise<Certificate>;
}

const THIS_MACHINE = [
  { type: 'ip', value: '127.0.0.1' },
  { type: 'dns', value: 'localhost' },
] as const;

/**
 * Makes an authority; its key is in this process only and ends with it.
 * @param notAfter when its own certificate ends; in 30 days where it is left out
 */
export async function createAuthority(notAfter?: Date): Promise<Authority> {
  const ca = await keyPair();
  const root = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(),
      // A name of its own: OpenSSL looks issuers up by name, and two authorities may be in one file.
      name: `CN=BYOC development ${randomBytes(4).toString('hex')}`,
      ...validity(notAfter),
      keys: ca.pair,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ],
    },
    crypto,
  );
  return {
    ca: `${root.toString('pem')}\n`,
    async issue(name, { use = 'server', names = THIS_MACHINE, notAfter: end } = {}) {
      const subject = await keyPair();
      const certificate = await x509.X509CertificateGenerator.create(
        {
          serialNumber: serialNumber(),
          subject: `CN=${name}`,
          issuer: root.subject,
          ...validity(end),
          publicKey: subject.pair.publicKey,
          signingKey: ca.pair.privateKey,
          signingAlgorithm: ALGORITHM,
          extensions: [
            new x509.BasicConstraintsExtension(false, undefined, true),
            new x509.ExtendedKeyUsageExtension([
              use === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth,
            ]),
            new x509.SubjectAlternativeNameExtension([...names]),
          ],
        },
        crypto,
      );
      return { cert: `${certificate.toString('pem')}\n`, key: subject.pem };
    },
  };
}

function validity(notAfter = new Date(Date.now() + LIFETIME_MS)) {
  return { notBefore: new Date(Math.min(Date.now(), notAfter.getTime()) - DAY_MS), notAfter };
}

async function keyPair() {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
  const pair = {
    publicKey: await crypto.subtle.importKey('spki', spki, ALGORITHM, true, ['verify']),
    privateKey: await crypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, false, ['sign']),
  };
  return { pair, pem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

function serialNumber(): string {
  return `00${randomBytes(15).toString('hex')}`; // positive
}
