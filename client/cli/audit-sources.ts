import { Option } from 'commander';
import type { Command } from 'commander';

import { AUDIT_RETENTION_DAYS, DEFAULT_REGION } from '../../domain/audit.ts';
import { localAuditFiles } from '../audit-files.ts';
import { toInteger } from './arguments.ts';
import type { AuditObjects } from './audit-bucket.ts';
import { bucketAuditFiles } from './audit-bucket.ts';

/** Where a log is read from. */
export interface SourceFlags {
  readonly endpoint?: string;
  readonly region: string;
  readonly retentionDays: number;
}

/** Local paths are one copy of a log together; each bucket is another, with what the bucket itself shows. */
export interface AuditSource extends AuditObjects {
  readonly name: string;
}

/** Adds the paths and what is needed to reach a bucket. */
export function withSources(command: Command): Command {
  return command
    .argument('<path...>', 'files, folders or s3://bucket/prefix')
    .addOption(new Option('--endpoint <url>', 'of the S3 server; AWS by default').env('AWS_ENDPOINT_URL_S3'))
    .addOption(new Option('--region <region>', 'of the bucket').env('AWS_REGION').default(DEFAULT_REGION))
    .option('--retention-days <days>', 'how long the bucket must keep each object', toInteger, AUDIT_RETENTION_DAYS);
}

/** @throws {ConnectorError} USAGE, FILE_UNREADABLE, CONFIG_INVALID (endpoint), S3_UNAVAILABLE */
export async function openSources(paths: readonly string[], flags: SourceFlags): Promise<AuditSource[]> {
  const local = paths.filter((path) => !path.startsWith('s3://'));
  const sources: AuditSource[] = [];
  if (local.length > 0) {
    const files = await localAuditFiles(local);
    sources.push({ name: local.join(', '), files, problems: () => Promise.resolve([]) });
  }
  for (const url of paths.filter((path) => path.startsWith('s3://'))) {
    sources.push({ name: url, ...(await bucketAuditFiles(url, flags)) });
  }
  return sources;
}
