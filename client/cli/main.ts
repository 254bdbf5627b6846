#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { VERSION } from '../../domain/names.ts';
import { registerAudit } from './audit.ts';
import { registerCheck } from './check.ts';
import { registerDev } from './dev.ts';
import { reportError } from './output.ts';
import { registerPack } from './pack.ts';
import { registerPackages } from './packages.ts';
import { registerPlan } from './plan.ts';
import { registerRedact } from './redact.ts';
import { registerRisk } from './risk.ts';
import { registerPolicy } from './policy.ts';
import { registerVerify } from './verify.ts';
import { registerVotes } from './votes.ts';

const program = new Command('byoc')
  .description('Signed work packages for your own cluster: pack, check, submit, approve, stop, audit.')
  .version(VERSION)
  .showHelpAfterError('(see --help)')
  .exitOverride()
  .addHelpText(
    'after',
    '\nExit codes: 0 done · 1 the answer is no · 2 usage · 3 cannot reach what it needs · 130 interrupted' +
      '\nTemporal is found as every Temporal client finds it: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS_…',
  );

registerDev(program);
registerPack(program);
registerCheck(program);
registerVerify(program);
registerPlan(program);
registerRisk(program);
registerPolicy(program);
registerPackages(program);
registerVotes(program);
registerAudit(program);
registerRedact(program);

process.once('SIGINT', () => process.exit(130));
// A reader that went away (`byoc list | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else process.exitCode = reportError(error);
}
