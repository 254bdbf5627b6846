import type { AuditEntry, AuditHead } from './audit.ts';
import { GENESIS } from './audit.ts';
import type { Digest, Sha256 } from './digest.ts';
import { canonicalJson, isDigest } from './digest.ts';

/**
 * Checking a chain, line by line, in constant memory. Pure: who reads where is the caller's business.
 */

const OPENING = '{"entry":';
const HASH_LABEL = ',"hash":"';
/** Characters, and as all of them are ASCII also bytes, behind the entry: `,"hash":"sha256:…"}`. */
const CLOSING_LENGTH = HASH_LABEL.length + GENESIS.length + '"}'.length;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** The part of an entry that ties it into its chain. All else is read by those who need it. */
export type EntryLink = Pick<AuditEntry, 'chain' | 'seq' | 'time' | 'eventId' | 'prev'> & {
  readonly type: string;
  /** Whether it says that it tells of what never happened. */
  readonly simulated: boolean;
};

export type CheckedLine =
  | { readonly ok: true; readonly entry: EntryLink; readonly hash: Digest }
  /** `altered`: the form is right, but not what was hashed. `malformed`: no line that the log ever wrote. */
  | { readonly ok: false; readonly kind: 'altered' | 'malformed'; readonly expected: string; readonly found: string };

/**
 * Checks one line by itself: form and hash.
 * @param line its bytes without the newline
 */
export function checkLine(line: Uint8Array, sha256: Sha256): CheckedLine {
  const text = decode(line);
  if (text === undefined) return malformed('UTF-8', 'bytes that are none');
  const recorded = text.slice(HASH_LABEL.length - CLOSING_LENGTH, -2);
  const framed =
    text.startsWith(OPENING) && text.startsWith(HASH_LABEL, text.length - CLOSING_LENGTH) && text.endsWith('"}');
  if (!framed || !isDigest(recorded)) return malformed('{"entry":{…},"hash":"sha256:…"}', excerpt(text));
  const hash = sha256(line.subarray(OPENING.length, line.length - CLOSING_LENGTH));
  if (hash !== recorded) return { ok: false, kind: 'altered', expected: recorded, found: hash };
  return readLink(text.slice(OPENING.length, -CLOSING_LENGTH), hash);
}

// Only what the chain needs is looked at, so that this version verifies logs of later ones, which know more event
// types.
function readLink(text: string, hash: Digest): CheckedLine {
  let entry: Partial<Record<keyof AuditEntry, unknown>>;
  try {
    entry = JSON.parse(text);
  } catch {
    return malformed('JSON', excerpt(text));
  }
  const { v, chain, seq, time, type, eventId, prev, simulated } = entry ?? {};
  const known =
    v === 1 &&
    typeof chain === 'string' &&
    typeof seq === 'number' &&
    Number.isSafeInteger(seq) &&
    seq >= 1 &&
    typeof time === 'string' &&
    TIME.test(time) &&
    typeof type === 'string' &&
    typeof eventId === 'string' &&
    isDigest(prev) &&
    (simulated === undefined || simulated === true);
  if (!known) return malformed('an audit entry of version 1', excerpt(text));
  // Two readers must not see two things in one line: a name that stands there twice, above all.
  if (!isCanonical(entry, text)) return malformed('canonical JSON', excerpt(text));
  return { ok: true, entry: { chain, seq, time, type, eventId, prev, simulated: simulated === true }, hash };
}

function isCanonical(entry: unknown, text: string): boolean {
  try {
    return JSON.stringify(entry) === text || canonicalJson(entry) === text;
  } catch {
    // What we never write: a lone surrogate, which RFC 8785 has no form for, or lists in lists too deep for the stack.
    return false;
  }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

const malformed = (expected: string, found: string): CheckedLine => ({ ok: false, kind: 'malformed', expected, found });

/** The beginning of a line as a JSON text: what a log holds may be made to play tricks with a terminal. */
function excerpt(text: string): string {
  const quoted = JSON.stringify(text.slice(0, 60)).replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, escapeUnit);
  return text.length > 60 ? `${quoted}…` : quoted;
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** What is known of a chain after some of its lines. */
export interface ChainState {
  readonly chain: string;
  readonly entries: number;
  readonly first?: { readonly seq: number; readonly time: string };
  readonly last: { readonly seq: number; readonly hash: Digest; readonly time: string };
  /** Lines since `last` that could not be read: each may have been the next entry. */
  readonly unreadable: number;
  /** Numbers that were not there where they belonged. */
  readonly gaps: readonly { readonly from: number; readonly to: number }[];
}

/** `broken-link`: the number is right, the entry before it is not the one that it was written after. */
export type ChainFindingKind = 'missing' | 'reordered' | 'duplicated' | 'foreign' | 'broken-link' | 'clock';

export interface ChainFinding {
  readonly kind: ChainFindingKind;
  readonly expected: string;
  readonly found: string;
}

export interface ChainStep {
  readonly state: ChainState;
  readonly finding?: ChainFinding;
}

/** More holes than this are counted as missing, but what turns up late is then called duplicated. */
const MAX_GAPS = 1000;

export function emptyChain(chain: string): ChainState {
  return { chain, entries: 0, last: { seq: 0, hash: GENESIS, time: '' }, unreadable: 0, gaps: [] };
}

/** A chain of which everything up to a known head is accounted for elsewhere. */
export function chainFrom(head: AuditHead): ChainState {
  return { ...emptyChain(head.chain), last: { seq: head.seq, hash: head.hash, time: '' } };
}

/** Takes notice of a line that `checkLine` did not accept. */
export function passUnreadable(state: ChainState): ChainState {
  return { ...state, unreadable: state.unreadable + 1 };
}

/**
 * Adds a line that `checkLine` accepted. After a finding the state goes on so that one fault is told once.
 * @param partial accept any number as the first one: what came before it was taken away by retention
 */
export function continueChain(
  state: ChainState,
  { entry, hash }: { readonly entry: EntryLink; readonly hash: Digest },
  partial = false,
): ChainStep {
  const { seq } = entry;
  if (entry.chain !== state.chain) return found(state, 'foreign', `chain ${state.chain}`, `chain ${entry.chain}`);

  const next: ChainState = {
    ...state,
    entries: state.entries + 1,
    first: state.first ?? { seq, time: entry.time },
    last: { seq, hash, time: entry.time },
    unreadable: 0,
  };
  if (partial && state.entries === 0 && state.last.seq === 0) return { state: next };

  const due = state.last.seq + 1;
  if (seq < due) return outOfPlace(state, seq, due);
  if (seq > due + state.unreadable) {
    const gaps = [...state.gaps, { from: due, to: seq - 1 }].slice(-MAX_GAPS);
    return found({ ...next, gaps }, 'missing', `entry ${due}`, `entry ${seq}`);
  }
  // With unreadable lines in between only the very next number tells what its predecessor's hash was.
  if (seq === due && entry.prev !== state.last.hash) {
    return found(next, 'broken-link', `prev ${state.last.hash}`, `prev ${entry.prev}`);
  }
  if (entry.time < state.last.time && entry.type !== 'audit.clock-stepped-back') {
    return found(next, 'clock', `a time from ${state.last.time} on`, entry.time);
  }
  return { state: next };
}

function outOfPlace(state: ChainState, seq: number, due: number): ChainStep {
  const gap = state.gaps.find(({ from, to }) => seq >= from && seq <= to);
  const beforeStart = state.first !== undefined && seq < state.first.seq;
  const kind = gap || beforeStart ? 'reordered' : 'duplicated';
  if (!gap) return found(state, kind, `entry ${due}`, `entry ${seq}`);
  const rest = [
    { from: gap.from, to: seq - 1 },
    { from: seq + 1, to: gap.to },
  ].filter(({ from, to }) => from <= to);
  const gaps = state.gaps.flatMap((other) => (other === gap ? rest : [other]));
  return found({ ...state, entries: state.entries + 1, gaps }, kind, `entry ${due}`, `entry ${seq}`);
}

function found(state: ChainState, kind: ChainFindingKind, expected: string, text: string): ChainStep {
  return { state, finding: { kind, expected, found: text } };
}
