import { describe, expect, it } from '@jest/globals';
import { readVaultSettings } from '../../worker/vault-settings.ts';
import { errorOf } from '../support/expect-code.ts';

// R11, R16, R23

const VAULT_ADDR = 'https://vault.example.com:8200';

describe("a worker's settings of Vault", () => {
  it('are none without an address', () => {
    expect(readVaultSettings({ VAULT_ROLE_ID: 'a' }, 'execution')).toBeUndefined();
  });

  it('take the secret_id from the environment or a file, and say where a wrapping token must come from', () => {
    const common = { VAULT_ADDR, VAULT_ROLE_ID: 'a', VAULT_CACERT: '/ca.pem', VAULT_NAMESPACE: 'team' };
    expect(readVaultSettings({ ...common, VAULT_SECRET_ID: 'b' }, 'execution')).toEqual({
      address: VAULT_ADDR,
      tls: { ca: '/ca.pem' },
      namespace: 'team',
      auth: { method: 'approle', roleId: 'a', secretId: { value: 'b' } },
    });
    const wrapped = { VAULT_SECRET_ID_FILE: '/secret-id', VAULT_SECRET_ID_WRAPPED_AT: 'auth/approle/role/x/secret-id' };
    expect(readVaultSettings({ ...common, ...wrapped }, 'execution')?.auth).toEqual({
      method: 'approle',
      roleId: 'a',
      secretId: { file: '/secret-id' },
      wrappedAt: 'auth/approle/role/x/secret-id',
    });
  });

  it('are those of the role where it has some of its own, and none of another', () => {
    const env = {
      VAULT_ADDR,
      VAULT_ROLE_ID: 'shared',
      VAULT_SECRET_ID: 'shared',
      VAULT_ROLE_ID_METRICS: 'm',
      VAULT_SECRET_ID_FILE_METRICS: '/m',
    };
    expect(readVaultSettings(env, 'metrics')?.auth).toMatchObject({ roleId: 'm', secretId: { file: '/m' } });
    expect(readVaultSettings(env, 'registration')?.auth).toMatchObject({ roleId: 'shared' });
  });

  it.each<[string, Record<string, string>, string]>([
    ['nobody logs in', {}, 'VAULT_ROLE_ID with VAULT_SECRET_ID'],
    ['half of a login is there', { VAULT_ROLE_ID: 'a' }, 'VAULT_SECRET_ID'],
    [
      'half of a login of the role is there',
      { VAULT_TOKEN: 't', VAULT_ROLE_ID_EXECUTION: 'a' },
      'VAULT_SECRET_ID_EXECUTION',
    ],
    [
      'the secret_id is there twice',
      { VAULT_ROLE_ID: 'a', VAULT_SECRET_ID: 'b', VAULT_SECRET_ID_FILE: '/c' },
      'only one',
    ],
    ['others could listen', { VAULT_ADDR: 'http://vault.example.com', VAULT_TOKEN: 't' }, 'VAULT_ADDR must be https'],
    ['certificates would not be verified', { VAULT_SKIP_VERIFY: 'false', VAULT_TOKEN: 't' }, 'VAULT_SKIP_VERIFY'],
  ])('are CONFIG_INVALID where %s', (_what, env, said) => {
    const error = errorOf(() => readVaultSettings({ VAULT_ADDR, ...env }, 'execution'));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.detail).toContain(said);
  });
});
