import { z } from 'zod';
import type { VaultSettings } from '../activities/vault/vault.ts';
import { ConnectorError } from '../domain/errors.ts';
import { isEncryptedOrLocal } from '../domain/encrypted-or-local.ts';
import { refuseUnverified, tlsFilesOf } from '../domain/tls-settings.ts';
import type { VaultRole } from '../domain/vault-setup.ts';

/** How to reach Vault, for every role. */
const addressSchema = z.object({
  VAULT_ADDR: z.url().refine(isEncryptedOrLocal, 'must be https, except on this machine'),
  VAULT_NAMESPACE: z.string().optional(),
});

export const VAULT_SETTINGS = Object.keys(addressSchema.shape);

/** Who a role is there. */
export const VAULT_LOGIN = [
  'VAULT_ROLE_ID',
  'VAULT_SECRET_ID',
  'VAULT_SECRET_ID_FILE',
  'VAULT_SECRET_ID_WRAPPED_AT',
] as const;

/**
 * The settings of Vault for a role. Where a process has several, each has a login of its own: `VAULT_ROLE_ID_METRICS` with
 * `VAULT_SECRET_ID_FILE_METRICS` and so on come before those without the role's name.
 * @returns undefined where no VAULT_ADDR is set
 * @throws {ConnectorError} CONFIG_INVALID
 */
export function readVaultSettings(
  env: Readonly<Record<string, string | undefined>>,
  role: VaultRole,
): VaultSettings | undefined {
  refuseUnverified(env);
  if (!env['VAULT_ADDR']) return undefined;
  const parsed = addressSchema.safeParse(env);
  if (!parsed.success) {
    throw new ConnectorError('CONFIG_INVALID', `VAULT_ADDR ${parsed.error.issues[0]?.message}.`);
  }
  const { VAULT_ADDR: address, VAULT_NAMESPACE: namespace } = parsed.data;
  return {
    address,
    tls: tlsFilesOf(env, 'vault'),
    ...(namespace && { namespace }),
    auth: authOf(env, role),
  };
}

function authOf(env: Readonly<Record<string, string | undefined>>, role: VaultRole): VaultSettings['auth'] {
  const ofRole = `_${role.toUpperCase()}`;
  const suffix = VAULT_LOGIN.some((name) => env[name + ofRole]) ? ofRole : '';
  const [roleId, value, file, wrappedAt] = VAULT_LOGIN.map((name) => env[name + suffix]);
  if (roleId && value && file) {
    throw new ConnectorError('CONFIG_INVALID', `Of VAULT_SECRET_ID${suffix} and its _FILE only one may be set.`);
  }
  const secretId = value ? { value } : file ? { file } : undefined;
  if (roleId && secretId) return { method: 'approle', roleId, secretId, ...(wrappedAt && { wrappedAt }) };
  if (suffix === '' && env['VAULT_TOKEN']) return { method: 'token', token: env['VAULT_TOKEN'] };
  throw new ConnectorError(
    'CONFIG_INVALID',
    `VAULT_ADDR is set; VAULT_ROLE_ID${suffix} with VAULT_SECRET_ID${suffix} or VAULT_SECRET_ID_FILE${suffix}, or VAULT_TOKEN, must be too.`,
  );
}
