import type { Command } from 'commander';
import { Option } from 'commander';

import { AUDIT_RETENTION_DAYS } from '../../domain/audit.ts';
import { printable } from '../../domain/printable.ts';
import { localAuditFiles } from '../audit-files.ts';
import type { AuditFile, AuditProblem, AuditReport } from '../audit-verify.ts';
import { verifyAudit } from '../audit-verify.ts';
import { toInteger } from './arguments.ts';
import { bucketAuditFiles } from './audit-bucket.ts';
import { columns, paint, printAs, say } from './output.ts';
import type { FormatOptions } from './settings.ts';
import { withFormat } from './settings.ts';

interface VerifyFlags extends FormatOptions {
  readonly partial?: boolean;
  readonly endpoint?: string;
  readonly region: string;
  readonly retentionDays: number;
}

export function registerAudit(program: Command): void {
  const audit = program.command('audit').description('read and verify the audit log');
  const verify = audit
    .command('verify')
    .description('verify a log offline and name the first bad or missing entry')
    .argument('<path...>', 'files, folders or s3://bucket/prefix')
    .option('--partial', 'accept chains that begin after their first entry')
    .addOption(new Option('--endpoint <url>', 'of the S3 server; AWS by default').env('AWS_ENDPOINT_URL_S3'))
    .addOption(new Option('--region <region>', 'of the bucket').env('AWS_REGION').default('us-east-1'))
    .option('--retention-days <days>', 'how long the bucket must keep each object', toInteger, AUDIT_RETENTION_DAYS)
    .addHelpText(
      'after',
      '\nExamples:\n  byoc audit verify ./audit\n  byoc audit verify -o json s3://acme-audit/prod-eu-1' +
        '\n\nS3 credentials are found as every AWS client finds them: AWS_ACCESS_KEY_ID, AWS_PROFILE, …' +
        '\nA tail cut off between two lines does not show here: compare the heads with what others remember of them.',
    );
  withFormat(verify).action(async (paths: string[], flags: VerifyFlags) => {
    const report = await verifyPaths(paths, flags);
    printAs(flags.output, report, () => describe(report));
    if (!report.ok) say(verdict(report));
    if (!report.ok) process.exitCode = 1;
  });
}

async function verifyPaths(paths: readonly string[], flags: VerifyFlags): Promise<AuditReport> {
  const files: AuditFile[] = await localAuditFiles(paths.filter((path) => !path.startsWith('s3://')));
  const problems: AuditProblem[] = [];
  for (const url of paths.filter((path) => path.startsWith('s3://'))) {
    const found = await bucketAuditFiles(url, flags);
    files.push(...found.files);
    problems.push(...found.problems);
  }
  const report = await verifyAudit(files, { partial: flags.partial ?? false });
  return {
    ...report,
    ok: report.ok && problems.length === 0,
    problems: [...report.problems, ...problems],
    problemCount: report.problemCount + problems.length,
  };
}

function describe(report: AuditReport): string[] {
  const chains = report.chains.map(({ chain, entries, firstSeq, lastSeq, from, to, head }) => [
    ...[chain, String(entries), `${firstSeq}–${lastSeq}`, from, to, head],
  ]);
  const rows = chains.length > 0 ? columns([['CHAIN', 'ENTRIES', 'NUMBERS', 'FROM', 'TO', 'HEAD'], ...chains]) : [];
  const problems = report.problems.map(({ kind, file, line, expected, found }) => {
    const place = line === undefined ? file : `${file}:${line}`;
    return `${paint('red', kind)}  ${printable(place)}: expected ${printable(expected)}, found ${printable(found)}`;
  });
  return [...rows, ...problems, ...(report.ok ? [paint('green', 'The audit log verifies.')] : [])];
}

function verdict({ problemCount, chains }: AuditReport): string {
  if (problemCount === 0 && chains.length === 0) return 'There is nothing to verify here.';
  return `The audit log does not verify: ${problemCount} ${problemCount === 1 ? 'problem' : 'problems'}.`;
}
