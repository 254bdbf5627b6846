import type { Role } from '../../domain/names.ts';
import { ROLES } from '../../domain/vault-setup.ts';

/** What says which roles a process has. */
export interface RoleSettings {
  readonly BYOC_ROLES?: readonly Role[] | undefined;
  readonly CONTROL_PLANE_URL?: string | undefined;
  readonly PROM_URL?: string | undefined;
  readonly INSIGHT_URL?: string | undefined;
  readonly SIMULATION?: string | undefined;
}

export function parseRoles(text: string, { addIssue }: { addIssue(message: string): void }): readonly Role[] {
  const given = text.split(',').map((one) => one.trim());
  const unknown = given.filter((one) => !ROLES.some((role) => role === one));
  if (unknown.length > 0) addIssue(`holds ${JSON.stringify(unknown[0])}; the roles are ${ROLES.join(', ')}`);
  return ROLES.filter((role) => given.includes(role));
}

/** In development one process does all that there are settings for. */
export function rolesOf({ BYOC_ROLES, CONTROL_PLANE_URL, ...settings }: RoleSettings): readonly Role[] {
  if (BYOC_ROLES) return BYOC_ROLES;
  // In simulation metrics need no source.
  const metrics = settings.SIMULATION === 'true' ? settings.INSIGHT_URL : settings.PROM_URL;
  const isSet = { registration: CONTROL_PLANE_URL !== undefined, metrics: metrics !== undefined, execution: true };
  return ROLES.filter((role) => isSet[role]);
}
