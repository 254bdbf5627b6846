import { Option } from 'commander';
import type { Command } from 'commander';
import { describeStack } from '../../dev/describe-stack.ts';
import { devDown, devStatus, devUp, stateDirOf } from '../../dev/stack-command.ts';
import { paint, print, printAs, say } from './output.ts';
import type { FormatOptions } from './settings.ts';
import { withFormat } from './settings.ts';

interface StackChoice {
  readonly name?: string;
  readonly state?: string;
}

/** `byoc dev`: the real servers that the connector stands on, on this machine, with a connector that works on them. */
export function registerDev(program: Command): void {
  const dev = program.command('dev').description('the embedded stack: Temporal, Vault, S3 and Kubernetes on this machine');

  withChoice(dev.command('up'))
    .description('start the stack and a worker on it; what is missing is installed into the cache first')
    .option('--persist', 'keep the data for the next start')
    .addHelpText('after', '\nExample:\n  byoc dev up && byoc dev status')
    .action(async (choice: StackChoice & { persist?: boolean }) => {
      const interrupted = new AbortController();
      process.removeAllListeners('SIGINT').once('SIGINT', () => interrupted.abort());
      const { services, started } = await devUp({
        stateDir: stateDirOf(process.cwd(), choice),
        env: process.env,
        persist: choice.persist ?? false,
        signal: interrupted.signal,
        onProgress: (part, message) => say(`${part.padEnd(12)} ${message}`),
      });
      if (!started) say('The stack was up already.');
      print(describeStack(services).trimEnd());
    });

  withChoice(dev.command('down'))
    .description('stop the stack and everything that runs on it')
    .addHelpText('after', '\nExample:\n  byoc dev down')
    .action(async (choice: StackChoice) => {
      print((await devDown({ stateDir: stateDirOf(process.cwd(), choice) })) ? 'stopped' : 'no stack was running');
    });

  withFormat(withChoice(dev.command('status')))
    .description('whether the stack runs and each part answers; exit 3 where not')
    .addHelpText('after', '\nExample:\n  byoc dev status -o json')
    .action(async (options: StackChoice & FormatOptions) => {
      const status = await devStatus({ stateDir: stateDirOf(process.cwd(), options) });
      const { healthy = {} } = status;
      printAs(options.output, status, () => [
        `stack      ${status.state}`,
        ...Object.entries(healthy).map(([part, ok]) => `${part.padEnd(10)} ${ok ? paint('green', 'answers') : paint('red', 'does not answer')}`),
      ]);
      if (status.state !== 'up' || Object.values(healthy).includes(false)) process.exitCode = 3;
    });
}

function withChoice(command: Command): Command {
  return command
    .addOption(new Option('--name <name>', 'which stack, where several run side by side').default('dev'))
    .addOption(new Option('--state <dir>', 'its folder, instead of .byoc/NAME'));
}
