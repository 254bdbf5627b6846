import type { ChainFinding, ChainFindingKind, ChainState } from '../domain/audit-chain.ts';
import { checkLine, continueChain, emptyChain, passUnreadable } from '../domain/audit-chain.ts';
import { AUDIT_MAX_LINE_BYTES, parseRangeName } from '../domain/audit.ts';
import type { Digest } from '../domain/digest.ts';
import type { Line } from '../domain/line-splitter.ts';
import { LineSplitter } from '../domain/line-splitter.ts';
import { sha256 } from './sha256.ts';

/**
 * Verifies audit logs offline, with nothing but the files: no key, no server. Reads as a stream, in constant memory.
 *
 * What it cannot see, because an unkeyed chain cannot show it: a tail that was cut off between two lines, and a
 * log that was rewritten as a whole. `head` of each chain is for comparing with what others remember of it.
 */

/** Anything that holds lines of an audit log. */
export interface AuditFile {
  /** As a person finds it again: a path, or `s3://bucket/key`. */
  readonly name: string;
  /** Opened twice: once for its beginning, to put the files of a chain in order, and once to the end. */
  open(): AsyncIterable<Uint8Array>;
}

/**
 * `altered`: not what was hashed · `malformed`: no line that the log wrote · `torn`: the last line has no end ·
 * `unprotected`: the bucket would let somebody delete or replace it · `replaced`: there is more than one version of it.
 */
export type AuditProblemKind = ChainFindingKind | 'altered' | 'malformed' | 'torn' | 'unprotected' | 'replaced';

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
}

export interface AuditReport {
  /** False on any doubt, also when there was nothing to verify. */
  readonly ok: boolean;
  readonly chains: readonly AuditChainSummary[];
  /** In the order of chains and lines: the first one is the first bad entry. At most `MAX_PROBLEMS`. */
  readonly problems: readonly AuditProblem[];
  /** All of them, also those above `MAX_PROBLEMS`. */
  readonly problemCount: number;
}

export const MAX_PROBLEMS = 1000;

export interface VerifyOptions {
  /** Accept chains that begin after their first entry, as local folders do whose old files were removed. */
  readonly partial?: boolean;
}

/** Verifies files, in whatever order they are given. */
export async function verifyAudit(files: readonly AuditFile[], options: VerifyOptions = {}): Promise<AuditReport> {
  const verifier = new Verifier(options.partial ?? false);
  const parts: Part[] = [];
  for (const file of files) parts.push(await beginningOf(file));
  for (const chain of [...new Set(parts.map((part) => part.chain))].sort()) {
    const ofChain = parts.filter((part) => part.chain === chain).sort((a, b) => a.seq - b.seq);
    await verifier.verifyChain(chain, ofChain);
  }
  return verifier.report();
}

interface Part {
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

async function* linesOf(file: AuditFile): AsyncGenerator<Line> {
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
  readonly #chains: AuditChainSummary[] = [];
  #problems: AuditProblem[] = [];
  #problemCount = 0;

  constructor(partial: boolean) {
    this.#partial = partial;
  }

  async verifyChain(chain: string, parts: readonly Part[]): Promise<void> {
    let state = emptyChain(chain);
    for (const { file } of parts) state = await this.#verifyFile(file, state);
    const { first, last, entries } = state;
    if (!first) return;
    const [numbers, times] = [
      { firstSeq: first.seq, lastSeq: last.seq },
      { from: first.time, to: last.time },
    ];
    this.#chains.push({ chain, entries, ...numbers, ...times, head: last.hash });
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
    return next;
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
    const ok = this.#problemCount === 0 && this.#chains.length > 0;
    return { ok, chains: this.#chains, problems: this.#problems, problemCount: this.#problemCount };
  }
}
