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

/** An authority of the embedded stack's own: what it signs is trusted by those who are given its certificate. */
export interface Authority {
  readonly ca: string;
  /** A certificate for servers on 127.0.0.1 and localhost. */
  issue(name: string): Promise<Certificate>;
}

/** Makes an authority; its key is in this process only and ends with it. */
export async function createAuthority(): Promise<Authority> {
  const ca = await keyPair();
  const validity = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + LIFETIME_MS) };
  const root = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(),
      name: 'CN=BYOC development',
      ...validity,
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
    ca: root.toString('pem'),
    async issue(name) {
      const server = await keyPair();
      const certificate = await x509.X509CertificateGenerator.create(
        {
          serialNumber: serialNumber(),
          subject: `CN=${name}`,
          issuer: root.subject,
          ...validity,
          publicKey: server.pair.publicKey,
          signingKey: ca.pair.privateKey,
          signingAlgorithm: ALGORITHM,
          extensions: [
            new x509.BasicConstraintsExtension(false, undefined, true),
            new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
            new x509.SubjectAlternativeNameExtension([
              { type: 'ip', value: '127.0.0.1' },
              { type: 'dns', value: 'localhost' },
            ]),
          ],
        },
        crypto,
      );
      return { cert: certificate.toString('pem'), key: server.pem };
    },
  };
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
