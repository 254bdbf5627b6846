import type { Command } from 'commander';
import { checkPolicy, parsePolicy } from '../../activities/policy/load-policy.ts';
import type { Digest } from '../../domain/digest.ts';
import { explainPolicy } from '../../domain/explain-policy.ts';
import { parseWpk } from '../../domain/parse-wpk.ts';
import type { Risk } from '../../domain/plan.ts';
import { digestOfSteps, policyDigest } from '../../domain/policy.ts';
import type { PolicyDecision } from '../../domain/policy/decision.ts';
import { idleEntries } from '../../domain/policy/idle-entries.ts';
import { printable } from '../../domain/printable.ts';
import { riskOfNewPackage } from '../../domain/risk.ts';
import type { Wpk } from '../../domain/wpk.ts';
import { sha256 } from '../sha256.ts';
import { toInstant } from './arguments.ts';
import { problemLine } from './check.ts';
import { inFile, readInput } from './files.ts';
import { columns, paint, printAs, say } from './output.ts';
import type { FormatOptions } from './settings.ts';
import { withFormat } from './settings.ts';

/** `byoc policy check` and `byoc policy explain`: both need no cluster. */
export function registerPolicy(program: Command): void {
  const policy = program.command('policy').description('check a policy file, or see what it decides for a package');
  withFormat(policy.command('check'))
    .description('check a policy file; tells every problem, or its digest')
    .argument('<file>', 'the policy, or - for stdin')
    .addHelpText('after', '\nExample:\n  byoc policy check policy.yaml')
    .action(async (file: string, { output }: FormatOptions) => {
      const { policy: good, problems } = checkPolicy(await readText(file));
      const found = problems.map(({ code, detail, place }) => ({ code, detail, ...place }));
      const digest = good && policyDigest(sha256, good);
      printAs(output, { file, digest, problems: found, policy: good }, () =>
        digest
          ? [printable(`${file === '-' ? 'The policy' : file} is valid: ${digest}`)]
          : problems.map((one) => printable(problemLine(file, one))),
      );
      if (!good) process.exitCode = 1;
      else idleEntries(good).forEach(({ place, why }) => say(printable(`${place} allows nothing: ${why}.`)));
    });
  withFormat(policy.command('explain'))
    .description('which rule of a policy decides what for a package, and why')
    .argument('<file>', 'the policy')
    .argument('<package>', 'the package, or - for stdin; it need not be signed')
    .option('--at <time>', 'judge the maintenance windows at this time instead of now', toInstant)
    .addHelpText(
      'after',
      '\nExample:\n  byoc policy explain policy.yaml restart-checkout.wpk.json --at 2026-12-24T18:00:00+01:00',
    )
    .action(async (file: string, wpkFile: string, { output, at }: FormatOptions & { at?: Date }) => {
      const [text, bytes] = [await readText(file), await readInput(wpkFile)];
      const loaded = await inFile(file, () => parsePolicy(text));
      const wpk = await inFile(wpkFile, () => parseWpk(bytes));
      const risk = riskOfNewPackage(wpk);
      const stepsDigest = digestOfSteps(sha256, wpk);
      const now = at ?? new Date();
      const decisions = explainPolicy(loaded, wpk, { now, stepsDigest, ...(risk && { plan: { risk } }) });
      const explained = { policyDigest: policyDigest(sha256, loaded), stepsDigest, at: now.toISOString(), risk };
      printAs(output, { ...explained, decisions }, () => explanationLines(wpk, stepsDigest, risk, decisions));
      if (loaded.allow.images && wpk.steps.some(({ action }) => action === 'patch')) {
        say('What images a patch puts together is judged when it is planned: byoc plan FILE --policy FILE.');
      }
      if (decisions.some(({ decision }) => decision === 'deny')) process.exitCode = 1;
    });
}

function explanationLines(
  wpk: Wpk,
  stepsDigest: Digest,
  risk: Risk | undefined,
  decisions: PolicyDecision[],
): string[] {
  const colours = { deny: 'red', wait: 'yellow', 'needs-approval': 'yellow' } as const;
  const rows = decisions.map(({ decision, subject, why, rule, place }) => [decision, subject, why, `${rule} ${place}`]);
  const [header = '', ...lines] = columns([['DECISION', 'SUBJECT', 'WHY', 'RULE'], ...rows]);
  const painted = lines.map((line, index) => {
    const { decision } = decisions[index] ?? {};
    return decision === 'deny' || decision === 'wait' || decision === 'needs-approval'
      ? paint(colours[decision], line)
      : line;
  });
  const { playbook } = wpk.metadata;
  return [
    paint('bold', header),
    ...painted,
    '',
    verdictOf(decisions),
    risk
      ? `Risk ${risk.level}, computed from the manifests as if none of the objects were there; the dry run may find another.`
      : 'The risk shows in the dry run only (byoc plan), so each level is listed.',
    ...(risk?.findings ?? []).map(({ level, message }) => printable(`  ${level}  ${message}`)),
    // What is denied is not approved by policy either.
    ...(decisions.some(({ decision }) => decision === 'deny') ? [] : autoApproveLines(playbook.id, stepsDigest)),
  ];
}

function autoApproveLines(playbook: string, stepsDigest: Digest): string[] {
  return [
    '',
    'To have exactly these steps approved by policy while their risk is low:',
    'autoApprove:',
    `  - playbook: ${playbook}`,
    `    stepsDigest: ${stepsDigest}`,
  ];
}

function verdictOf(decisions: readonly PolicyDecision[]): string {
  const said = new Set(decisions.map(({ decision }) => decision));
  if (said.has('deny')) return 'The policy denies it.';
  return said.has('wait') ? 'The policy allows it, but it may not begin at this time.' : 'The policy allows it.';
}

async function readText(file: string): Promise<string> {
  return new TextDecoder().decode(await readInput(file));
}
