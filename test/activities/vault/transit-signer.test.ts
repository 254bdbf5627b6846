import { beforeAll, describe, expect, it } from '@jest/globals';
import { parsePublicKeys } from '../../../activities/sigstore/keys.ts';
import { verifyStatement } from '../../../activities/sigstore/verify-statement.ts';
import { signStatement } from '../../../client/sign.ts';
import { openSigner } from '../../../client/signer.ts';
import type { VaultService } from '../../../dev/servers/openbao.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { sharedServices } from '../../support/stack.ts';
import { statementBytes } from '../../support/statements.ts';
import { callVault } from '../../support/vault.ts';

const MOUNT = 'approvers-transit';

describe('a signer whose key is in the transit engine of Vault', () => {
  let vault: VaultService;
  const env = () => ({
    VAULT_ADDR: vault.address,
    VAULT_CACERT: vault.caFile,
    VAULT_TOKEN: vault.token,
    TRANSIT_SECRET_ENGINE_PATH: MOUNT,
  });
  const post = (path: string, body: unknown = {}) => callVault(vault, 'POST', path, body);
  const verifiedBy = async (publicKeyPem: string, statement: unknown) => {
    const keys = parsePublicKeys(publicKeyPem, 'transit').map((key) => ({ ...key, identity: 'bob', groups: [] }));
    return verifyStatement({ statement, keys, now: new Date() }).key.name;
  };

  beforeAll(async () => {
    ({ vault } = await sharedServices());
    await post(`sys/mounts/${MOUNT}`, { type: 'transit' });
    for (const [name, type] of [
      ['bob', 'ecdsa-p256'],
      ['large', 'ecdsa-p384'],
      ['edward', 'ed25519'],
      ['aes', 'aes256-gcm96'],
    ]) {
      await post(`${MOUNT}/keys/${name}`, { type });
    }
  });

  it.each(['bob', 'large'])('signs votes that are verified by its public key (%s)', async (name) => {
    const signer = await openSigner(`hashivault://${name}`, env());
    expect(await verifiedBy(signer.publicKeyPem, await signStatement(statementBytes(), signer))).toBe('transit');
  });

  it('signs with the version that it was opened with, also after a rotation', async () => {
    const before = await openSigner('hashivault://bob', env());
    await post(`${MOUNT}/keys/bob/rotate`);
    const after = await openSigner('hashivault://bob', env());
    expect(after.fingerprint).not.toBe(before.fingerprint);
    for (const signer of [before, after]) {
      expect(await verifiedBy(signer.publicKeyPem, await signStatement(statementBytes(), signer))).toBe('transit');
    }
  });

  it.each([
    ['of a kind that is not accepted', 'edward'],
    ['that cannot sign', 'aes'],
  ])('is KEY_UNSUPPORTED for a key %s', async (_what, name) => {
    expect((await asyncErrorOf(() => openSigner(`hashivault://${name}`, env()))).code).toBe('KEY_UNSUPPORTED');
  });

  it('is CONFIG_INVALID for a key that does not exist, and says so', async () => {
    const error = await asyncErrorOf(() => openSigner('hashivault://nobody', env()));
    expect([error.code, error.detail]).toEqual([
      'CONFIG_INVALID',
      expect.stringContaining('Vault has no key nobody in'),
    ]);
  });

  it('is VAULT_UNAVAILABLE where Vault denies or does not answer, and the token is in no error', async () => {
    const token = 's.a-token-that-nobody-may-see';
    const denied = await asyncErrorOf(() => openSigner('hashivault://bob', { ...env(), VAULT_TOKEN: token }));
    const away = await asyncErrorOf(() =>
      openSigner('hashivault://bob', { ...env(), VAULT_ADDR: 'http://127.0.0.1:1' }),
    );
    expect([denied.code, away.code]).toEqual(['VAULT_UNAVAILABLE', 'VAULT_UNAVAILABLE']);
    expect(denied.detail).toContain('it denied access');
    expect(JSON.stringify([denied.message, denied.stack, String(denied.cause)])).not.toContain(token);
  });

  it.each<[string, string, Record<string, string>]>([
    ['no name', 'hashivault://', {}],
    ['a name that leads elsewhere', 'hashivault://../sys/seal', {}],
    ['no address', 'hashivault://bob', { VAULT_ADDR: '' }],
    ['an address that others can listen to', 'hashivault://bob', { VAULT_ADDR: 'http://vault.example.com:8200' }],
    ['no token', 'hashivault://bob', { VAULT_TOKEN: '' }],
    ['certificates that are not verified', 'hashivault://bob', { VAULT_SKIP_VERIFY: '1' }],
  ])('is CONFIG_INVALID with %s', async (_what, ref, changes) => {
    expect((await asyncErrorOf(() => openSigner(ref, { ...env(), ...changes }))).code).toBe('CONFIG_INVALID');
  });
});
