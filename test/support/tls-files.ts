import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TlsFiles } from '../../domain/tls-settings.ts';

/** Certificates of a test, in files that it may write again. Remove the folder in the end. */
export class TestTlsFiles {
  readonly #folder: string;
  #count = 0;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async create(): Promise<TestTlsFiles> {
    return new TestTlsFiles(await mkdtemp(join(tmpdir(), 'byoc-tls-')));
  }

  /** @param texts PEM */
  async save(texts: TlsFiles): Promise<TlsFiles> {
    this.#count += 1;
    const files = { ca: this.#path('ca'), cert: this.#path('crt'), key: this.#path('key') };
    const given = Object.keys(texts) as (keyof TlsFiles)[]; // TlsFiles has no other
    const saved = Object.fromEntries(given.map((which) => [which, files[which]]));
    await this.write(saved, texts);
    return saved;
  }

  /** Writes other texts into the same files. */
  async write(files: TlsFiles, texts: TlsFiles): Promise<void> {
    for (const which of ['ca', 'cert', 'key'] as const) {
      const [path, text] = [files[which], texts[which]];
      if (path !== undefined && text !== undefined) await writeFile(path, text);
    }
  }

  /** A path at which there is nothing. */
  get nothing(): string {
    return join(this.#folder, 'nothing');
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  #path(name: string): string {
    return join(this.#folder, `${this.#count}.${name}`);
  }
}
