import type { Command } from 'commander';
import type { ConnectorError } from '../../domain/errors.ts';
import { checkWpk } from '../../domain/parse-wpk.ts';
import { printable } from '../../domain/printable.ts';
import { isSimulated } from '../../domain/simulation.ts';
import type { Step, Wpk } from '../../domain/wpk.ts';
import { describeState, targetsOf } from '../../domain/wpk.ts';
import { readInput } from './files.ts';
import { markSimulated, print } from './output.ts';

export function registerCheck(program: Command): void {
  program
    .command('check')
    .description('check the form of a work package; says nothing about signature, time or cluster')
    .argument('<file>', 'the package, or - for stdin')
    .addHelpText('after', '\nExample:\n  byoc check restart-checkout.wpk.json')
    .action(async (file: string) => {
      const checked = checkWpk(await readInput(file));
      markSimulated(isSimulated(checked.wpk?.target.clusterId ?? ''));
      const lines = checked.wpk ? summaryLines(checked.wpk) : checked.problems.map((one) => problemLine(file, one));
      lines.forEach((line) => print(printable(line)));
      if (!checked.wpk) process.exitCode = 1;
    });
}

/** `FILE:LINE:COLUMN CODE sentence`, the form that editors make links of. */
export function problemLine(file: string, { code, detail, place, traits }: ConnectorError): string {
  const where = [file, place?.line ?? 1, place?.column ?? 1].join(':');
  const pointer = place?.path ? ` (${place.path})` : '';
  return `${where} ${code} ${detail || traits.sentence}${pointer}`;
}

export function summaryLines({ metadata, target, risk, steps }: Wpk): string[] {
  const { playbook } = metadata;
  const namespaces = target.namespaces.length > 0 ? ` (${target.namespaces.join(', ')})` : '';
  return [
    `${metadata.name} ${metadata.id}, playbook ${playbook.id}@${playbook.version}, by ${metadata.author}`,
    `for ${target.clusterId}${namespaces}, risk at least ${risk}, valid ${metadata.notBefore} to ${metadata.expiresAt}`,
    ...steps.map((step) => `  ${step.id}: ${describeStep(step)}`),
  ];
}

function describeStep(step: Step): string {
  if (step.action === 'apply') return `apply ${step.manifests.length} object${step.manifests.length === 1 ? '' : 's'}`;
  const [target] = targetsOf(step);
  const where = target?.namespace === undefined ? '' : `${target.namespace}/`;
  return `${step.action} ${target?.kind ?? ''} ${where}${target?.name ?? ''}${detailOf(step)}`;
}

function detailOf(step: Step): string {
  switch (step.action) {
    case 'scale':
      return ` to ${step.replicas}`;
    case 'rollback':
      return step.toRevision === undefined ? ' to its previous revision' : ` to revision ${step.toRevision}`;
    case 'run':
    case 'drain':
      return `, at most ${step.timeoutSeconds} s`;
    case 'wait':
      return ` until ${describeState(step.for)}, at most ${step.timeoutSeconds} s`;
    default:
      return '';
  }
}
