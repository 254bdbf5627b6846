import type { ControlPlaneSettings } from '../config.ts';
import { createControlPlaneLink } from '../control-plane-link.ts';
import type { Foundation } from '../foundation.ts';
import { registeredSearchAttributes } from '../temporal.ts';
import type { VaultSettings } from '../../activities/vault/vault.ts';
import type { FreezeState } from '../../domain/freeze.ts';
import type { RoleRun } from './role.ts';

export interface RegistrationOptions {
  readonly controlPlane: ControlPlaneSettings;
  readonly vault: VaultSettings | undefined;
  /** The emergency stop, where another role of this process knows of it. */
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
    settings: controlPlane,
    clusterId: config.clusterId,
    writer: config.writer,
    roles: config.roles,
    identity: foundation.identityOf('registration', vault),
    searchAttributes: await registeredSearchAttributes(temporal),
    ...(freeze && { freeze }),
  });
}
