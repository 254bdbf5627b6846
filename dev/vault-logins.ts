import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { z } from 'zod';

import { applyVaultSetup } from '../activities/vault/setup.ts';
import type { VaultRole } from '../domain/vault-setup.ts';
import { VAULT_LOGINS, vaultNameOf, vaultSetup } from '../domain/vault-setup.ts';
import { get, post } from './servers/https.ts';
import type { VaultService } from './servers/openbao.ts';

/**
 * The logins of a connector: what `byoc vault setup` makes, and then what a customer does by hand, a secret_id for each
 * role, in a file that only its pod can read.
 */
export async function makeVaultLogins(vault: VaultService, clusterId: string, folder: string): Promise<void> {
  await applyVaultSetup(vault, vaultSetup(clusterId));
  const ca = await readFile(vault.caFile, 'utf8');
  const options = { ca, token: vault.token };
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const role of VAULT_LOGINS) {
    const path = `${vault.address}/v1/auth/approle/role/${vaultNameOf(clusterId, role)}`;
    const roleId = roleIdSchema.parse(JSON.parse((await get(`${path}/role-id`, options)).text));
    const secretId = secretIdSchema.parse(JSON.parse((await post(`${path}/secret-id`, {}, options)).text));
    const files = filesOf(folder, role);
    await writeFile(files.roleId, roleId.data.role_id);
    await writeFile(files.secretId, secretId.data.secret_id, { mode: 0o600 });
  }
}

/** The settings by which each role of a worker finds its login. */
export async function vaultLoginSettings(vault: VaultService, folder: string): Promise<Record<string, string>> {
  const logins = await Promise.all(
    VAULT_LOGINS.map(async (role) => {
      const files = filesOf(folder, role);
      return [
        [`VAULT_ROLE_ID_${role.toUpperCase()}`, await readFile(files.roleId, 'utf8')],
        [`VAULT_SECRET_ID_FILE_${role.toUpperCase()}`, files.secretId],
      ];
    }),
  );
  return { VAULT_ADDR: vault.address, VAULT_CACERT: vault.caFile, ...Object.fromEntries(logins.flat()) };
}

const roleIdSchema = z.object({ data: z.object({ role_id: z.string() }) });
const secretIdSchema = z.object({ data: z.object({ secret_id: z.string() }) });

function filesOf(folder: string, role: VaultRole) {
  return { roleId: join(folder, `${role}.role-id`), secretId: join(folder, `${role}.secret-id`) };
}
