import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { ConnectorError } from '../../domain/errors.ts';
import { isSimulated } from '../../domain/simulation.ts';
import type { RiskLevel, Target } from '../../domain/wpk.ts';
import { RISK_LEVELS } from '../../domain/wpk.ts';
import type { PackedWpk } from '../pack/pack.ts';
import { packWpk } from '../pack/pack.ts';
import { readManifests } from '../pack/read-manifests.ts';
import { toInteger } from './arguments.ts';
import { summaryLines } from './check.ts';
import { readManifestSources } from './files.ts';
import { markSimulated, say } from './output.ts';
import { withCluster } from './settings.ts';

export interface PackOptions {
  readonly output?: string;
  readonly name?: string;
  readonly playbook: { readonly id: string; readonly version: string };
  readonly author: string;
  readonly cluster?: string;
  readonly namespace?: string;
  readonly allowNamespace?: string[];
  readonly notBefore?: Date;
  readonly validFor: number;
  readonly sequence?: number;
  readonly risk: RiskLevel;
  readonly reason: string;
  readonly restart?: Target[];
  /** Seconds; false for --no-wait. */
  readonly wait: number | false;
}

const SUFFIX = '.wpk.json';

export function registerPack(program: Command): void {
  withCluster(program.command('pack'))
    .description('make a work package from manifests')
    .argument('[input]', 'a folder or file with manifests, or - for stdin; may be left out with --restart')
    .option('-o, --output <file>', `where to write it, as a rule NAME${SUFFIX}; stdout where left out`)
    .option('--name <name>', 'what people call it (default: NAME of the output file)')
    .addOption(
      new Option('--playbook <id@version>', 'the procedure that it follows')
        .argParser(toPlaybook)
        .default({ id: 'adhoc', version: '1' }, 'adhoc@1'),
    )
    .addOption(new Option('--author <id>', 'who answers for it').env('BYOC_AUTHOR').makeOptionMandatory())
    .option('-n, --namespace <name>', 'for built-in kinds that name none')
    .option('--allow-namespace <name...>', 'all that it may touch (default: what it does touch)')
    .option('--not-before <time>', 'when it starts to be valid, such as 2026-01-31T12:00:00Z (default: now)', toTime)
    .addOption(
      new Option('--valid-for <duration>', 'for how long, such as 30m, 24h, 7d')
        .argParser(toSeconds)
        .default(86_400, '24h'),
    )
    .option('--sequence <n>', 'never lower than for an earlier package of the playbook (default: the time)', toInteger)
    .addOption(new Option('--risk <level>', 'at least this').choices(RISK_LEVELS).default('low'))
    .requiredOption('--reason <text>', 'why; read by whoever approves')
    .option('--restart <[namespace/]kind/name...>', 'workloads to restart afterwards', toTarget)
    .addOption(
      new Option('--wait <duration>', 'how long each step may take to become ready')
        .argParser(toSeconds)
        .default(300, '5m'),
    )
    .option('--no-wait', 'do not wait for readiness')
    .addHelpText(
      'after',
      `\nExample:\n  helm template shop ./chart | byoc pack - -o shop${SUFFIX} --cluster prod-eu-1 -n shop \\` +
        "\n    --author alice@example.com --reason 'release 1.4' --restart deployment/checkout",
    )
    .action(async (input: string | undefined, options: PackOptions) => {
      const { wpk, payload } = await packInput(input, options, new Date());
      if (options.output === undefined) process.stdout.write(payload);
      else await writeOutput(options.output, payload);
      markSimulated(isSimulated(wpk.target.clusterId));
      summaryLines(wpk).forEach(say);
    });
}

/**
 * @param now when the package starts to be valid, unless told otherwise
 * @throws {ConnectorError} USAGE, FILE_UNREADABLE, MANIFEST_INVALID, and those of `packWpk`
 */
export async function packInput(input: string | undefined, options: PackOptions, now: Date): Promise<PackedWpk> {
  const { cluster, restart = [], namespace, allowNamespace, wait, output } = options;
  if (cluster === undefined)
    throw new ConnectorError('USAGE', 'Say for which cluster: --cluster ID, or BYOC_CLUSTER_ID.');
  const manifests = input === undefined ? [] : (await readManifestSources(input)).flatMap(readManifests);
  if (manifests.length === 0 && restart.length === 0) {
    throw new ConnectorError('USAGE', 'There is nothing to pack: no manifest, and no --restart.');
  }
  const name = options.name ?? (output?.endsWith(SUFFIX) ? basename(output, SUFFIX) : undefined);
  if (name === undefined) throw new ConnectorError('USAGE', `Give it a name: --name NAME, or -o NAME${SUFFIX}.`);
  return packWpk({
    manifests,
    restarts: restart,
    name,
    playbook: options.playbook,
    author: options.author,
    clusterId: cluster,
    ...(namespace !== undefined && { namespace }),
    ...(allowNamespace && { namespaces: allowNamespace }),
    notBefore: options.notBefore ?? now,
    validForSeconds: options.validFor,
    sequence: options.sequence ?? Math.floor(now.getTime() / 1000),
    risk: options.risk,
    reason: options.reason,
    ...(wait !== false && { waitSeconds: wait }),
  });
}

async function writeOutput(file: string, payload: Uint8Array): Promise<void> {
  try {
    await writeFile(file, payload);
  } catch (cause) {
    throw new ConnectorError('FILE_UNWRITABLE', file, { cause });
  }
}

function toPlaybook(text: string): PackOptions['playbook'] {
  const [, id, version] = /^([^@]+)@([^@]+)$/.exec(text) ?? [];
  if (id === undefined || version === undefined) throw new InvalidArgumentError('Such as restart-deployment@3.');
  return { id, version };
}

function toTime(text: string): Date {
  const time = new Date(text);
  if (!text.endsWith('Z') || Number.isNaN(time.getTime()))
    throw new InvalidArgumentError('A time in UTC, ending in Z.');
  return time;
}

const UNIT_SECONDS = new Map([
  ['s', 1],
  ['m', 60],
  ['h', 3600],
  ['d', 86_400],
]);

function toSeconds(text: string): number {
  const [, count, unit] = /^([1-9][0-9]{0,6})([smhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (UNIT_SECONDS.get(unit ?? '') ?? Number.NaN);
  if (!Number.isSafeInteger(seconds)) throw new InvalidArgumentError('A whole number and s, m, h or d, such as 30m.');
  return seconds;
}

/** Kinds that can be restarted, by the names that kubectl has for them. */
const WORKLOADS = new Map(
  [
    ['Deployment', 'deployment', 'deployments', 'deploy'],
    ['StatefulSet', 'statefulset', 'statefulsets', 'sts'],
    ['DaemonSet', 'daemonset', 'daemonsets', 'ds'],
  ].flatMap(([kind = '', ...names]) => names.map((name) => [name, kind] as const)),
);

function toTarget(text: string, before: Target[] | undefined): Target[] {
  const [name, word, namespace, ...more] = text.split('/').reverse();
  const kind = WORKLOADS.get(word?.toLowerCase() ?? '');
  if (!kind || !name || more.length > 0) {
    throw new InvalidArgumentError('Such as deployment/checkout or shop/deployment/checkout.');
  }
  return [...(before ?? []), { kind, name, ...(namespace !== undefined && { namespace }) }];
}
