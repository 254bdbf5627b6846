import { z } from 'zod';
import type { VaultSettings } from '../activities/vault/vault.ts';
import { ConnectorError } from '../domain/errors.ts';
import { isEncryptedOrLocal } from '../domain/encrypted-or-local.ts';
import { refuseUnverified, tlsFilesOf } from '../domain/tls-settings.ts';
import { VAULT_LOGINS } from '../domain/vault-setup.ts';
import type { VaultRole } from '../domain/vault-setup.ts';
import { setting } from './settings/setting.ts';

const text = z.string().min(1).optional();

/** How a role is known there. */
const login = {
  VAULT_ROLE_ID: setting(text, {
    needed: 'with Vault',
    means: `AppRole login ([vault.md](vault.md)); this one and the three below each also with ${VAULT_LOGINS.map((role) => `\`${suffixOf(role)}\``).join(', ')} behind it, for one role`,
  }),
  VAULT_SECRET_ID: setting(text, { needed: 'with Vault, this one or the next', means: 'its secret_id' }),
  VAULT_SECRET_ID_FILE: setting(text, {
    needed: 'with Vault, this one or the one before',
    means: 'or the file that it is in',
  }),
  VAULT_SECRET_ID_WRAPPED_AT: setting(text, {
    means: 'path at which what the file or variable holds was wrapped',
    otherwise: 'it is the secret_id itself',
  }),
};

/** How Vault is reached, and who a role is there. */
export const VAULT_SETTINGS = {
  VAULT_ADDR: setting(z.url().refine(isEncryptedOrLocal, 'must be https, except on this machine').optional(), {
    needed: 'where there is no `COSIGN_KEY`',
    means: "Vault, where signing keys and approvers' keys are ([keys.md](keys.md))",
  }),
  VAULT_NAMESPACE: setting(text, { means: 'namespace of Vault' }),
  ...login,
  VAULT_TOKEN: setting(text, { means: 'instead of AppRole, for development' }),
};

/** The names of a login, and those with a role behind them. */
export const VAULT_LOGIN = Object.keys(login) as (keyof typeof login)[]; // the object's own keys
export const VAULT_LOGINS_OF_ROLES = VAULT_LOGINS.flatMap((role) => VAULT_LOGIN.map((name) => name + suffixOf(role)));

function suffixOf(role: VaultRole): string {
  return `_${role.toUpperCase()}`;
}

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
  const { data: address, error } = VAULT_SETTINGS.VAULT_ADDR.safeParse(env['VAULT_ADDR']);
  if (!address) throw new ConnectorError('CONFIG_INVALID', `VAULT_ADDR ${error?.issues[0]?.message}.`);
  const namespace = env['VAULT_NAMESPACE'];
  return {
    address,
    tls: tlsFilesOf(env, 'vault'),
    ...(namespace && { namespace }),
    auth: authOf(env, role),
  };
}

function authOf(env: Readonly<Record<string, string | undefined>>, role: VaultRole): VaultSettings['auth'] {
  const ofRole = suffixOf(role);
  const suffix = VAULT_LOGIN.some((name) => env[name + ofRole]) ? ofRole : '';
  const given = (name: keyof typeof login) => env[name + suffix];
  const [roleId, value] = [given('VAULT_ROLE_ID'), given('VAULT_SECRET_ID')];
  const [file, wrappedAt] = [given('VAULT_SECRET_ID_FILE'), given('VAULT_SECRET_ID_WRAPPED_AT')];
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
