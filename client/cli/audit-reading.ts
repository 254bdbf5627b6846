import { userInfo } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

import { Option } from 'commander';
import type { Command } from 'commander';

import type { AuditEntry } from '../../domain/audit.ts';
import type { AuditQuery } from '../../domain/audit-query.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { ReadEntry } from '../audit-read.ts';
import { readAudit } from '../audit-read.ts';
import { auditReport } from '../audit-report.ts';
import { toInteger } from './arguments.ts';
import type { AuditSource, SourceFlags } from './audit-sources.ts';
import { openSources, withSources } from './audit-sources.ts';
import type { EvidenceFlags } from './audit-verify.ts';
import { verifySources, withEvidence } from './audit-verify.ts';
import { columns, print, printAs, say } from './output.ts';
import type { ClusterOptions, FormatOptions } from './settings.ts';
import { withClient, withCluster, withFormat } from './settings.ts';

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
        `\n  byoc audit search --outcome refused --since 7d -o json s3://acme-audit/byoc/prod-eu-1${RECORDED}`,
    )
    .action(async (paths: string[], flags: Flags & FormatOptions) => {
      const sources = await openRecorded('search', paths, flags);
      const found: AuditEntry[] = [];
      for await (const { entry } of readAll(sources, queryOf(flags))) found.push(entry);
      printAs(flags.output, found, () => describe(found));
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
      `\nExample:\n  byoc audit report --key audit.pub --since 2026-01-01 --until 2026-02-01 s3://acme-audit/byoc/prod-eu-1 > january.md${RECORDED}`,
    )
    .action(async (paths: string[], flags: Flags & EvidenceFlags) => {
      const sources = await openRecorded('report', paths, flags);
      const verified = await verifySources(sources, flags);
      const { since, until } = queryOf(flags);
      const entries = entriesOnly(readAll(sources, { since, until }));
      const madeAt = new Date().toISOString();
      print(await auditReport({ entries, verified, since, until, madeAt, sources: paths }));
      if (!verified.ok) say('The audit log does not verify: see "Gaps and doubts".');
      if (!verified.ok) process.exitCode = 1;
    });
}

function withQuery(command: Command): Command {
  return command
    .option('--package <id>', 'of this package')
    .option('--actor <id>', 'by this actor')
    .addOption(new Option('--outcome <outcome>', 'with this outcome').choices(['succeeded', 'refused', 'failed']))
    .option('--type <type>', 'of this type, or group of types: vote.recorded, package, key')
    .addOption(sinceOption())
    .addOption(untilOption());
}

const sinceOption = () => new Option('--since <time>', 'from this time on: 2026-01-31, RFC 3339, or 24h, 7d ago');
const untilOption = () => new Option('--until <time>', 'before this time');

/** @throws {ConnectorError} USAGE for a time that is none */
function queryOf({ package: wpk, actor, outcome, type, since, until }: QueryFlags): AuditQuery {
  return { wpk, actor, outcome, type, since: since && timeOf(since), until: until && timeOf(until) };
}

const UNIT_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 };

function timeOf(text: string): string {
  const [, number, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const at = unit ? Date.now() - Number(number) * UNIT_MS[unit as keyof typeof UNIT_MS] : Date.parse(text);
  if (Number.isNaN(at)) throw new ConnectorError('USAGE', `"${text}" is no time.`);
  return new Date(at).toISOString();
}

/** Opens the sources; where a cluster is named it records first that they are read. */
async function openRecorded(command: string, paths: readonly string[], flags: Flags): Promise<AuditSource[]> {
  const filter = JSON.stringify(queryOf(flags));
  if (flags.cluster) {
    const source = paths.join(' ').slice(0, MAX_TEXT);
    const read = { reader: userInfo().username, command, source, filter: filter.slice(0, MAX_TEXT) };
    await withClient(flags, (client) => client.recordAuditRead(read)).catch(tellUnrecorded);
  }
  return openSources(paths, flags);
}

const MAX_TEXT = 1_000;

/** Whoever can read the files can do so without this command: refusing would hide nothing, and hinder in an emergency. */
function tellUnrecorded(error: unknown): void {
  if (!(error instanceof ConnectorError && error.traits.retryable)) throw error;
  say(`This reading is not recorded in the log: ${error.message}`);
}

function readAll(sources: readonly AuditSource[], query: AuditQuery): AsyncGenerator<ReadEntry> {
  return readAudit(
    sources.flatMap(({ files }) => files),
    query,
  );
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
  const newest: AuditEntry[] = [];
  let since = queryOf(flags).since;
  const shown = new Set<string>();
  for await (const { entry } of readAll(await openRecorded('tail', paths, flags), queryOf(flags))) {
    newest.push(entry);
    if (newest.length > flags.lines) newest.shift();
  }
  printAs(flags.output, newest, () => describe(newest));
  while (flags.follow) {
    await sleep(FOLLOW_EVERY_MS);
    for (const { eventId } of newest) shown.add(eventId);
    since = newest.at(-1)?.time ?? since;
    const fresh = [];
    for await (const { entry } of readAll(await openSources(paths, flags), { ...queryOf(flags), since })) {
      if (!shown.has(entry.eventId)) fresh.push(entry);
    }
    if (fresh.length === 0) continue;
    newest.splice(0, Infinity, ...fresh);
    for (const entry of fresh) print(flags.output === 'table' ? lineOf(entry) : JSON.stringify(entry));
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
