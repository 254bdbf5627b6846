import type { Command } from 'commander';
import { registerAudit } from './audit.ts';
import { registerCheck } from './check.ts';
import { registerCodecServer } from './codec-server.ts';
import { registerDev } from './dev.ts';
import { registerDoctor } from './doctor.ts';
import { registerPack } from './pack.ts';
import { registerPackages } from './packages.ts';
import { registerPlan } from './plan.ts';
import { registerPolicy } from './policy.ts';
import { registerRedact } from './redact.ts';
import { registerRisk } from './risk.ts';
import { registerRollback } from './rollback.ts';
import { registerVault } from './vault.ts';
import { registerVerify } from './verify.ts';
import { registerVotes } from './votes.ts';

/** All commands but the emergency stop, which does not wait until these are loaded. */
export function registerCommands(program: Command): void {
  registerDev(program);
  registerPack(program);
  registerCheck(program);
  registerVerify(program);
  registerPlan(program);
  registerRisk(program);
  registerPolicy(program);
  registerPackages(program);
  registerVotes(program);
  registerVault(program);
  registerRollback(program);
  registerAudit(program);
  registerRedact(program);
  registerDoctor(program);
  registerCodecServer(program);
}
