import { join } from 'node:path';

import { chainFrom, checkLine, continueChain } from '../../domain/audit-chain.ts';
import type { AuditHead } from '../../domain/audit.ts';
import { dayOf, GENESIS, parseRangeName, rangeName } from '../../domain/audit.ts';
import type { AuditEventType } from '../../domain/audit-catalogue.ts';
import type { DayManifest, HeadKey } from '../../domain/audit-head.ts';
import { headName, isHeadName, manifestName, parseManifestName, signHead } from '../../domain/audit-head.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { Line } from '../../domain/line-splitter.ts';
import { dayFiles, readLines } from './chain-folder.ts';
import { makeManifest, parseManifest } from './day-manifest.ts';
import type { Version } from './end-in-bucket.ts';
import { readLastEntry } from './end-in-bucket.ts';
import type { SealedObjectsOptions } from './sealed-objects.ts';
import { readObject, SealedObjects } from './sealed-objects.ts';
import type { Progress, Range, Sealed, Uploaded } from './upload-progress.ts';
import { readProgress, writeProgress } from './upload-progress.ts';

/** What an upload leaves behind itself in the log. */
const ABOUT_UPLOADS: AuditEventType = 'audit.uploaded';
/** Bytes after which a range is closed; one is held in memory. */
const OBJECT_BYTES = 4 * 1024 * 1024;
const NEWLINE = Buffer.from('\n');

export interface UploaderOptions extends SealedObjectsOptions {
  /**
   * Objects are `<prefix>/<chain>/<first>-<last>.jsonl`, `…/<last>.head.json` and `…/<day>.manifest.json`; no slash at
   * either end, '' for none.
   */
  readonly prefix: string;
  /** The folder that `openAuditLog` was given. */
  readonly dir: string;
  /** The end of the log: only what is durable here goes to the bucket. */
  readonly log: { head(): AuditHead };
  /** Signs the heads that go with the entries. */
  readonly key: HeadKey;
  readonly sha256: Sha256;
}

export interface UploadResult {
  /** What this call wrote, oldest first. */
  readonly objects: readonly ({ readonly key: string } & Range)[];
  /** The last entry that is in the bucket. */
  readonly uploaded: Uploaded;
  /** The manifests of days that this call wrote, oldest first. */
  readonly manifests: readonly { readonly key: string; readonly manifest: DayManifest }[];
  /** What a person should know although all was written: no Object Lock, or less retention than asked for. */
  readonly warnings: readonly string[];
}

export interface Uploader {
  /**
   * Puts every durable entry that is not there yet into the bucket, in order, each exactly once, then the signed head,
   * and a manifest of each UTC day that is over. Entries that only tell of an upload wait for others: they would never end.
   * @throws {ConnectorError} S3_UNAVAILABLE (call again later: it goes on where it stopped), AUDIT_BROKEN (log and
   *   bucket contradict each other, or the log doesn't verify), AUDIT_UNAVAILABLE (the local disk)
   */
  uploadPending(): Promise<UploadResult>;
  /** How many durable entries are not known to be in the bucket. */
  waiting(): Promise<number>;
}

/** Uploads one chain. There must be one uploader a chain: the process that holds its log has it. */
export function createUploader(options: UploaderOptions): Uploader {
  const upload = new ChainUpload(options);
  let running: Promise<unknown> = Promise.resolve();
  return {
    uploadPending() {
      const result = running.then(() => upload.run());
      running = result.catch(() => undefined); // its caller hears of it; the next one starts anew
      return result;
    },
    waiting: () => upload.waiting(),
  };
}

interface FilledRange extends Range {
  readonly body: Buffer;
  readonly end: Uploaded;
  readonly next: Cursor | undefined;
}

interface Cursor {
  readonly file: string;
  readonly offset: number;
}

class ChainUpload {
  readonly #options: UploaderOptions;
  readonly #objects: SealedObjects;
  readonly #chain: string;
  readonly #folder: string;
  readonly #keyPrefix: string;
  #progress: Progress | undefined;
  /** Where the first entry that is not uploaded begins, once that is known: spares reading the whole log each time. */
  #cursor: Cursor | undefined;
  /** The last entry whose signed head is in the bucket. */
  #headAt = 0;

  constructor(options: UploaderOptions) {
    this.#options = options;
    this.#objects = new SealedObjects(options);
    this.#chain = options.log.head().chain;
    this.#folder = join(options.dir, this.#chain);
    this.#keyPrefix = options.prefix === '' ? `${this.#chain}/` : `${options.prefix}/${this.#chain}/`;
  }

  async run(): Promise<UploadResult> {
    const { bucket, log, key: signer } = this.#options;
    const until = log.head();
    const warnings = (await this.#objects.areLocked())
      ? []
      : [`Bucket ${bucket.name} has no Object Lock: its audit log can be deleted.`];
    const objects = [];
    let progress = (this.#progress ??= await this.#resume(until));
    const days = await this.#daysToSeal(progress);
    const next = () => this.#nextRange(progress, until, days.length > 0);
    for (let range = await next(); range; range = await next()) {
      const { first, last, body, end } = range;
      const key = this.#keyPrefix + rangeName(first, last);
      // Told first: after a lost answer the same range is tried again, and never a longer one across it.
      await this.#save({ ...progress, intent: { first, last } });
      warnings.push(...(await this.#objects.put(key, body)));
      progress = await this.#save({ ...progress, intent: undefined, uploaded: end });
      this.#cursor = range.next;
      objects.push({ key, first, last });
    }
    const { uploaded } = progress;
    if (uploaded.seq > this.#headAt) {
      // With the time of its entry, so that trying again makes the same object.
      const head = JSON.stringify(signHead(uploaded, uploaded.time, signer));
      warnings.push(...(await this.#objects.put(this.#keyPrefix + headName(uploaded.seq), Buffer.from(head))));
      this.#headAt = uploaded.seq;
    }
    const manifests = [];
    for (const file of days) {
      const { sha256 } = this.#options;
      const manifest = await makeManifest({ ...progress, folder: this.#folder, file, key: signer, sha256 });
      if (!manifest) continue;
      const key = this.#keyPrefix + manifestName(manifest.day);
      warnings.push(...(await this.#objects.put(key, Buffer.from(JSON.stringify(manifest)))));
      progress = await this.#save({ ...progress, sealed: { day: manifest.day, ...manifest.last } });
      manifests.push({ key, manifest });
    }
    return { objects, uploaded, manifests, warnings };
  }

  async waiting(): Promise<number> {
    const { uploaded } = this.#progress ?? (await readProgress(this.#folder, this.#chain));
    return Math.max(0, this.#options.log.head().seq - uploaded.seq);
  }

  /** Files of days that are over and have no manifest yet, oldest first. */
  async #daysToSeal({ sealed }: Progress): Promise<string[]> {
    const today = `${dayOf(this.#options.now().toISOString())}.jsonl`;
    const files = await dayFiles(this.#folder);
    return files.filter((file) => file < today && (!sealed || file > `${sealed.day}.jsonl`));
  }

  async #save(progress: Progress): Promise<Progress> {
    try {
      await writeProgress(this.#folder, progress);
    } catch (cause) {
      throw new ConnectorError('AUDIT_UNAVAILABLE', 'The progress of the upload cannot be kept.', { cause });
    }
    return (this.#progress = progress);
  }

  /** The bucket knows best what it has; what we remember shows whether it lost something, and what is in doubt. */
  async #resume(until: AuditHead): Promise<Progress> {
    const { uploaded: remembered, intent } = await readProgress(this.#folder, this.#chain);
    const { uploaded, sealed } = await this.#findInBucket();
    if (uploaded.seq > until.seq) {
      throw this.#broken(
        `The bucket has entries up to ${uploaded.seq}, the local log ends at ${until.seq}: ` +
          'it was cut or replaced. Keep it as it is, and begin a new chain.',
      );
    }
    if (uploaded.seq < remembered.seq) {
      throw this.#broken(`Entries ${uploaded.seq + 1} to ${remembered.seq} are gone from the bucket.`);
    }
    return { uploaded, sealed, intent: intent?.first === uploaded.seq + 1 ? intent : undefined };
  }

  async #findInBucket(): Promise<Progress> {
    let newest: (Version & { readonly last: number }) | undefined;
    let manifest: Version | undefined;
    const heads = new Set<string>();
    // Of several versions the one that was written first is ours, and the last that is listed: others may have come to
    // hide it, which is for \`verify\` to tell, and must not keep us from going on.
    for await (const { key, versionId, deleteMarker } of this.#options.bucket.versions(this.#keyPrefix)) {
      if (deleteMarker) continue;
      const range = parseRangeName(key);
      if (range && range.last >= (newest?.last ?? 1)) newest = { key, versionId, last: range.last };
      if (isHeadName(key)) heads.add(key);
      if (parseManifestName(key) && key >= (manifest?.key ?? '')) manifest = { key, versionId };
    }
    const sealed = manifest === undefined ? undefined : await this.#readManifest(manifest);
    if (!newest) return { uploaded: { chain: this.#chain, seq: 0, hash: GENESIS, time: '' }, sealed };
    const { last: seq } = newest;
    if (heads.has(this.#keyPrefix + headName(seq))) this.#headAt = seq;
    const checked = await readLastEntry(this.#options, newest);
    if (checked?.entry.seq !== seq || checked.entry.chain !== this.#chain) {
      throw this.#broken(`The end of ${newest.key} in the bucket is not entry ${seq}.`);
    }
    return { uploaded: { chain: this.#chain, seq, hash: checked.hash, time: checked.entry.time }, sealed };
  }

  async #readManifest({ key, versionId }: Version): Promise<Sealed> {
    const manifest = parseManifest(await readObject(this.#options.bucket, key, versionId));
    if (!manifest) throw this.#broken(`${key} in the bucket is not the manifest of a day.`);
    return { day: manifest.day, ...manifest.last };
  }

  /** The entries after what is uploaded, as they stand in the files, checked to continue what the bucket has. */
  async #nextRange({ uploaded, intent }: Progress, until: AuditHead, all: boolean): Promise<FilledRange | undefined> {
    const last = Math.min(until.seq, intent?.last ?? until.seq);
    let state = chainFrom(uploaded);
    const lines: Uint8Array[] = [];
    let size = 0;
    let worthIt = all || intent !== undefined;
    let next: Cursor | undefined;
    for await (const { line, file } of this.#localLines()) {
      if (state.last.seq >= last || (!intent && size >= OBJECT_BYTES)) break;
      const place = `${file} at byte ${line.offset}`;
      const checked = checkLine(line.bytes, this.#options.sha256);
      if (!checked.ok) throw this.#broken(`${place}: expected ${checked.expected}, found ${checked.found}.`);
      if (checked.entry.seq < uploaded.seq) continue;
      if (checked.entry.seq === uploaded.seq) {
        this.#assertSame(uploaded.hash, checked.hash, uploaded.seq);
        continue;
      }
      const { state: after, finding } = continueChain(state, checked);
      if (finding) throw this.#broken(`${place}: expected ${finding.expected}, found ${finding.found}.`);
      state = after;
      next = { file, offset: line.offset + line.length };
      lines.push(line.bytes.slice(), NEWLINE);
      size += line.length;
      worthIt ||= checked.entry.type !== ABOUT_UPLOADS;
    }
    if (state.last.seq < last && (intent !== undefined || size < OBJECT_BYTES)) {
      throw this.#broken(`Entries ${state.last.seq + 1} to ${last} are not in the local files.`);
    }
    if (lines.length === 0 || !worthIt) return undefined;
    const { seq, hash, time } = state.last;
    const end = { chain: this.#chain, seq, hash, time };
    return { first: uploaded.seq + 1, last: seq, body: Buffer.concat(lines), end, next };
  }

  async *#localLines(): AsyncGenerator<{ line: Line; file: string }> {
    const from = this.#cursor;
    for (const file of await dayFiles(this.#folder)) {
      if (from && file < from.file) continue;
      const start = file === from?.file ? from.offset : 0;
      for await (const line of readLines(join(this.#folder, file), start)) yield { line, file };
    }
  }

  #assertSame(inBucket: Digest, here: Digest, seq: number): void {
    if (inBucket !== here) throw this.#broken(`Entry ${seq} has hash ${inBucket} in the bucket and ${here} here.`);
  }

  #broken(what: string): ConnectorError {
    return new ConnectorError('AUDIT_BROKEN', `Chain ${this.#chain}: ${what}`);
  }
}
