import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { developmentKey } from '../../activities/sigstore/development-keys.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { connectorFolder, privateKeyFile } from '../../dev/connector.ts';
import { describeSimulated, describeStack, exportLines, simulatedExportLines } from '../../dev/describe-stack.ts';
import { STATE_VARIABLE } from '../../dev/environment.ts';
import { devSettings } from '../../dev/settings.ts';
import { devDown, devStatus, devUp, devUpSimulated, stateDirOf } from '../../dev/stack-command.ts';
import { checkWpk } from '../../domain/parse-wpk.ts';
import { printable } from '../../domain/printable.ts';
import { isSimulated } from '../../domain/simulation.ts';
import { signWpk } from '../sign.ts';
import { problemLine } from './check.ts';
import { bundleBeside, readInput } from './files.ts';
import { BYOC, markSimulated, paint, print, printAs, say } from './output.ts';
import type { FormatOptions } from './settings.ts';
import { tellUnknownSettings, withFormat } from './settings.ts';

export interface StackChoice {
  readonly name?: string;
  readonly state?: string;
}

/** `byoc dev`: the real servers that the connector stands on, on this machine, with a connector that works on them. */
export function registerDev(program: Command): void {
  const dev = program
    .command('dev')
    .description('the embedded stack: Temporal, Vault, S3 and Kubernetes on this machine');

  withChoice(dev.command('up'))
    .description('start the stack and a worker on it; what is missing is installed into the cache first')
    .option('--persist', 'keep the data for the next start')
    .option('--simulate', 'only Temporal is real: the cluster, keys and metrics are made up, and everything says so')
    .option('--no-worker', 'the stack alone, for a worker that you start yourself')
    .addHelpText(
      'after',
      '\nExample:\n  byoc dev up && byoc dev status\n  BYOC_PAYLOAD_CODEC=vault byoc dev up   # its worker encrypts what it tells Temporal',
    )
    .action(async (choice: UpChoice) => {
      const interrupted = new AbortController();
      await tellUnknownSettings();
      process.removeAllListeners('SIGINT').once('SIGINT', () => interrupted.abort());
      try {
        await up(choice, interrupted.signal);
      } catch (error) {
        if (!interrupted.signal.aborted) throw error;
        say('Interrupted; everything that was started is stopped.');
        process.exitCode = 130;
      }
    });

  withChoice(dev.command('down'))
    .description('stop the stack and everything that runs on it')
    .addHelpText('after', '\nExample:\n  byoc dev down')
    .action(async (choice: StackChoice) => {
      const stateDir = folderOf(choice);
      print((await devDown({ stateDir })) ? 'stopped' : 'no stack was running');
      const told = process.env[STATE_VARIABLE];
      if (told !== undefined && resolve(told) === stateDir)
        say('What `dev env` has set in this shell leads nowhere now. Use another shell, or dev up and dev env again.');
    });

  withChoice(dev.command('env'))
    .description('settings for a shell, with which every command finds the stack')
    .addHelpText('after', '\nExample:\n  eval "$(byoc dev env)"')
    .action(async (choice: StackChoice) => {
      const { services, simulation, stateDir, payloadCodec = 'off' } = await devStatus({ stateDir: folderOf(choice) });
      markSimulated(simulation !== undefined);
      if (simulation) return simulatedExportLines(simulation, stateDir).forEach((line) => print(line));
      if (!services) throw new ConnectorError('PART_UNAVAILABLE', `No stack is up in ${stateDir}. Try: ${BYOC} dev up`);
      const lines = await exportLines(services, { stateDir, payloadCodec, settings: devSettings(process.env) });
      lines.forEach((line) => print(line));
    });

  signCommand(dev);

  withFormat(withChoice(dev.command('status')))
    .description('whether the stack runs and each part answers; exit 3 where not')
    .addHelpText('after', '\nExample:\n  byoc dev status -o json')
    .action(async (options: StackChoice & FormatOptions) => {
      const status = await devStatus({ stateDir: folderOf(options) });
      const { healthy = {} } = status;
      markSimulated(status.simulation !== undefined);
      printAs(options.output, status, () => [
        `stack      ${status.state}`,
        ...Object.entries(healthy).map(
          ([part, ok]) => `${part.padEnd(10)} ${ok ? paint('green', 'answers') : paint('red', 'does not answer')}`,
        ),
      ]);
      if (status.state !== 'up' || Object.values(healthy).includes(false)) process.exitCode = 3;
    });
}

interface UpChoice extends StackChoice {
  readonly persist?: boolean;
  readonly simulate?: boolean;
  readonly worker: boolean;
}

async function up(choice: UpChoice, signal: AbortSignal): Promise<void> {
  const common = {
    stateDir: folderOf(choice),
    env: process.env,
    signal,
    onProgress: (part: string, message: string) => say(`${part.padEnd(12)} ${message}`),
  };
  if (choice.simulate) {
    if (choice.persist || !choice.worker)
      throw new ConnectorError('USAGE', '--simulate goes without --persist and --no-worker: it is all in the worker.');
    const { simulation, started } = await devUpSimulated(common);
    if (!started) say('The stack was up already.');
    return describeSimulated(simulation).forEach((line) => print(line));
  }
  const { services, started } = await devUp({
    ...common,
    persist: choice.persist ?? false,
    connector: choice.worker,
  });
  if (!started) say('The stack was up already.');
  describeStack(services).forEach((line) => print(line));
}

/** For development alone: the key lies on this disk. */
function signCommand(dev: Command): void {
  withChoice(dev.command('sign'))
    .description("sign a package with the stack's development key; in earnest: cosign sign-blob --bundle")
    .argument('<file>', 'the package; the signature is written beside it as NAME.wpk.sigstore.json')
    .addHelpText('after', '\nExample:\n  byoc dev sign app.wpk.json')
    .action(async (file: string, choice: StackChoice) => {
      const bytes = await readInput(file);
      const { wpk, problems } = checkWpk(bytes);
      const simulated = isSimulated(wpk?.target.clusterId ?? '');
      markSimulated(simulated);
      const key = privateKeyFile(connectorFolder(folderOf(choice)));
      problems.forEach((one) => say(printable(problemLine(file, one))));
      if (problems.length > 0) say('It is signed all the same, and every cluster will refuse it.');
      const privateKey = simulated
        ? developmentKey('packages').privateKeyPem
        : Buffer.from(await readInput(key)).toString('utf8');
      const bundle = signWpk(bytes, privateKey);
      const signature = bundleBeside(file);
      await writeFile(signature, `${JSON.stringify(bundle)}\n`);
      print(signature);
    });
}

/** Which of the embedded stacks is meant. */
export function withChoice(command: Command): Command {
  return command
    .option('--name <name>', 'which stack of this folder, where several run side by side (default: "dev")')
    .option('--state <dir>', 'its folder, instead of BYOC_DEV_STATE, which `byoc dev env` sets, or .byoc/NAME');
}

/** What is typed counts before what a shell has been told. */
export function folderOf(choice: StackChoice): string {
  const told = process.env[STATE_VARIABLE];
  return stateDirOf(process.cwd(), told && choice.name === undefined ? { state: told, ...choice } : choice);
}
