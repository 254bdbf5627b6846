import type { TLSSocket } from 'node:tls';
import type { TlsFiles } from '../../domain/tls-settings.ts';
import type { CertificateFacts, TlsMaterial } from './material.ts';
import { certificateFacts, readTlsMaterial, serverFacts } from './material.ts';

/** What to trust and who we are towards one part, as the files say it now. */
export interface TlsContext {
  /**
   * The material that counts; the same object as long as nothing in it changes. The files are looked at once a second at
   * most, and where they have become unusable, what they held before still counts.
   * @throws {TlsFilesError} where they cannot be used and never could
   */
  current(): Promise<TlsMaterial>;
  /** What `current` resolved to last, for callers that can't wait. */
  readonly latest: TlsMaterial;
  /** To be told of each connection that was made. */
  onConnected(socket: TLSSocket): void;
  /** Written down it is its files. */
  toJSON(): TlsFiles;
}

/** Is told about the certificates of a part; none of it may throw. */
export interface TlsWatch {
  /** A certificate that was not known before, or not this one. */
  onCertificate(facts: CertificateFacts): void;
  /** Files that cannot be used (once for each reason), and that they can be again. */
  onTrouble(error: Error | undefined): void;
}

/** Files that a context is made of, or one that is shared. */
export type TlsSource = TlsFiles | TlsContext;

const LOOK_EVERY_MS = 1_000;

export function tlsContextOf(source: TlsSource = {}): TlsContext {
  return 'onConnected' in source ? source : createTlsContext(source);
}

/** Without any file the built-in authorities count, and we have no certificate. */
export function createTlsContext(files: TlsFiles, watch?: TlsWatch): TlsContext {
  const isEmpty = Object.values(files).every((path) => path === undefined);
  let material: TlsMaterial | undefined = isEmpty ? {} : undefined;
  let trouble: Error | undefined;
  let lookedAt = -Infinity;
  let looking: Promise<void> | undefined;
  let server = '';

  async function look(): Promise<void> {
    try {
      const found = await readTlsMaterial(files);
      if (trouble) watch?.onTrouble(undefined);
      trouble = undefined;
      if (isSame(found, material)) return;
      material = found;
      for (const facts of certificateFacts(found)) watch?.onCertificate(facts);
    } catch (error) {
      const now = error as Error; // readTlsMaterial throws nothing else
      if (now.message !== trouble?.message) watch?.onTrouble(now);
      trouble = now;
    }
  }

  return {
    async current() {
      if (!isEmpty && (!material || performance.now() - lookedAt >= LOOK_EVERY_MS)) {
        lookedAt = performance.now();
        looking ??= look().finally(() => (looking = undefined));
      }
      await looking; // Also by those who come while somebody looks.
      if (material) return material;
      throw trouble ?? new Error('the files were not read');
    },
    get latest() {
      return material ?? {};
    },
    toJSON: () => files,
    onConnected(socket) {
      const certificate = socket.getPeerX509Certificate();
      if (!certificate) return;
      const { fingerprint256 } = certificate;
      if (fingerprint256 === server) return; // what is cheap, for each of many connections
      server = fingerprint256;
      watch?.onCertificate(serverFacts(certificate));
    },
  };
}

function isSame(a: TlsMaterial, b: TlsMaterial | undefined): boolean {
  return a.ca === b?.ca && a.cert === b?.cert && a.key === b?.key;
}
