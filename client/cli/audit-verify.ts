import type { Command } from 'commander';

import { moment } from '../../domain/moment.ts';
import { printable } from '../../domain/printable.ts';
import { localAuditFiles } from '../audit-files.ts';
import type { HeadKeys } from '../audit-keys.ts';
import { parseHeadKeys } from '../audit-keys.ts';
import type { AuditReport } from '../audit-verify.ts';
import { verifyAudit } from '../audit-verify.ts';
import type { AuditSource, SourceFlags } from './audit-sources.ts';
import { openSources, withSources } from './audit-sources.ts';
import { readInput } from './files.ts';
import { columns, markSimulated, paint, printAs, say } from './output.ts';
import type { FormatOptions } from './settings.ts';
import { withFormat } from './settings.ts';

export interface EvidenceFlags {
  readonly partial?: boolean;
  readonly key?: readonly string[];
  readonly head?: readonly string[];
}

type Flags = FormatOptions & SourceFlags & EvidenceFlags;

/** Adds what a log is held against. */
export function withEvidence(command: Command): Command {
  return command
    .option('--partial', 'accept chains that begin after their first entry')
    .option(
      '--key <file>',
      'public key that heads must be signed by (repeatable); every chain must then have one',
      another,
    )
    .option(
      '--head <file>',
      'signed heads that somebody kept (repeatable), besides those that lie with the log',
      another,
    );
}

function another(file: string, before: readonly string[] = []): readonly string[] {
  return [...before, file];
}

export function registerAuditVerify(audit: Command): void {
  const verify = withEvidence(withSources(audit.command('verify')))
    .description('verify a log offline and name the first bad or missing entry')
    .addHelpText(
      'after',
      '\nExamples:\n  byoc audit verify ./audit\n  byoc audit verify --key audit.pub -o json s3://acme-byoc-audit/byoc/prod-eu-1' +
        '\n\nS3 credentials are found as every AWS client finds them: AWS_ACCESS_KEY_ID, AWS_PROFILE, …' +
        '\nSigned heads show a tail that was cut off and a log that was rewritten; those that lie with the log (in the' +
        '\nbucket) are compared by themselves, and checked where --key gives the public key (byoc audit head --public-key).',
    );
  withFormat(verify).action(async (paths: string[], flags: Flags) => {
    const report = await verifySources(await openSources(paths, flags), flags);
    markSimulated(report.chains.some(({ simulated }) => simulated));
    printAs(flags.output, report, () => describe(report, flags.key !== undefined));
    if (!report.ok) say(verdict(report));
    if (!report.ok) process.exitCode = 1;
  });
}

/** Verifies each copy by itself and puts what was found together. */
export async function verifySources(sources: readonly AuditSource[], flags: EvidenceFlags): Promise<AuditReport> {
  const keys = flags.key && (await readKeys(flags.key));
  const heads = (await localAuditFiles(flags.head ?? [])).map(({ name, open }) => ({
    name: name.endsWith('.json') ? name : `${name}.json`,
    open,
  }));
  const options = { partial: flags.partial ?? false, ...(keys && { keys }) };
  const reports = [];
  for (const { files, problems } of sources) {
    const report = await verifyAudit([...files, ...heads], options);
    reports.push(report, withoutChains(await problems()));
  }
  return reports.reduce(together);
}

function withoutChains(problems: AuditReport['problems']): AuditReport {
  const nothing = { chains: [], repeated: 0, heads: 0, manifests: 0 };
  return { ...nothing, ok: problems.length === 0, problems, problemCount: problems.length };
}

function together(a: AuditReport, b: AuditReport): AuditReport {
  return {
    ok: a.ok && b.ok,
    chains: [...a.chains, ...b.chains],
    repeated: a.repeated === undefined || b.repeated === undefined ? undefined : a.repeated + b.repeated,
    heads: a.heads + b.heads,
    manifests: a.manifests + b.manifests,
    problems: [...a.problems, ...b.problems],
    problemCount: a.problemCount + b.problemCount,
  };
}

async function readKeys(files: readonly string[]): Promise<HeadKeys> {
  const keys = await Promise.all(
    files.map(async (file) => parseHeadKeys(Buffer.from(await readInput(file)).toString(), file)),
  );
  return new Map(keys.flatMap((some) => [...some]));
}

function describe(report: AuditReport, hasKey: boolean): string[] {
  const isSigned = report.heads > 0;
  const chains = report.chains.map(({ chain, entries, firstSeq, lastSeq, from, to, head, ...rest }) => [
    ...[chain, String(entries), `${firstSeq}–${lastSeq}`, moment(from), moment(to), head],
    ...(isSigned ? [signedText(rest, hasKey)] : []),
  ]);
  const heading = ['CHAIN', 'ENTRIES', 'NUMBERS', 'FROM', 'TO', 'HEAD', ...(isSigned ? ['SIGNED'] : [])];
  const rows = chains.length > 0 ? columns([heading, ...chains]) : [];
  const problems = report.problems.map(({ kind, file, line, expected, found }) => {
    const place = line === undefined ? file : `${file}:${line}`;
    return `${paint('red', kind)}  ${printable(place)}: expected ${printable(expected)}, found ${printable(found)}`;
  });
  const untold = report.problemCount - report.problems.length;
  if (untold > 0) problems.push(`… and ${counted(untold, 'problem')} more.`);
  return [...rows, ...facts(report, hasKey), ...problems, ...(report.ok ? [verifiesText(report)] : [])];
}

/** How far a signature reaches, and whether one reaches further than the log does. */
function signedText({ signed, beyond }: Pick<Chain, 'signed' | 'beyond'>, hasKey: boolean): string {
  if (signed) return `up to ${signed.seq}`;
  if (beyond) return `head of ${beyond.seq} is past the end`;
  return hasKey ? 'nothing' : 'not checked';
}

type Chain = AuditReport['chains'][number];

/** An end that no signed head reaches may be one that somebody made. */
function verifiesText({ chains }: AuditReport): string {
  const isProven = chains.every(({ signed, lastSeq }) => signed?.seq === lastSeq);
  if (isProven) return paint('green', 'The audit log verifies.');
  if (chains.some(({ signed }) => signed)) return paint('green', 'The audit log verifies, up to what is signed.');
  return paint('yellow', 'The audit log verifies, but its end is not proven (see --key).');
}

/** What else was looked at, and how far what was found out can be trusted. */
function facts({ heads, manifests, repeated, chains }: AuditReport, hasKey: boolean): string[] {
  const keys = new Set(chains.flatMap(({ signed }) => signed?.keyId ?? []));
  const compared = `Compared with ${counted(heads, 'signed head')} and ${counted(manifests, 'manifest')} of days.`;
  return [
    ...madeUp(chains).map((line) => paint('yellow', line)),
    ...(heads > 0 ? [compared] : []),
    ...[...keys].map((key) => `Signed by ${key}.`),
    ...reach(heads, chains, hasKey).map((line) => paint('yellow', line)),
    ...(repeated ? [`Told by more than one entry, and counted once: ${counted(repeated, 'event')}.`] : []),
  ];
}

function madeUp(chains: readonly Chain[]): string[] {
  const count = chains.reduce((sum, { simulated, entries }) => sum + (simulated ? entries : 0), 0);
  return count === 0
    ? []
    : [`${counted(count, 'entry').replace('entrys', 'entries')} of a simulation: they tell of what never happened.`];
}

/** A head is newer than the last upload more often than not: the entry of an upload goes into the bucket with the next one. */
const CUT_OR_EARLY = [
  'What follows the end was cut off, or came after this copy was made (of a bucket: after its last upload); which, the copy cannot tell.',
  'Verify one that is newer than the head: what is missing there was cut off.',
];

/** What this verification could not have noticed, whatever was done. */
function reach(heads: number, chains: readonly Chain[], hasKey: boolean): string[] {
  if (chains.length === 0) return [];
  if (heads === 0)
    return ['No signed head was compared: an end that was cut off, or a log written anew, would not show.'];
  const past = chains.flatMap(({ chain, lastSeq, beyond }) => {
    if (!beyond) return [];
    const signature = beyond.signed ? 'its signature verifies' : 'its signature was not checked (--key)';
    return [`Of ${printable(chain)} a head of entry ${beyond.seq} is past the end, ${lastSeq}: ${signature}.`];
  });
  if (past.length > 0) past.push(...CUT_OR_EARLY);
  if (!hasKey) {
    return [...past, 'No signature was checked (--key): who can write beside the log can have written the heads, too.'];
  }
  const uncovered = chains.flatMap(({ chain, lastSeq, signed }) =>
    signed && signed.seq < lastSeq
      ? [`Of ${printable(chain)} no head covers ${signed.seq + 1}–${lastSeq} yet: only what is before is proven.`]
      : [],
  );
  return [...past, ...uncovered];
}

function counted(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

function verdict({ problemCount, chains }: AuditReport): string {
  if (problemCount === 0 && chains.length === 0) return 'There is nothing to verify here.';
  return `The audit log does not verify: ${counted(problemCount, 'problem')}.`;
}
