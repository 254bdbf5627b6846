import { setTimeout as sleep } from 'node:timers/promises';

import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import type { AuditEntry } from '../../domain/audit.ts';
import type { AuditQuery } from '../../domain/audit-query.ts';
import { matches } from '../../domain/audit-query.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { printable } from '../../domain/printable.ts';
import type { ReadEntry } from '../audit-read.ts';
import { readAudit } from '../audit-read.ts';
import { auditReport } from '../audit-report.ts';
import type { AuditFile } from '../audit-verify.ts';
import { toAuditType, toInstant, toInteger } from './arguments.ts';
import type { AuditSource, SourceFlags } from './audit-sources.ts';
import { openSources, withSources } from './audit-sources.ts';
import type { EvidenceFlags } from './audit-verify.ts';
import { verifySources, withEvidence } from './audit-verify.ts';
import { columns, markSimulated, print, printAs, say, toJsonText } from './output.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { withClient, withCluster, withFormat, systemUser } from './settings.ts';

interface QueryFlags {
  readonly package?: string;
  readonly actor?: string;
  readonly outcome?: string;
  readonly type?: string;
  readonly since?: string;
  readonly until?: string;
}

type Flags = SourceFlags & ClusterOptions & QueryFlags;

const RECORDED =
  '\n\nWith --cluster the cluster records in its log that it is read, by whom and what for, before anything is shown.' +
  '\nReading files or a bucket without it leaves no trace here; the access log of the bucket has it.';

/** The commands that show a log. What they show verifies line by line; whether all is there is for `verify` to say. */
export function registerAuditReading(audit: Command): void {
  const reading = (name: string) => withCluster(withQuery(withSources(audit.command(name))));

  withFormat(reading('tail'))
    .description('the newest entries')
    .option('-n, --lines <n>', 'how many', toInteger, 20)
    .option('-f, --follow', 'go on with what is written from now on')
    .addHelpText('after', `\nExample:\n  byoc audit tail -f ./audit${RECORDED}`)
    .action(tail);

  withFormat(reading('search'))
    .description('entries by package, actor, outcome, type and time')
    .addHelpText(
      'after',
      '\nExamples:\n  byoc audit search --package 01JD0000000000000000000000 ./audit' +
        `\n  byoc audit search --outcome refused --since 7d -o json s3://acme-byoc-audit/byoc/prod-eu-1${RECORDED}`,
    )
    .action(async (paths: string[], flags: Flags & FormatOptions) => {
      const sources = await openRecorded('search', paths, flags);
      const found: AuditEntry[] = [];
      for await (const { entry } of readAll(sources, queryOf(flags))) found.push(entry);
      printAs(flags.output, found, () => (found.length > 0 ? describe(found) : []));
      if (found.length === 0) say('No entry matches.');
    });

  reading('export')
    .description('entries as they stand in the log, a line each: every line can be verified by itself')
    .addHelpText(
      'after',
      '\nExample:\n  byoc audit export --since 2026-01-01 --until 2026-02-01 ./audit > january.jsonl' +
        `\n\nWithout a filter but time, what is exported verifies too: byoc audit verify --partial january.jsonl${RECORDED}`,
    )
    .action(async (paths: string[], flags: Flags) => {
      const sources = await openRecorded('export', paths, flags);
      for await (const { line } of readAll(sources, queryOf(flags))) print(line);
    });

  withEvidence(withCluster(withSources(audit.command('report'))))
    .description('what an auditor asks of a period, as a Markdown page: packages, approvals, refusals, stops, gaps')
    .addOption(sinceOption())
    .addOption(untilOption())
    .addHelpText(
      'after',
      `\nExample:\n  byoc audit report --key audit.pub --since 2026-01-01 --until 2026-02-01 s3://acme-byoc-audit/byoc/prod-eu-1 > january.md${RECORDED}`,
    )
    .action(async (paths: string[], flags: Flags & EvidenceFlags) => {
      const sources = await openRecorded('report', paths, flags);
      const verified = await verifySources(sources, flags);
      const { since, until } = queryOf(flags);
      const entries = entriesOnly(readAll(sources, { since, until }));
      const madeAt = new Date().toISOString();
      print(
        await auditReport({ entries, verified, since, until, madeAt, sources: paths, isPlain: process.stdout.isTTY }),
      );
      if (!verified.ok) say('The audit log does not verify: see "Gaps and doubts".');
      if (!verified.ok) process.exitCode = 1;
    });
}

function withQuery(command: Command): Command {
  return command
    .option('--package <id>', 'of this package')
    .option('--actor <id>', 'by this actor')
    .addOption(new Option('--outcome <outcome>', 'with this outcome').choices(['succeeded', 'refused', 'failed']))
    .option('--type <type>', 'of this type, or group of types: vote.recorded, package, key', toAuditType)
    .addOption(sinceOption())
    .addOption(untilOption());
}

const sinceOption = () =>
  new Option('--since <time>', 'from this time on: 2026-01-31 (UTC), RFC 3339, or 90m, 24h, 7d ago').argParser(toTime);
const untilOption = () => new Option('--until <time>', 'before this time').argParser(toTime);

function queryOf({ package: wpk, actor, outcome, type, since, until }: QueryFlags): AuditQuery {
  return { wpk, actor, outcome, type, since, until };
}

const UNIT_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 };

const DAY = /^\d{4}-\d\d-\d\d$/;

/** As entries have it, so that they can be compared. */
function toTime(text: string): string {
  const [, number, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  if (unit) return new Date(Date.now() - Number(number) * UNIT_MS[unit as keyof typeof UNIT_MS]).toISOString();
  try {
    return toInstant(DAY.test(text) ? `${text}T00:00:00Z` : text).toISOString();
  } catch {
    const forms = 'a day (2026-01-31, in UTC), a time with its offset (2026-12-24T18:00:00+01:00)';
    throw new InvalidArgumentError(`One of: ${forms}, or how long ago (90m, 24h, 7d).`);
  }
}

/** Opens the sources; where a cluster is named it records first that they are read. */
async function openRecorded(command: string, paths: readonly string[], flags: Flags): Promise<AuditSource[]> {
  const filter = JSON.stringify(queryOf(flags));
  if (flags.cluster) {
    const source = paths.join(' ').slice(0, MAX_TEXT);
    const read = { reader: systemUser(), command, source, filter: filter.slice(0, MAX_TEXT) };
    const waits = setTimeout(() => say('Waiting for the cluster to record this reading …'), PATIENCE_MS);
    await withClient(flags, (client) => client.recordAuditRead(read)).catch(tellUnrecorded);
    clearTimeout(waits);
  }
  return openSources(paths, flags);
}

const MAX_TEXT = 1_000;
/** After so long somebody who waits wants to know what for. */
const PATIENCE_MS = 2_000;

/** Whoever can read the files can do so without this command: refusing would hide nothing, and hinder in an emergency. */
function tellUnrecorded(error: unknown): void {
  if (!(error instanceof ConnectorError && error.traits.retryable)) throw error;
  say(`This reading is not recorded in the log: ${error.message}`);
}

/**
 * Says at the end where lines were left out because they do not verify: they could be just what is looked for.
 * @param told places that were told before, and are not told again
 */
async function* readAll(
  sources: readonly AuditSource[],
  query: AuditQuery,
  told = new Set<string>(),
): AsyncGenerator<ReadEntry> {
  const fresh: string[] = [];
  const files = sources.flatMap((source) => source.files);
  const read = readAudit(files, query, ({ file, line }) => {
    const place = `${file}:${line}`;
    if (!told.has(place)) fresh.push(place);
    told.add(place);
  });
  for await (const one of read) {
    markSimulated(one.entry.simulated === true);
    yield one;
  }
  const [first] = fresh;
  if (first === undefined) return;
  const lines = fresh.length === 1 ? '1 line does' : `${fresh.length} lines do`;
  say(`${lines} not verify and cannot be shown, the first is ${printable(first)}.`);
  say('Anything may have stood there: see byoc audit verify.');
  process.exitCode = 1;
}

async function* entriesOnly(from: AsyncIterable<ReadEntry>): AsyncGenerator<AuditEntry> {
  for await (const { entry } of from) yield entry;
}

/** How often a log that is followed is looked at. */
const FOLLOW_EVERY_MS = 1_000;

async function tail(
  paths: string[],
  flags: Flags & FormatOptions & { readonly lines: number; readonly follow?: boolean },
): Promise<void> {
  const query = queryOf(flags);
  const seen = new SeenEntries();
  const newest: AuditEntry[] = [];
  for await (const entry of seen.newIn(await openRecorded('tail', paths, flags))) {
    if (matches(entry, query)) newest.push(entry);
    if (newest.length > flags.lines) newest.shift();
  }
  if (!flags.follow) {
    printAs(flags.output, newest, () => (newest.length > 0 ? describe(newest) : []));
    if (newest.length === 0) say('No entry matches.');
    return;
  }
  // What never ends comes entry by entry in each format.
  const show = (entry: AuditEntry) => print(flags.output === 'table' ? lineOf(entry) : toJsonText(entry));
  if (flags.output === 'table') describe(newest).forEach((line) => print(line));
  else newest.forEach(show);
  for (;;) {
    await sleep(FOLLOW_EVERY_MS);
    for await (const entry of seen.newIn(await openSources(paths, flags))) if (matches(entry, query)) show(entry);
  }
}

/**
 * Tells new entries by their numbers and not by their times: a clock may go back, and another pod's entries may come
 * late. Files that are as they were are not read again.
 */
class SeenEntries {
  readonly #versions = new Map<string, string>();
  readonly #upTo = new Map<string, number>();
  readonly #unreadable = new Set<string>();

  async *newIn(sources: readonly AuditSource[]): AsyncGenerator<AuditEntry> {
    const changed = sources.map((source) => ({ ...source, files: source.files.filter((file) => this.#isNew(file)) }));
    for await (const { entry } of readAll(changed, {}, this.#unreadable)) {
      if (entry.seq <= (this.#upTo.get(entry.chain) ?? 0)) continue;
      this.#upTo.set(entry.chain, entry.seq);
      yield entry;
    }
  }

  #isNew({ name, version }: AuditFile): boolean {
    if (version !== undefined && this.#versions.get(name) === version) return false;
    if (version !== undefined) this.#versions.set(name, version);
    return true;
  }
}

function describe(entries: readonly AuditEntry[]): string[] {
  const rows = entries.map(({ time, type, outcome, actor, wpk, detail }) => [
    ...[time, type, outcome, `${actor.id} (${actor.proof})`, wpk ?? '-', brief(detail)],
  ]);
  return columns([['TIME', 'TYPE', 'OUTCOME', 'ACTOR', 'PACKAGE', 'DETAIL'], ...rows]);
}

function lineOf(entry: AuditEntry): string {
  return describe([entry])[1] ?? '';
}

const MAX_BRIEF = 100;

function brief(detail: AuditEntry['detail']): string {
  const text = JSON.stringify(detail);
  return text.length > MAX_BRIEF ? `${text.slice(0, MAX_BRIEF)}…` : text;
}
