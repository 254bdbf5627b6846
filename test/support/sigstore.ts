import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { initializeCA, initializeCTLog, initializeTLog, initializeTSA } from '@sigstore/mock';
import * as x509 from '@peculiar/x509';

/**
 * The authorities of a Sigstore of one's own, in this process: real certificates, log entries and timestamps by
 * @sigstore/mock, which puts everything into a log of one entry.
 */

export const IDENTITY = 'https://github.com/acme/deploy/.github/workflows/release.yml@refs/heads/main';
export const ISSUER = 'https://token.actions.githubusercontent.com';

const LOG_URL = 'https://rekor.sigstore.dev';
const ISSUER_V1 = '1.3.6.1.4.1.57264.1.1';
const ISSUER_V2 = '1.3.6.1.4.1.57264.1.8';
const RFC3161_POLICY = '1.3.6.1.4.1.57264.2';
const SHA256_OID = '2.16.840.1.101.3.4.2.1';
/** What the certificate authority of @sigstore/mock calls itself. */
const AUTHORITY = 'CN=sigstore,O=sigstore.mock';

type KeyPair = ReturnType<typeof newKeyPair>;

export interface KeylessOptions {
  readonly identity?: string;
  readonly issuer?: string;
  readonly issuedAt?: Date;
  readonly loggedAt?: Date;
  /** Made instead of a certificate by Fulcio's rules. */
  readonly certificate?: (publicKey: Buffer) => Promise<Buffer>;
  readonly logged?: boolean;
  readonly timestamped?: boolean;
}

export interface CertificateOptions {
  readonly names?: x509.JsonGeneralNames;
  readonly usages?: readonly string[];
  readonly isCa?: boolean;
}

/** A signed message as any bundle of this project's tests has it. */
export interface MessageBundle {
  readonly mediaType: string;
  readonly verificationMaterial: object;
  readonly messageSignature: {
    readonly messageDigest: { readonly algorithm: string; readonly digest: string };
    readonly signature: string;
  };
}

export class Authorities {
  readonly #keys: Record<'ca' | 'ctLog' | 'log' | 'tsa', KeyPair>;
  readonly #root: object;

  private constructor(keys: Record<'ca' | 'ctLog' | 'log' | 'tsa', KeyPair>, root: object) {
    this.#keys = keys;
    this.#root = root;
  }

  static async create(): Promise<Authorities> {
    const keys = { ca: newKeyPair(), ctLog: newKeyPair(), log: newKeyPair(), tsa: newKeyPair() };
    const ca = await initializeCA(keys.ca);
    const tsa = await initializeTSA(keys.tsa);
    return new Authorities(keys, {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [logInstance(LOG_URL, keys.log)],
      ctlogs: [logInstance('https://ctfe.sigstore.dev', keys.ctLog)],
      certificateAuthorities: [authority([ca.rootCertificate])],
      timestampAuthorities: [authority([tsa.intCertificate, tsa.rootCertificate])],
    });
  }

  /** The trusted root as a file has it. */
  trustedRoot(changes: object = {}): string {
    return JSON.stringify({ ...this.#root, ...changes });
  }

  /** What `cosign sign-blob` without a key makes. */
  async signKeyless(payload: Uint8Array, options: KeylessOptions = {}): Promise<MessageBundle> {
    const { publicKey, privateKey } = newKeyPair();
    const der = publicKey.export({ type: 'spki', format: 'der' });
    const certificate = await (options.certificate ?? ((key) => this.#issue(key, options)))(der);
    const signature = sign('sha256', payload, privateKey);
    const { logged = true, timestamped = false, loggedAt } = options;
    return messageBundle(payload, signature, {
      certificate: { rawBytes: certificate.toString('base64') },
      ...(logged && { tlogEntries: [await this.logEntry(payload, signature, pemOf(certificate), loggedAt)] }),
      ...(timestamped && { timestampVerificationData: await this.#timestamps(signature, loggedAt) }),
    });
  }

  /**
   * The entry of the log for a signature, as `hashedrekord` 0.0.1.
   * @param verifierPem the public key or certificate that verifies it
   */
  async logEntry(payload: Uint8Array, signature: Uint8Array, verifierPem: string, at?: Date) {
    const log = await initializeTLog(LOG_URL, this.#keys.log, at);
    const entries: Record<string, RekorEntry> = await log.log({
      apiVersion: '0.0.1',
      kind: 'hashedrekord',
      spec: {
        data: { hash: { algorithm: 'sha256', value: createHash('sha256').update(payload).digest('hex') } },
        signature: {
          content: Buffer.from(signature).toString('base64'),
          publicKey: { content: Buffer.from(verifierPem).toString('base64') },
        },
      },
    });
    const [entry] = Object.values(entries);
    if (!entry) throw new Error('the log gave no entry');
    const { inclusionProof, signedEntryTimestamp } = entry.verification;
    return {
      logIndex: String(entry.logIndex),
      logId: { keyId: Buffer.from(entry.logID, 'hex').toString('base64') },
      kindVersion: { kind: 'hashedrekord', version: '0.0.1' },
      integratedTime: String(entry.integratedTime),
      inclusionPromise: { signedEntryTimestamp },
      inclusionProof: {
        logIndex: String(inclusionProof.logIndex),
        rootHash: Buffer.from(inclusionProof.rootHash, 'hex').toString('base64'),
        treeSize: String(inclusionProof.treeSize),
        hashes: inclusionProof.hashes,
        checkpoint: { envelope: inclusionProof.checkpoint },
      },
      canonicalizedBody: entry.body,
    };
  }

  /** A certificate by the same authority that breaks Fulcio's rules as told; no log of certificates knows it. */
  async certificate(publicKey: Buffer, { names, usages, isCa = false }: CertificateOptions): Promise<Buffer> {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
    const key = await crypto.subtle.importKey('spki', publicKey, algorithm, true, ['verify']);
    const authorityKey = this.#keys.ca.privateKey.export({ type: 'pkcs8', format: 'der' });
    const signingKey = await crypto.subtle.importKey('pkcs8', authorityKey, algorithm, false, ['sign']);
    const now = Date.now();
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: '0a',
        issuer: AUTHORITY,
        notBefore: new Date(now - 60_000),
        notAfter: new Date(now + 600_000),
        publicKey: key,
        signingKey,
        signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
        extensions: [
          new x509.BasicConstraintsExtension(isCa, undefined, true),
          new x509.ExtendedKeyUsageExtension([...(usages ?? [x509.ExtendedKeyUsage.codeSigning])]),
          new x509.SubjectAlternativeNameExtension(names ?? [{ type: 'url', value: IDENTITY }], true),
          new x509.Extension(ISSUER_V1, false, Buffer.from(ISSUER)),
        ],
      },
      crypto,
    );
    return Buffer.from(certificate.rawData);
  }

  async #issue(publicKey: Buffer, { identity, issuer, issuedAt }: KeylessOptions): Promise<Buffer> {
    const ctLog = await initializeCTLog(this.#keys.ctLog, issuedAt);
    const ca = await initializeCA(this.#keys.ca, ctLog, issuedAt);
    const certificate = await ca.issueCertificate({
      publicKey: Uint8Array.from(publicKey),
      subjectAltName: identity ?? IDENTITY,
      extensions: [
        { oid: ISSUER_V1, value: issuer ?? ISSUER, legacy: true },
        { oid: ISSUER_V2, value: issuer ?? ISSUER },
      ],
    });
    return bytesOf(certificate);
  }

  async #timestamps(signature: Uint8Array, at = new Date()) {
    // @sigstore/core reads no fractions of a second.
    const tsa = await initializeTSA(this.#keys.tsa, new Date(Math.floor(at.getTime() / 1000) * 1000));
    const signedTimestamp = await tsa.timestamp({
      artifactHash: createHash('sha256').update(signature).digest(),
      hashAlgorithmOID: SHA256_OID,
      nonce: 1,
      policyOID: RFC3161_POLICY,
    });
    return { rfc3161Timestamps: [{ signedTimestamp: bytesOf(signedTimestamp).toString('base64') }] };
  }
}

interface RekorEntry {
  readonly body: string;
  readonly integratedTime: number;
  readonly logID: string;
  readonly logIndex: number;
  readonly verification: {
    readonly signedEntryTimestamp: string;
    readonly inclusionProof: {
      readonly logIndex: number;
      readonly treeSize: number;
      readonly rootHash: string;
      readonly hashes: string[];
      readonly checkpoint: string;
    };
  };
}

function messageBundle(payload: Uint8Array, signature: Buffer, verificationMaterial: object): MessageBundle {
  const digest = createHash('sha256').update(payload).digest('base64');
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial,
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest },
      signature: signature.toString('base64'),
    },
  };
}

function pemOf(certificate: Buffer): string {
  return new x509.X509Certificate(certificate).toString('pem');
}

function newKeyPair() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function logInstance(baseUrl: string, { publicKey }: KeyPair) {
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return {
    baseUrl,
    hashAlgorithm: 'SHA2_256',
    publicKey: {
      rawBytes: der.toString('base64'),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      validFor: { start: '2020-01-01T00:00:00Z' },
    },
    logId: { keyId: createHash('sha256').update(der).digest('base64') },
  };
}

function authority(certificates: readonly ArrayBufferView[]) {
  return {
    certChain: { certificates: certificates.map((one) => ({ rawBytes: bytesOf(one).toString('base64') })) },
    validFor: { start: '2020-01-01T00:00:00Z' },
  };
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
