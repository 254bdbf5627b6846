import type { VaultService } from '../../dev/servers/openbao.ts';
import { callVault } from './vault.ts';

export interface AppRole {
  readonly roleId: string;
  readonly secretId: string;
}

export interface AppRoleOptions {
  readonly ttlSeconds?: number;
  readonly maxTtlSeconds?: number;
  /** What it may do, in HCL; everything below `secret/` where it is left out. */
  readonly policy?: string;
}

const READS_ALL = 'path "secret/*" { capabilities = ["read", "list"] }';

/** Makes an AppRole of a test's own. */
export async function makeAppRole(vault: VaultService, name: string, options: AppRoleOptions = {}): Promise<AppRole> {
  const { ttlSeconds = 60, maxTtlSeconds = 600, policy = READS_ALL } = options;
  await callVault(vault, 'POST', `sys/policies/acl/${name}`, { policy });
  await callVault(vault, 'POST', `auth/approle/role/${name}`, {
    token_policies: [name],
    token_ttl: ttlSeconds,
    token_max_ttl: maxTtlSeconds,
  });
  return loginOf(vault, name);
}

/** The role_id of an AppRole, and a new secret_id. */
export async function loginOf(vault: VaultService, name: string): Promise<AppRole> {
  const role = `auth/approle/role/${name}`;
  const { data: id } = (await callVault(vault, 'GET', `${role}/role-id`)) as { data: { role_id: string } };
  const { data: secret } = (await callVault(vault, 'POST', `${role}/secret-id`, {})) as { data: { secret_id: string } };
  return { roleId: id.role_id, secretId: secret.secret_id };
}
