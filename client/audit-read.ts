import { checkLine } from '../domain/audit-chain.ts';
import type { AuditEntry } from '../domain/audit.ts';
import type { AuditQuery } from '../domain/audit-query.ts';
import { matches } from '../domain/audit-query.ts';
import type { AuditFile } from './audit-verify.ts';
import { chainsOf, linesOf } from './audit-verify.ts';
import { sha256 } from './sha256.ts';

/** An entry as it was read; its own hash holds, whether its chain does is for `verifyAudit` to say. */
export interface ReadEntry {
  readonly entry: AuditEntry;
  /** The line as it stands in the file, without its newline. */
  readonly line: string;
}

/** How many ids of events are remembered to tell each event once. */
const REMEMBERED = 1_000_000;

/** A place whose line does not verify, so that nobody can say what stands there. */
export interface UnreadableLine {
  readonly file: string;
  readonly line: number;
}

/**
 * Reads entries in the order of their times, over all chains; an event that several pods tell comes once.
 * @param onUnreadable is told of each line that does not verify; such lines are left out
 */
export async function* readAudit(
  files: readonly AuditFile[],
  query: AuditQuery,
  onUnreadable: (line: UnreadableLine) => void,
): AsyncGenerator<ReadEntry> {
  const told = new Set<string>();
  const chains = await chainsOf(files.filter(({ name }) => !name.endsWith('.json')));
  const streams = chains.map(([, parts]) =>
    entriesOf(
      parts.map(({ file }) => file),
      onUnreadable,
    ),
  );
  for await (const read of merge(streams)) {
    const { entry } = read;
    if (!matches(entry, query)) continue;
    // Not by the id alone: an entry that somebody gave the id of another one must not hide that.
    const eventId = JSON.stringify([entry.eventId, entry.type, entry.outcome, entry.wpk ?? null]);
    if (told.has(eventId)) continue;
    told.add(eventId);
    const [oldest] = told;
    if (told.size > REMEMBERED && oldest !== undefined) told.delete(oldest);
    yield read;
  }
}

const decoder = new TextDecoder();

async function* entriesOf(
  files: readonly AuditFile[],
  onUnreadable: (line: UnreadableLine) => void,
): AsyncGenerator<ReadEntry> {
  for (const file of files) {
    let number = 0;
    for await (const { bytes } of linesOf(file)) {
      number += 1;
      if (!checkLine(bytes, sha256).ok) {
        onUnreadable({ file: file.name, line: number });
        continue;
      }
      const line = decoder.decode(bytes);
      const { entry } = JSON.parse(line) as { readonly entry: AuditEntry }; // as `checkLine` says
      yield { entry, line };
    }
  }
}

/** Merges streams that are each in the order of time. */
async function* merge(streams: readonly AsyncGenerator<ReadEntry>[]): AsyncGenerator<ReadEntry> {
  const heads: { readonly stream: AsyncGenerator<ReadEntry>; readonly next: ReadEntry }[] = [];
  const pull = async (stream: AsyncGenerator<ReadEntry>) => {
    const { value, done } = await stream.next();
    if (!done) heads.push({ stream, next: value });
  };
  for (const stream of streams) await pull(stream);
  while (heads.length > 0) {
    const at = heads.reduce((best, head, index) => (isEarlier(head.next, heads[best]?.next) ? index : best), 0);
    const [head] = heads.splice(at, 1);
    if (!head) return;
    yield head.next;
    await pull(head.stream);
  }
}

function isEarlier(a: ReadEntry, b: ReadEntry | undefined): boolean {
  return b === undefined || a.entry.time < b.entry.time;
}
