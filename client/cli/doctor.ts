import { parseEnv } from 'node:util';
import { Option } from 'commander';
import type { Command } from 'commander';
import { connectorFolder, existingConnector } from '../../dev/connector.ts';
import { STATE_VARIABLE } from '../../dev/environment.ts';
import { simulatedConnector } from '../../dev/simulated-stack.ts';
import { devStatus } from '../../dev/stack-command.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { printable } from '../../domain/printable.ts';
import type { Role } from '../../domain/names.ts';
import { VERSION } from '../../domain/names.ts';
import { ROLES } from '../../domain/vault-setup.ts';
import type { Finding, Summary } from '../../worker/doctor/check.ts';
import { exitCodeOf, summaryOf } from '../../worker/doctor/check.ts';
import { readInput } from './files.ts';
import { BYOC, markSimulated, paint, printAs, say, wrapped } from './output.ts';
import { folderOf, withChoice } from './dev.ts';
import type { StackChoice } from './dev.ts';
import type { FormatOptions } from './settings.ts';
import { withFormat } from './settings.ts';

type DoctorOptions = FormatOptions &
  StackChoice & {
    readonly envFile?: string;
    readonly dev?: true;
    readonly worker: boolean;
    readonly role?: readonly Role[];
  };

/** `byoc doctor`: every setting and every external part, one line each, with what to do. */
export function registerDoctor(program: Command): void {
  withChoice(withFormat(program.command('doctor')))
    .description('check every setting and every external part as the worker meets them, one line each, with what to do')
    .option('--env-file <file>', 'settings from a file of NAME=value lines (- for stdin), instead of the environment')
    .option('--dev', 'the worker of the embedded stack, with its settings')
    .addOption(
      new Option('--role <role...>', 'what the worker does, instead of BYOC_ROLES, as its own --role says').choices(
        ROLES,
      ),
    )
    .option('--no-worker', 'before the first start: leave out what a worker makes itself, such as its schedules')
    .addHelpText(
      'after',
      '\nExamples:\n  kubectl exec -n byoc ds/byoc-connector-execution -- byoc doctor --role execution\n  byoc doctor --dev -o json' +
        '\n\nExit codes: 0 all well (warnings are) · 1 something is wrong · 2 usage · 3 nothing is wrong, and something cannot be reached' +
        '\nNothing is changed, and no secret is printed. What each line means: docs/doctor.md',
    )
    .action(async (options: DoctorOptions) => {
      const { role } = options;
      const env: NodeJS.ProcessEnv = { ...(await settingsOf(options)), ...(role && { BYOC_ROLES: role.join(',') }) };
      useSettings(env);
      const startedAt = new Date();
      // Loaded here: it brings all that a worker knows, and other commands do not wait for it.
      const { examine } = await import('../../worker/doctor/doctor.ts');
      const { clusterId, simulated, findings } = await examine({
        env,
        nodeVersion: process.versions.node,
        expectsWorker: options.worker,
        now: () => new Date(),
      });
      markSimulated(simulated);
      const summary = summaryOf(findings);
      const about = { clusterId, version: VERSION, at: startedAt.toISOString() };
      printAs(options.output, { ...about, summary, findings }, () =>
        findingLines(findings, process.stdout.isTTY ? process.stdout.columns : undefined),
      );
      say(summaryLine(summary, Date.now() - startedAt.getTime()));
      const looksElsewhere = !options.dev && options.envFile === undefined && process.env[STATE_VARIABLE] !== undefined;
      if (summary.wrong > 0 && looksElsewhere)
        say(`This shell is set to use the embedded stack, whose worker has settings of its own: ${BYOC} doctor --dev`);
      process.exitCode = exitCodeOf(summary);
    });
}

async function settingsOf(options: DoctorOptions): Promise<NodeJS.ProcessEnv> {
  const { envFile, dev } = options;
  if (envFile !== undefined && dev) throw new ConnectorError('USAGE', 'Of --env-file and --dev only one may be given.');
  // Programs are found, and Kubernetes is, by what the shell has; settings come from the file alone.
  if (envFile !== undefined) return { ...parseEnv(Buffer.from(await readInput(envFile)).toString('utf8')) };
  if (!dev) return { ...process.env };
  const { services, simulation, stateDir } = await devStatus({ stateDir: folderOf(options) });
  if (simulation) return simulatedConnector(simulation, stateDir).env;
  if (!services) throw new ConnectorError('PART_UNAVAILABLE', `No stack is up in ${stateDir}. Try: ${BYOC} dev up`);
  const { controlPlane } = services;
  return (await existingConnector({ services, controlPlane, folder: connectorFolder(stateDir), keep: true })).env;
}

/** What a process needs whatever its settings are. */
const KEPT = /^(PATH|HOME|TMPDIR|LANG|TERM|NO_COLOR|FORCE_COLOR|NODE_.*|npm_.*|BYOC_DEBUG)$/;

/**
 * The libraries of S3, Kubernetes and Temporal read the environment themselves: it becomes that of the worker. Certificates
 * are verified all the same; whoever turned that off is told so.
 */
function useSettings(env: NodeJS.ProcessEnv): void {
  const kept = Object.entries(process.env).filter(([name]) => KEPT.test(name));
  process.env = { ...Object.fromEntries(kept), ...env };
  delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
}

const WORDS = { ok: 'ok', warning: 'warning', wrong: 'wrong', unreachable: 'unreachable', skipped: 'skipped' } as const;
const COLOURS = { ok: 'green', warning: 'yellow', wrong: 'red', unreachable: 'red', skipped: 'dim' } as const;

const STATUS_WIDTH = 11;
/** Narrower than this a column is harder to read than what the terminal makes of a long line. */
const MIN_TEXT_WIDTH = 24;

/** @param terminal how many characters its lines have; left out where none is, for a program wants one line each */
export function findingLines(findings: readonly Finding[], terminal = Infinity): string[] {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const indent = STATUS_WIDTH + width + 4;
  const left = terminal - indent;
  const room = left < MIN_TEXT_WIDTH ? Infinity : left;
  return findings.map(({ check, status, says, todo }) => {
    const word = paint(COLOURS[status], WORDS[status].padEnd(STATUS_WIDTH));
    const facts = printable(says);
    const advice = todo ? `→ ${todo}` : '';
    const fits = facts.length + 1 + advice.length <= room;
    const text = fits
      ? [`${facts}${advice && ` ${paint('bold', advice)}`}`]
      : [...wrapped(facts, room), ...(advice ? wrapped(advice, room).map((line) => paint('bold', line)) : [])];
    return `${word}  ${check.padEnd(width)}  ${text.join(`\n${' '.repeat(indent)}`)}`;
  });
}

function summaryLine({ ok, warning, wrong, unreachable, skipped }: Summary, ms: number): string {
  const counts = [
    `${ok} ok`,
    ...(warning ? [`${warning} warning${warning > 1 ? 's' : ''}`] : []),
    ...(wrong ? [`${wrong} wrong`] : []),
    ...(unreachable ? [`${unreachable} unreachable`] : []),
    ...(skipped ? [`${skipped} skipped`] : []),
  ];
  return `${counts.join(', ')} (${(ms / 1_000).toFixed(1)} s)`;
}
