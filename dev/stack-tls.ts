import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Authority } from './authority.ts';
import { createAuthority } from './authority.ts';

/** Paths of a certificate and its key, in PEM. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/**
 * The one authority of a stack, which all of its servers but Kubernetes have their certificates from. The folder holds its
 * certificate and those that it signed; its own key is in this process only.
 */
export class StackTls {
  /** Certificate of the authority. */
  readonly caFile: string;
  readonly #folder: string;
  #authority: Promise<Authority> | undefined;

  constructor(folder: string) {
    this.#folder = folder;
    this.caFile = join(folder, 'ca.crt');
  }

  /** PEM of the authority's certificate, which is in its file by then. */
  async ca(): Promise<string> {
    return (await this.#made()).ca;
  }

  /** A certificate for a server on this machine, or for a client, in files named after it. */
  async issue(name: string, use: 'server' | 'client'): Promise<CertificateFiles> {
    const { cert, key } = await (await this.#made()).issue(name, { use });
    const files = { cert: join(this.#folder, `${name}.crt`), key: join(this.#folder, `${name}.key`) };
    await writeFile(files.cert, cert);
    await writeFile(files.key, key, { mode: 0o600 });
    return files;
  }

  #made(): Promise<Authority> {
    return (this.#authority ??= this.#make());
  }

  async #make(): Promise<Authority> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const authority = await createAuthority();
    await writeFile(this.caFile, authority.ca);
    return authority;
  }
}
