import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { ConnectorError } from '../../domain/errors.ts';
import { connectorFolder, privateKeyFile } from '../../dev/connector.ts';
import { describeStack, exportLines, STATE_VARIABLE } from '../../dev/describe-stack.ts';
import { devDown, devStatus, devUp, stateDirOf } from '../../dev/stack-command.ts';
import { checkWpk } from '../../domain/parse-wpk.ts';
import { printable } from '../../domain/printable.ts';
import { signWpk } from '../sign.ts';
import { problemLine } from './check.ts';
import { bundleBeside, readInput } from './files.ts';
import { BYOC, paint, print, printAs, say } from './output.ts';
import type { FormatOptions } from './settings.ts';
import { withFormat } from './settings.ts';

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
    .option('--no-worker', 'the stack alone, for a worker that you start yourself')
    .addHelpText('after', '\nExample:\n  byoc dev up && byoc dev status')
    .action(async (choice: StackChoice & { persist?: boolean; worker: boolean }) => {
      const interrupted = new AbortController();
      process.removeAllListeners('SIGINT').once('SIGINT', () => interrupted.abort());
      const { services, started } = await devUp({
        stateDir: folderOf(choice),
        env: process.env,
        persist: choice.persist ?? false,
        connector: choice.worker,
        signal: interrupted.signal,
        onProgress: (part, message) => say(`${part.padEnd(12)} ${message}`),
      });
      if (!started) say('The stack was up already.');
      describeStack(services).forEach((line) => print(line));
    });

  withChoice(dev.command('down'))
    .description('stop the stack and everything that runs on it')
    .addHelpText('after', '\nExample:\n  byoc dev down')
    .action(async (choice: StackChoice) => {
      print((await devDown({ stateDir: folderOf(choice) })) ? 'stopped' : 'no stack was running');
    });

  withChoice(dev.command('env'))
    .description('settings for a shell, with which every command finds the stack')
    .addHelpText('after', '\nExample:\n  eval "$(byoc dev env)"')
    .action(async (choice: StackChoice) => {
      const { services, stateDir } = await devStatus({ stateDir: folderOf(choice) });
      if (!services) throw new ConnectorError('PART_UNAVAILABLE', `No stack is up in ${stateDir}. Try: ${BYOC} dev up`);
      exportLines(services, stateDir).forEach((line) => print(line));
    });

  signCommand(dev);

  withFormat(withChoice(dev.command('status')))
    .description('whether the stack runs and each part answers; exit 3 where not')
    .addHelpText('after', '\nExample:\n  byoc dev status -o json')
    .action(async (options: StackChoice & FormatOptions) => {
      const status = await devStatus({ stateDir: folderOf(options) });
      const { healthy = {} } = status;
      printAs(options.output, status, () => [
        `stack      ${status.state}`,
        ...Object.entries(healthy).map(
          ([part, ok]) => `${part.padEnd(10)} ${ok ? paint('green', 'answers') : paint('red', 'does not answer')}`,
        ),
      ]);
      if (status.state !== 'up' || Object.values(healthy).includes(false)) process.exitCode = 3;
    });
}

/** For development alone: the key lies on this disk. */
function signCommand(dev: Command): void {
  withChoice(dev.command('sign'))
    .description("sign a package with the stack's development key; in earnest: cosign sign-blob --bundle")
    .argument('<file>', 'the package; the signature is written beside it as NAME.wpk.sigstore.json')
    .addHelpText('after', '\nExample:\n  byoc dev sign app.wpk.json')
    .action(async (file: string, choice: StackChoice) => {
      const key = privateKeyFile(connectorFolder(folderOf(choice)));
      const bytes = await readInput(file);
      const { problems } = checkWpk(bytes);
      problems.forEach((one) => say(printable(problemLine(file, one))));
      if (problems.length > 0) say('It is signed all the same, and every cluster will refuse it.');
      const bundle = signWpk(bytes, Buffer.from(await readInput(key)).toString('utf8'));
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
