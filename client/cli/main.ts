#!/usr/bin/env node
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { VERSION } from '../../domain/names.ts';
import { BYOC, reportError } from './output.ts';

// Most of the time until a cluster is frozen goes into compiling; in this folder only this user can put anything.
enableCompileCache(join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'byoc'));

const program = new Command('byoc')
  .description('Signed work packages for your own cluster: pack, check, submit, approve, stop, audit.')
  .version(VERSION)
  .exitOverride()
  .addHelpText(
    'after',
    '\nExit codes: 0 done · 1 the answer is no · 2 usage · 3 cannot reach what it needs · 130 interrupted' +
      '\nTemporal is found as every Temporal client finds it: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS_…',
  );

(await import('./stop.ts')).registerStop(program);
// Loading the others takes as long as stopping a cluster may.
const isEmergency = process.argv[2] === 'stop' || process.argv[2] === 'resume';
if (!isEmergency) (await import('./commands.ts')).registerCommands(program);

let current = program;
program.hook('preAction', (_, command) => void (current = command));
withHelpAfterError(program);

process.once('SIGINT', () => process.exit(130));
// A reader that went away (`byoc list | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

// Nothing is left to wait for, and the command has not ended: a bug, which must not look like anything else.
const neverEnds = () => process.exit(reportError(new Error('The command waits for something that never comes.')));
process.once('beforeExit', neverEnds);
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else process.exitCode = reportError(error, helpOf(current));
} finally {
  process.off('beforeExit', neverEnds);
}

function withHelpAfterError(command: Command): void {
  command.showHelpAfterError(helpOf(command));
  command.commands.forEach(withHelpAfterError);
}

function helpOf(command: Command): string {
  const names: string[] = [];
  for (let one: Command | null = command; one?.parent; one = one.parent) names.unshift(one.name());
  return `See: ${[BYOC, ...names].join(' ')} --help`;
}
