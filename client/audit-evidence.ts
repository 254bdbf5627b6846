import { z } from 'zod';

import type { DayManifest, SignedHead } from '../domain/audit-head.ts';
import { dayManifestSchema, parseManifestName, signedHeadSchema } from '../domain/audit-head.ts';
import type { Digest } from '../domain/digest.ts';
import type { HeadKeys } from './audit-keys.ts';
import { checkHead } from './audit-keys.ts';
import type { AuditFile, AuditProblem } from './audit-verify.ts';

/** What is known of an entry besides the log itself. */
export interface Checkpoint {
  readonly seq: number;
  readonly hash: Digest;
  /** Where it is from. */
  readonly file: string;
  /** Set for a head whose signature was checked and is good. */
  readonly signed?: { readonly time: string; readonly keyId: Digest };
}

/** What somebody keeps of a log beside it: signed heads and manifests of days. */
export interface Evidence {
  /** By chain, in the order of their numbers. */
  readonly checkpoints: ReadonlyMap<string, readonly Checkpoint[]>;
  readonly heads: number;
  readonly manifests: number;
  readonly problems: readonly AuditProblem[];
}

/** Room for 40,000 heads; what somebody else put beside a log must not fill the memory of who verifies. */
const MAX_EVIDENCE_BYTES = 16 * 1024 * 1024;

const documentSchema = z.union([z.array(signedHeadSchema), signedHeadSchema, dayManifestSchema]);

/** Collects heads and manifests; without keys their signatures stay unchecked, and what they say is still compared. */
export class EvidenceReader {
  readonly #keys: HeadKeys | undefined;
  readonly #checkpoints = new Map<string, Checkpoint[]>();
  readonly #manifests: { readonly file: string; readonly manifest: DayManifest }[] = [];
  readonly #problems: AuditProblem[] = [];
  #heads = 0;

  constructor(keys: HeadKeys | undefined) {
    this.#keys = keys;
  }

  /** A file with a signed head, a list of them, or a manifest. */
  async read(file: AuditFile): Promise<void> {
    const parsed = documentSchema.safeParse(parseJson(await readBounded(file)));
    if (!parsed.success) {
      const expected = 'a signed head, a list of them, or the manifest of a day';
      this.#problems.push({ kind: 'malformed', file: file.name, expected, found: 'something else' });
      return;
    }
    if ('day' in parsed.data) this.#addManifest(file.name, parsed.data);
    else for (const signed of [parsed.data].flat()) this.addHead(file.name, signed);
  }

  addHead(file: string, { head, keyId, signature }: SignedHead): void {
    this.#heads += 1;
    const { chain, seq, hash, time } = head;
    const verdict = this.#keys && checkHead({ head, keyId, signature }, this.#keys);
    if (verdict === undefined || verdict === 'good') {
      this.#note(chain, { seq, hash, file, ...(verdict && { signed: { time, keyId } }) });
      return;
    }
    const expected = 'a head signed by one of the given keys';
    const found = verdict === 'forged' ? 'a signature that does not match' : `one by ${keyId}`;
    this.#problems.push({ kind: 'bad-head', file, chain, expected, found });
  }

  #addManifest(file: string, manifest: DayManifest): void {
    const { chain, day, entries, first, last, head } = manifest;
    this.#manifests.push({ file, manifest });
    this.addHead(file, head);
    this.#note(chain, { ...first, file });
    this.#note(chain, { ...last, file });
    const named = parseManifestName(file) ?? day;
    const agrees =
      head.head.chain === chain && head.head.seq === last.seq && head.head.hash === last.hash && named === day;
    if (agrees && entries === last.seq - first.seq + 1) return;
    const found = `${entries} entries from ${first.seq} to ${last.seq} of ${day}, and the head at ${head.head.seq}`;
    this.#problems.push({ kind: 'bad-manifest', file, chain, expected: 'a manifest that agrees with itself', found });
  }

  #note(chain: string, checkpoint: Checkpoint): void {
    const list = this.#checkpoints.get(chain) ?? [];
    list.push(checkpoint);
    this.#checkpoints.set(chain, list);
  }

  conclude(): Evidence {
    for (const list of this.#checkpoints.values()) list.sort((a, b) => a.seq - b.seq);
    return {
      checkpoints: this.#checkpoints,
      heads: this.#heads,
      manifests: this.#manifests.length,
      problems: [...this.#problems, ...this.#gaps()],
    };
  }

  /** Each manifest begins where the one before it ends: one that was taken away leaves a gap. */
  #gaps(): AuditProblem[] {
    const sorted = this.#manifests.toSorted(
      (a, b) => order(a.manifest.chain, b.manifest.chain) || a.manifest.first.seq - b.manifest.first.seq,
    );
    return sorted.flatMap(({ file, manifest: { chain, first, last } }, index) => {
      const before = sorted[index - 1]?.manifest;
      const isCopy = before?.first.seq === first.seq && before.last.seq === last.seq;
      if (before?.chain !== chain || isCopy || first.seq === before.last.seq + 1) return [];
      const expected = `a manifest from entry ${before.last.seq + 1} on, after that of ${before.day}`;
      return [{ kind: 'missing' as const, file, chain, expected, found: `entry ${first.seq}` }];
    });
  }
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** @returns nothing, which is no JSON, for a file that is larger than what anybody keeps of heads */
async function readBounded(file: AuditFile): Promise<Buffer> {
  const chunks = [];
  let size = 0;
  for await (const chunk of file.open()) {
    chunks.push(Buffer.from(chunk));
    size += chunk.length;
    if (size > MAX_EVIDENCE_BYTES) return Buffer.alloc(0);
  }
  return Buffer.concat(chunks);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
