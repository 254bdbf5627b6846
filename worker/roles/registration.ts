import { createStateRecords } from '../../activities/kubernetes/writer.ts';
import type { HeartbeatDeps } from '../../activities/control-plane/heartbeat.ts';
import type { VaultSettings } from '../../activities/vault/vault.ts';
import { freezeNameOf, readFreeze } from '../../domain/freeze.ts';
import type { FreezeState } from '../../domain/freeze.ts';
import type { Role } from '../../domain/names.ts';
import { ROLES } from '../../domain/vault-setup.ts';
import type { ControlPlaneSettings } from '../config.ts';
import { createControlPlaneLink } from '../control-plane-link.ts';
import type { Foundation } from '../foundation.ts';
import { registeredSearchAttributes } from '../temporal.ts';
import { scheduledWorkflows } from '../workflows.ts';
import type { RoleRun } from './role.ts';

export interface RegistrationOptions {
  readonly controlPlane: ControlPlaneSettings;
  readonly vault: VaultSettings | undefined;
  /** The emergency stop, where another role of this process follows it. */
  readonly freeze: (() => FreezeState) | undefined;
}

/** Tells the control plane who the cluster is, that it lives, and what somebody there should know of. */
export async function startRegistration(
  foundation: Foundation,
  { controlPlane, vault, freeze }: RegistrationOptions,
): Promise<RoleRun> {
  const { config, temporal } = foundation;
  return createControlPlaneLink({
    ...foundation,
    ...temporal,
    ...(await scheduledWorkflows(config, 'registration')),
    settings: controlPlane,
    clusterId: config.clusterId,
    writer: config.writer,
    roles: () => rolesOf(foundation),
    identity: foundation.identityOf('registration', vault),
    searchAttributes: await registeredSearchAttributes(temporal),
    freeze: freeze ? () => Promise.resolve(freeze()) : freezeReader(foundation),
  });
}

/** Nothing here is stopped by the freeze: it is read when it is told of, rather than followed. */
function freezeReader({ config, api }: Foundation): HeartbeatDeps['freeze'] {
  const records = createStateRecords(api, config.stateNamespace);
  let since: string | undefined;
  return async () => {
    try {
      // An object that is missing counts as frozen, as it does for who writes.
      const { isFrozen } = readFreeze((await records.read(freezeNameOf(config.clusterId))) ?? {});
      since = isFrozen ? (since ?? new Date().toISOString()) : undefined;
      return since === undefined ? { state: 'open' } : { state: 'frozen', since };
    } catch {
      return { state: 'unknown' };
    }
  };
}

/** A process says that it is there every 30 s. */
const THERE_WITHIN_MS = 120_000;

/** The roles of all processes of the cluster, as their Leases say; those of this one where the others cannot be asked. */
async function rolesOf({ config, audit }: Foundation): Promise<readonly Role[]> {
  const leases = await audit.leases.list(config.clusterId).catch(() => []);
  const there = leases.filter(({ renewedAt }) => Date.now() - renewedAt.getTime() < THERE_WITHIN_MS);
  const running = new Set<string>([...config.roles, ...there.flatMap(({ roles }) => roles)]);
  return ROLES.filter((role) => running.has(role));
}
