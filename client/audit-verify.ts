import type { ChainFinding, ChainFindingKind, ChainState, EntryLink } from '../domain/audit-chain.ts';
import { checkLine, continueChain, emptyChain, passUnreadable } from '../domain/audit-chain.ts';
import { AUDIT_MAX_LINE_BYTES, parseRangeName } from '../domain/audit.ts';
import type { Digest } from '../domain/digest.ts';
import type { Line } from '../domain/line-splitter.ts';
import { isSimulated } from '../domain/simulation.ts';
import { LineSplitter } from '../domain/line-splitter.ts';
import type { Checkpoint, Evidence } from './audit-evidence.ts';
import { EvidenceReader } from './audit-evidence.ts';
import type { HeadKeys } from './audit-keys.ts';
import { EventCounter } from './event-counter.ts';
import { inBatches } from './in-batches.ts';
import { sha256 } from './sha256.ts';

/**
 * Verifies audit logs offline, with nothing but the files: no server. Reads as a stream, in constant memory.
 *
 * A chain of hashes alone cannot show a tail that was cut off between two lines, or a log that was rewritten as a whole:
 * signed heads and manifests of days (`.json`) among the files do, as far as they reach.
 */

/** Anything that holds lines of an audit log, or, where its name ends in `.json`, what somebody signed of one. */
export interface AuditFile {
  /** As a person finds it again: a path, or `s3://bucket/key`. */
  readonly name: string;
  /** Another text once the content is another; absent where that is not known. */
  readonly version?: string;
  /** Opened twice: once for its beginning, to put the files of a chain in order, and once to the end. */
  open(): AsyncIterable<Uint8Array>;
}

/**
 * `altered`: not what was hashed · `malformed`: no line that the log wrote · `torn`: the last line has no end ·
 * `mislabelled`: an entry of a simulated chain that does not say so, or a real one that does ·
 * `unprotected`: the bucket would let somebody delete or replace it · `replaced`: there is more than one version of it ·
 * `truncated`: it ends before an entry that somebody signed, cut off or copied before that one was written · `rewritten`: an entry is not the one that was signed ·
 * `unsigned`: keys are given, and no head of the chain is signed by one · `bad-head`, `bad-manifest`: they don't hold.
 */
export type AuditProblemKind =
  | ChainFindingKind
  | ('altered' | 'malformed' | 'torn' | 'mislabelled' | 'unprotected' | 'replaced')
  | ('truncated' | 'rewritten' | 'unsigned' | 'bad-head' | 'bad-manifest');

export interface AuditProblem {
  readonly kind: AuditProblemKind;
  readonly file: string;
  /** Counts from 1; absent where it is the whole file. */
  readonly line?: number;
  readonly chain?: string;
  readonly expected: string;
  readonly found: string;
}

export interface AuditChainSummary {
  readonly chain: string;
  readonly entries: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Times of the first and the last entry. */
  readonly from: string;
  readonly to: string;
  /** Hash of the last entry. */
  readonly head: Digest;
  /** Set where it tells of what never happened: it is the log of a simulation. */
  readonly simulated?: true;
  /** The newest head of it whose signature was checked: up to there nothing was cut off or rewritten. */
  readonly signed?: { readonly seq: number; readonly time: string; readonly keyId: Digest };
  /** The furthest head of an entry that is not there any more; `signed` where its signature was checked and is good. */
  readonly beyond?: { readonly seq: number; readonly signed: boolean };
}

export interface AuditReport {
  /** False on any doubt, also when there was nothing to verify. */
  readonly ok: boolean;
  readonly chains: readonly AuditChainSummary[];
  /** Entries that tell an event that another one tells too, as a retry on another pod does; undefined above millions. */
  readonly repeated: number | undefined;
  /** Signed heads and manifests that were found and compared. */
  readonly heads: number;
  readonly manifests: number;
  /** In the order of chains and lines: the first one is the first bad entry. At most `MAX_PROBLEMS`. */
  readonly problems: readonly AuditProblem[];
  /** All of them, also those above `MAX_PROBLEMS`. */
  readonly problemCount: number;
}

export const MAX_PROBLEMS = 1000;

/** Files that are opened at once for a look at their beginning: in a bucket each costs an answer's time. */
const OPENED_AT_ONCE = 16;

export interface VerifyOptions {
  /** Accept chains that begin after their first entry, as local folders do whose old files were removed. */
  readonly partial?: boolean;
  /** Public keys of those who may sign heads; with them every chain must have a signed one. */
  readonly keys?: HeadKeys;
}

/** Verifies files, in whatever order they are given. */
export async function verifyAudit(files: readonly AuditFile[], options: VerifyOptions = {}): Promise<AuditReport> {
  const evidence = new EvidenceReader(options.keys);
  const isEvidence = ({ name }: AuditFile) => name.endsWith('.json');
  await inBatches(files.filter(isEvidence), OPENED_AT_ONCE, (file) => evidence.read(file));
  const chains = await chainsOf(files.filter((file) => !isEvidence(file)));
  const verifier = new Verifier(options, evidence.conclude());
  for (const [chain, parts] of chains) await verifier.verifyChain(chain, parts);
  return verifier.report();
}

/** The chains in the order of their names, and the files of each in the order of its entries. */
export async function chainsOf(files: readonly AuditFile[]): Promise<[string, Part[]][]> {
  const parts = await inBatches(files, OPENED_AT_ONCE, beginningOf);
  const chains = Map.groupBy(parts, ({ chain }) => chain);
  const sorted = [...chains].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([chain, ofChain]) => [chain, ofChain.sort((a, b) => a.seq - b.seq)]);
}

export interface Part {
  readonly file: AuditFile;
  readonly chain: string;
  readonly seq: number;
}

/** The first line that verifies says where a file belongs; one without such a line stands for itself. */
async function beginningOf(file: AuditFile): Promise<Part> {
  for await (const line of linesOf(file)) {
    const checked = checkLine(line.bytes, sha256);
    if (checked.ok) return { file, chain: checked.entry.chain, seq: checked.entry.seq };
  }
  return { file, chain: '', seq: 0 };
}

export async function* linesOf(file: AuditFile): AsyncGenerator<Line> {
  for await (const batch of batchesOf(file)) yield* batch;
}

/** Line by line would cost an await for each. */
async function* batchesOf(file: AuditFile): AsyncGenerator<Line[]> {
  const splitter = new LineSplitter(AUDIT_MAX_LINE_BYTES);
  for await (const chunk of file.open()) yield splitter.push(chunk);
  const rest = splitter.end();
  if (rest) yield [rest];
}

type Place = Required<Pick<AuditProblem, 'file' | 'line' | 'chain'>>;

class Verifier {
  readonly #partial: boolean;
  readonly #mustBeSigned: boolean;
  readonly #evidence: Evidence;
  readonly #events = new EventCounter();
  readonly #chains: AuditChainSummary[] = [];
  readonly #seen = new Set<string>();
  #problems: AuditProblem[] = [];
  #problemCount = 0;
  /** What is still to be compared in the chain at hand. */
  #ahead: readonly Checkpoint[] = [];
  #next = 0;
  #signed: AuditChainSummary['signed'];

  constructor({ partial = false, keys }: VerifyOptions, evidence: Evidence) {
    this.#partial = partial;
    this.#mustBeSigned = keys !== undefined;
    this.#evidence = evidence;
  }

  async verifyChain(chain: string, parts: readonly Part[]): Promise<void> {
    this.#seen.add(chain);
    this.#ahead = this.#evidence.checkpoints.get(chain) ?? [];
    this.#next = 0;
    this.#signed = undefined;
    let state = emptyChain(chain);
    for (const { file } of parts) state = await this.#verifyFile(file, state);
    const { first, last, entries } = state;
    if (!first) return;
    const beyond = this.#ahead.slice(this.#next).filter(({ seq }) => seq > last.seq);
    this.#addTruncation(chain, beyond, `entry ${last.seq}`);
    // A head from before the first entry that is here says nothing of what is here.
    if (this.#mustBeSigned && !this.#ahead.some(({ signed, seq }) => signed && seq >= first.seq)) {
      const expected = 'a head of this chain that is signed by one of the given keys';
      this.#add({ kind: 'unsigned', file: parts.at(-1)?.file.name ?? '', chain, expected, found: 'none' });
    }
    const [numbers, times] = [
      { firstSeq: first.seq, lastSeq: last.seq },
      { from: first.time, to: last.time },
    ];
    const signed = this.#signed ? { signed: this.#signed } : {};
    const furthest = beyond.findLast((one) => one.signed) ?? beyond.at(-1);
    const past = furthest && { beyond: { seq: furthest.seq, signed: furthest.signed !== undefined } };
    const mark = isSimulated(chain) && ({ simulated: true } as const);
    this.#chains.push({ chain, entries, ...numbers, ...times, head: last.hash, ...mark, ...signed, ...past });
  }

  /** @param beyond what is known of entries that are not there */
  #addTruncation(chain: string, beyond: readonly Checkpoint[], found: string): void {
    const furthest = beyond.at(-1);
    if (!furthest) return;
    const expected = `entry ${furthest.seq}, of which there is a ${furthest.signed ? 'signed ' : ''}head`;
    this.#add({ kind: 'truncated', file: furthest.file, chain, expected, found: `${found} as the last one` });
  }

  /** Holds an entry against what is known of it from elsewhere. */
  #compare(place: Place, seq: number, hash: Digest): void {
    for (;;) {
      const checkpoint = this.#ahead[this.#next];
      if (!checkpoint || checkpoint.seq > seq) return;
      this.#next += 1;
      if (checkpoint.seq < seq) continue;
      if (checkpoint.hash === hash) {
        if (checkpoint.signed) this.#signed = { seq, ...checkpoint.signed };
        continue;
      }
      const expected = `${checkpoint.hash}, as ${checkpoint.file} says`;
      this.#add({ ...place, kind: 'rewritten', expected, found: hash });
    }
  }

  async #verifyFile(file: AuditFile, before: ChainState): Promise<ChainState> {
    let state = before;
    let number = 0;
    const problemsBefore = this.#problemCount;
    for await (const batch of batchesOf(file)) {
      for (const line of batch) state = this.#verifyLine(line, state, file.name, (number += 1));
    }
    const named = parseRangeName(file.name);
    const clean = this.#problemCount === problemsBefore; // else it is told already, and closer to the place
    const count = state.entries - before.entries;
    if (named && clean && (state.last.seq !== named.last || count !== named.last - named.first + 1)) {
      const found = `${count} entries up to ${state.last.seq}`;
      const expected = `entries ${named.first} to ${named.last}, as its name says`;
      this.#add({ kind: 'missing', file: file.name, chain: state.chain, expected, found });
    }
    return state;
  }

  #verifyLine(line: Line, state: ChainState, file: string, number: number): ChainState {
    const place = { file, line: number, chain: state.chain };
    if (line.tooLong) {
      const expected = `at most ${AUDIT_MAX_LINE_BYTES} bytes`;
      this.#add({ ...place, kind: 'malformed', expected, found: `${line.length} bytes` });
      return passUnreadable(state);
    }
    const checked = checkLine(line.bytes, sha256);
    if (!line.ended) this.#add({ ...place, kind: 'torn', expected: 'a newline', found: 'the end of the file' });
    if (!checked.ok) {
      const { kind, expected, found } = checked;
      if (line.ended) this.#add({ ...place, kind, expected, found });
      return passUnreadable(state);
    }
    const { state: next, finding } = continueChain(state, checked, this.#partial);
    if (finding) this.#addFinding(place, finding, checked.entry.seq);
    this.#checkLabel(place, checked.entry);
    if (next.last.hash === checked.hash) {
      this.#events.add(checked.entry.eventId);
      this.#compare(place, checked.entry.seq, checked.hash);
    }
    return next;
  }

  /** What is made up must not pass for what happened, nor what happened for what is made up. */
  #checkLabel(place: Place, { chain, simulated }: EntryLink): void {
    if (isSimulated(chain) === simulated) return;
    const [expected, found] = isSimulated(chain)
      ? ['"simulated": true, as the name of the chain says', 'an entry without it']
      : ['an entry of what happened', '"simulated": true'];
    this.#add({ ...place, kind: 'mislabelled', expected, found });
  }

  /** An entry that turns up later was not missing: what was said about its number is said again as what it is. */
  #addFinding(place: Place, finding: ChainFinding, seq: number): void {
    const gap = this.#problems.findIndex(
      ({ kind, chain, expected }) => kind === 'missing' && chain === place.chain && expected === `entry ${seq}`,
    );
    const missing = this.#problems[gap];
    if (finding.kind !== 'reordered' || !missing) {
      this.#add({ ...place, ...finding });
      return;
    }
    const found = `${missing.found}; entry ${seq} follows at ${place.file}:${place.line}`;
    this.#problems = this.#problems.with(gap, { ...missing, kind: 'reordered', found });
  }

  #add(problem: AuditProblem): void {
    this.#problemCount += 1;
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(problem);
  }

  report(): AuditReport {
    for (const [chain, checkpoints] of this.#evidence.checkpoints) {
      if (!this.#seen.has(chain)) this.#addTruncation(chain, checkpoints, 'nothing');
    }
    for (const problem of this.#evidence.problems) this.#add(problem);
    const { heads, manifests } = this.#evidence;
    return {
      ok: this.#problemCount === 0 && this.#chains.length > 0,
      chains: this.#chains,
      repeated: this.#events.repeated,
      heads,
      manifests,
      problems: this.#problems,
      problemCount: this.#problemCount,
    };
  }
}
