import { join } from 'node:path';

import { chainFrom, checkLine, continueChain } from '../../domain/audit-chain.ts';
import type { AuditHead } from '../../domain/audit.ts';
import { AUDIT_MAX_LINE_BYTES, GENESIS, parseRangeName, rangeName } from '../../domain/audit.ts';
import type { Digest, Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { Line } from '../../domain/line-splitter.ts';
import { LineSplitter } from '../../domain/line-splitter.ts';
import type { Bucket, LockMode } from '../s3/bucket.ts';
import { dayFiles, readLines } from './chain-folder.ts';
import type { Progress, Range } from './upload-progress.ts';
import { readProgress, writeProgress } from './upload-progress.ts';

/** Bytes after which a range is closed; one is held in memory. */
const OBJECT_BYTES = 4 * 1024 * 1024;
const NEWLINE = Buffer.from('\n');
const DAY_MS = 86_400_000;
/** Object stores keep retention in seconds. */
const RETENTION_TOLERANCE_MS = 1_000;

export interface UploaderOptions {
  readonly bucket: Bucket;
  /** Objects are `<prefix>/<chain>/<first>-<last>.jsonl`; no slash at either end, '' for none. */
  readonly prefix: string;
  /** The folder that `openAuditLog` was given. */
  readonly dir: string;
  /** The end of the log: only what is durable here goes to the bucket. */
  readonly log: { head(): AuditHead };
  /** How the bucket is to keep each object; used where it has Object Lock. */
  readonly retention: { readonly mode: LockMode; readonly days: number };
  readonly now: () => Date;
  readonly sha256: Sha256;
}

export interface UploadResult {
  /** What this call wrote, oldest first. */
  readonly objects: readonly ({ readonly key: string } & Range)[];
  /** The last entry that is in the bucket. */
  readonly uploaded: AuditHead;
  /** What a person should know although all was written: no Object Lock, or less retention than asked for. */
  readonly warnings: readonly string[];
}

export interface Uploader {
  /**
   * Puts every durable entry that is not there yet into the bucket, in order, each exactly once.
   * @throws {ConnectorError} S3_UNAVAILABLE (call again later: it goes on where it stopped), AUDIT_BROKEN (log and
   *   bucket contradict each other, or the log doesn't verify), AUDIT_UNAVAILABLE (the local disk)
   */
  uploadPending(): Promise<UploadResult>;
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
  };
}

interface FilledRange extends Range {
  readonly body: Buffer;
  readonly end: AuditHead;
  readonly next: Cursor | undefined;
}

interface Cursor {
  readonly file: string;
  readonly offset: number;
}

class ChainUpload {
  readonly #options: UploaderOptions;
  readonly #chain: string;
  readonly #folder: string;
  readonly #keyPrefix: string;
  #progress: Progress | undefined;
  /** Where the first entry that is not uploaded begins, once that is known: spares reading the whole log each time. */
  #cursor: Cursor | undefined;

  constructor(options: UploaderOptions) {
    this.#options = options;
    this.#chain = options.log.head().chain;
    this.#folder = join(options.dir, this.#chain);
    this.#keyPrefix = options.prefix === '' ? `${this.#chain}/` : `${options.prefix}/${this.#chain}/`;
  }

  async run(): Promise<UploadResult> {
    const { bucket, log } = this.#options;
    const until = log.head();
    const locked = await bucket.hasObjectLock();
    const warnings = locked ? [] : [`Bucket ${bucket.name} has no Object Lock: its audit log can be deleted.`];
    const objects = [];
    let progress = (this.#progress ??= await this.#resume(until));
    for (let range = await this.#nextRange(progress, until); range; range = await this.#nextRange(progress, until)) {
      const { first, last, body, end } = range;
      const key = this.#keyPrefix + rangeName(first, last);
      // Told first: after a lost answer the same range is tried again, and never a longer one across it.
      await this.#save({ ...progress, intent: { first, last } });
      warnings.push(...(await this.#put(key, body, locked)));
      progress = await this.#save({ uploaded: end });
      this.#cursor = range.next;
      objects.push({ key, first, last });
    }
    return { objects, uploaded: progress.uploaded, warnings };
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
    const uploaded = await this.#lastInBucket();
    if (uploaded.seq > until.seq) {
      throw this.#broken(
        `The bucket has entries up to ${uploaded.seq}, the local log ends at ${until.seq}: ` +
          'it was cut or replaced. Keep it as it is, and begin a new chain.',
      );
    }
    if (uploaded.seq < remembered.seq) {
      throw this.#broken(`Entries ${uploaded.seq + 1} to ${remembered.seq} are gone from the bucket.`);
    }
    return intent?.first === uploaded.seq + 1 ? { uploaded, intent } : { uploaded };
  }

  async #lastInBucket(): Promise<AuditHead> {
    let newest: { readonly key: string; readonly last: number } | undefined;
    for await (const { key, deleteMarker } of this.#options.bucket.versions(this.#keyPrefix)) {
      const range = parseRangeName(key);
      if (range && !deleteMarker && range.last > (newest?.last ?? 0)) newest = { key, last: range.last };
    }
    if (!newest) return { chain: this.#chain, seq: 0, hash: GENESIS };
    const splitter = new LineSplitter(AUDIT_MAX_LINE_BYTES);
    const lastLine = splitter.push(await this.#read(newest.key)).at(-1);
    const checked = lastLine && checkLine(lastLine.bytes, this.#options.sha256);
    if (!checked?.ok || checked.entry.seq !== newest.last || checked.entry.chain !== this.#chain) {
      throw this.#broken(`The end of ${newest.key} in the bucket is not entry ${newest.last}.`);
    }
    return { chain: this.#chain, seq: newest.last, hash: checked.hash };
  }

  /** The entries after what is uploaded, as they stand in the files, checked to continue what the bucket has. */
  async #nextRange({ uploaded, intent }: Progress, until: AuditHead): Promise<FilledRange | undefined> {
    const last = Math.min(until.seq, intent?.last ?? until.seq);
    let state = chainFrom(uploaded);
    const lines: Uint8Array[] = [];
    let size = 0;
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
    }
    if (state.last.seq < last && (intent !== undefined || size < OBJECT_BYTES)) {
      throw this.#broken(`Entries ${state.last.seq + 1} to ${last} are not in the local files.`);
    }
    if (lines.length === 0) return undefined;
    const { seq, hash } = state.last;
    const end = { chain: this.#chain, seq, hash };
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

  /** @returns warnings, when what the bucket did falls short of what it was asked for. */
  async #put(key: string, body: Buffer, locked: boolean): Promise<string[]> {
    const { bucket, retention, now } = this.#options;
    const wanted = { mode: retention.mode, until: new Date(now().getTime() + retention.days * DAY_MS) };
    const written = await bucket.putOnce(key, body, locked ? wanted : undefined);
    if (!body.equals(await this.#read(key))) throw this.#broken(`${key} in the bucket holds something else.`);
    // An object that an earlier attempt wrote keeps the retention of that attempt.
    if (!locked || written === 'exists') return [];
    const kept = await bucket.retentionOf(key, written.versionId);
    const due = wanted.until.getTime() - RETENTION_TOLERANCE_MS;
    if (kept?.mode === wanted.mode && kept.until.getTime() >= due) return [];
    const found = kept ? `${kept.mode} until ${kept.until.toISOString()}` : 'no retention';
    return [`${key}: asked for ${wanted.mode} until ${wanted.until.toISOString()}, the bucket keeps ${found}.`];
  }

  async #read(key: string): Promise<Buffer> {
    const chunks = [];
    for await (const chunk of await this.#options.bucket.read(key)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  #broken(what: string): ConnectorError {
    return new ConnectorError('AUDIT_BROKEN', `Chain ${this.#chain}: ${what}`);
  }
}
