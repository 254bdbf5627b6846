import type { Command } from 'commander';
import { Option } from 'commander';
import { ConnectorError } from '../../domain/errors.ts';
import type { Risk } from '../../domain/plan.ts';
import { higherRisk } from '../../domain/policy.ts';
import { printable } from '../../domain/printable.ts';
import { riskOfManifests } from '../../domain/risk.ts';
import type { RiskLevel } from '../../domain/wpk.ts';
import { riskLevelSchema } from '../../domain/wpk.ts';
import { withNamespace } from '../pack/namespaces.ts';
import type { ManifestSource } from '../pack/read-manifests.ts';
import { readManifests } from '../pack/read-manifests.ts';
import { readManifestSources } from './files.ts';
import { paint, printAs, reportError } from './output.ts';
import { riskText } from './render.ts';
import type { FormatOptions } from './settings.ts';
import { withFormat } from './settings.ts';

interface RiskOptions extends FormatOptions {
  readonly namespace: string;
  readonly failOn?: RiskLevel;
}

interface FileRisk extends Risk {
  readonly file: string;
}

/** `byoc risk FILE…`: what the rules say of manifests, without a cluster. */
export function registerRisk(program: Command): void {
  withFormat(program.command('risk'))
    .description('risk of plain manifests, offline: the level and the rules that fired')
    .argument('<file...>', 'files or folders with manifests (YAML, JSON, lists), or - for stdin')
    .option('-n, --namespace <name>', 'for built-in kinds that name none', 'default')
    .addOption(
      new Option('--fail-on <level>', 'exit with 1 where a file has this level or a higher one').choices(
        riskLevelSchema.options,
      ),
    )
    .addHelpText(
      'after',
      '\nExit codes: 1 only by --fail-on, 2 where anything cannot be read.' +
        '\n\nEverything counts as new: what is there already only `byoc plan` knows. The rules: docs/risk.md.' +
        '\n\nExample:\n  helm template shop ./chart | byoc risk - -n shop --fail-on high',
    )
    .action(async (paths: string[], options: RiskOptions) => {
      const read = await Promise.allSettled(paths.map(readManifestSources));
      const sources = read.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
      const judged = await Promise.allSettled(sources.map(async (source) => riskOfSource(source, options.namespace)));
      const broken = [...read, ...judged].filter((one) => one.status === 'rejected');
      // All of them at once, and as usage: 1 says that something is too risky, which nobody knows here.
      broken.forEach(({ reason }) => reportError(reason));
      if (broken.length > 0) return void (process.exitCode = 2);
      const files = judged.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
      // One file that was named gives one object; a folder and several files give a list, however many there are.
      const [first] = files;
      const isOne = paths.length === 1 && first?.file === (paths[0] === '-' ? 'stdin' : paths[0]);
      printAs(options.output, first && isOne ? withoutFile(first) : files, () => files.flatMap(fileLines));
      const { failOn } = options;
      if (failOn && files.some(({ level }) => higherRisk(level, failOn) === level)) process.exitCode = 1;
    });
}

/** @throws {ConnectorError} MANIFEST_INVALID with the file's name and, for what is wrong in it, line and column */
function riskOfSource(source: ManifestSource, namespace: string): FileRisk {
  const manifests = readManifests(source).map((manifest) => withNamespace(manifest, namespace));
  // A pipe that broke must not pass for a harmless file.
  if (manifests.length === 0) throw new ConnectorError('MANIFEST_INVALID', `${source.name}: There is none in it.`);
  return { file: source.name, ...riskOfManifests(manifests) };
}

function withoutFile({ level, findings }: FileRisk): Risk {
  return { level, findings };
}

function fileLines({ file, level, findings }: FileRisk): string[] {
  return [
    `${paint('bold', printable(file))}  ${riskText(level)}`,
    ...findings.map(({ level, rule, message }) => {
      const padding = ' '.repeat('medium'.length - level.length);
      return `  ${riskText(level)}${padding}  ${printable(message)} ${paint('dim', `(${rule})`)}`;
    }),
  ];
}
