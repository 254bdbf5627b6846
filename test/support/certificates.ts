import type { webcrypto } from 'node:crypto';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import 'reflect-metadata'; // its CommonJS build, which jest takes, wants it there before itself
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

/** A certificate with its private key, in PEM. */
export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  readonly names: readonly { readonly type: 'dns' | 'ip' | 'url'; readonly value: string }[];
  readonly use: 'server' | 'client';
  readonly notAfter?: Date;
}

/** An authority of a test's own. */
export class TestAuthority {
  readonly ca: string;
  readonly #root: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(root: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.ca = root.toString('pem');
    this.#root = root;
    this.#key = key;
  }

  static async create(): Promise<TestAuthority> {
    const keys = await importedPair();
    const root = await x509.X509CertificateGenerator.createSelfSigned(
      {
        serialNumber: serialNumber(),
        name: 'CN=authority of a test',
        ...validity(),
        keys,
        signingAlgorithm: ALGORITHM,
        extensions: [
          new x509.BasicConstraintsExtension(true, 0, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
        ],
      },
      crypto,
    );
    return new TestAuthority(root, keys.privateKey);
  }

  async issue({ names, use, notAfter }: CertificateOptions): Promise<Pair> {
    const { publicKey, pem } = await importedPair();
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: serialNumber(),
        subject: `CN=${use}`,
        issuer: this.#root.subject,
        ...validity(notAfter),
        publicKey,
        signingKey: this.#key,
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
    return { cert: certificate.toString('pem'), key: pem };
  }
}

async function importedPair() {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
  return {
    publicKey: await crypto.subtle.importKey('spki', spki, ALGORITHM, true, ['verify']),
    privateKey: await crypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, false, ['sign']),
    pem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function validity(notAfter = new Date(Date.now() + DAY_MS)) {
  return { notBefore: new Date(Date.now() - DAY_MS), notAfter };
}

function serialNumber(): string {
  return `00${randomBytes(15).toString('hex')}`; // positive
}
