import type { Vault } from '../activities/vault/vault.ts';
import type { Finding } from '../domain/health.ts';
import type { AuditTrail } from './audit-trail.ts';

/** Looks at parts that are used too rarely for whoever uses them to say how they are. */

/** Vault is needed when a package comes and when a token runs out; people want to know before that it is away. */
export async function lookAtVault(vault: Pick<Vault, 'check'>): Promise<Finding> {
  await vault.check();
  return { state: 'ok' };
}

/** A full disk is found out when something is to be executed; it can be told before. */
export async function lookAtDisk(audit: Pick<AuditTrail, 'hasRoom'>): Promise<Finding> {
  return (await audit.hasRoom()) ? { state: 'ok' } : { state: 'down', sentence: FULL };
}

const FULL = 'The disk has no room for what a package would have to record, so nothing is executed.';
