import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadPayloadKeys } from '../../../activities/vault/payload-keys.ts';
import { applyVaultSetup } from '../../../activities/vault/setup.ts';
import type { Vault } from '../../../activities/vault/vault.ts';
import { createVault } from '../../../activities/vault/vault.ts';
import type { VaultService } from '../../../dev/servers/openbao.ts';
import { vaultNameOf, vaultSetup } from '../../../domain/vault-setup.ts';
import { loginOf } from '../../support/app-role.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { sharedServices } from '../../support/stack.ts';
import { callVault } from '../../support/vault.ts';

// R28

const CANARY = 'canary-of-a-payload-key';

describe('the payload keys in Vault', () => {
  let service: VaultService;
  const opened: Vault[] = [];
  beforeAll(async () => {
    ({ vault: service } = await sharedServices());
  });
  afterAll(() => Promise.all(opened.map((vault) => vault.close())));

  /** A cluster as the setup leaves it, with what its codec server may read. */
  const cluster = async (clusterId: string) => {
    await applyVaultSetup(service, vaultSetup(clusterId));
    const { roleId, secretId } = await loginOf(service, vaultNameOf(clusterId, 'codec'));
    const { address, caFile } = service;
    const vault = createVault({
      address,
      tls: { ca: caFile },
      auth: { method: 'approle', roleId, secretId: { value: secretId } },
    });
    opened.push(vault);
    const path = (name: string) => `secret/data/byoc/${clusterId}/payload-keys/${name}`;
    return {
      load: () => loadPayloadKeys(vault, clusterId),
      put: (name: string, data: object) => callVault(service, 'POST', path(name), { data }),
      take: (name: string) => callVault(service, 'DELETE', path(name)),
      setUp: () => applyVaultSetup(service, vaultSetup(clusterId)),
    };
  };

  it('begin with a random one, that the setup makes once', async () => {
    const one = await cluster('payloads-first');
    const [key, ...others] = await one.load();
    expect(others).toEqual([]);
    expect(key).toMatchObject({ name: 'first' });
    expect(key?.secret).toHaveLength(32);
    await one.setUp();
    expect(await one.load()).toEqual([key]);
  });

  it('are not begun anew under a name that was used', async () => {
    const one = await cluster('payloads-taken');
    await one.take('first');
    await one.setUp();
    expect(await one.load()).toEqual([]);
  });

  it('are read with the time from which each encrypts, as the vault command leaves them', async () => {
    const one = await cluster('payloads-rotated');
    const secret = randomBytes(32);
    await one.put('second', { key: `${secret.toString('base64')}\n`, writeFrom: '2026-12-01T00:00:00Z' });
    const keys = await one.load();
    expect(keys.find(({ name }) => name === 'second')).toEqual({
      name: 'second',
      secret,
      writeFrom: new Date('2026-12-01T00:00:00Z'),
    });
  });

  it.each([
    ['a key that is too short', { key: Buffer.from(CANARY.slice(0, 20)).toString('base64') }],
    ['a key that is no base64', { key: `${CANARY} ${CANARY}` }],
    ['no key', { secret: CANARY }],
    ['a field that nobody reads', { key: randomBytes(32).toString('base64'), writefrom: CANARY }],
    ['a time without a zone', { key: randomBytes(32).toString('base64'), writeFrom: '2026-12-01T00:00:00' }],
  ])('cannot be read where one has %s, and the error shows nothing of it', async (what, data) => {
    const one = await cluster(`payloads-${what.replace(/[^a-z]+/g, '-').slice(0, 40)}`);
    await one.put('broken', data);
    const error = await asyncErrorOf(one.load);
    expect(error).toMatchObject({ code: 'PAYLOAD_KEYS_UNAVAILABLE', detail: expect.stringContaining('broken') });
    expect(JSON.stringify(error) + String(error) + String((error as Error).cause)).not.toContain(CANARY.slice(0, 12));
  });
});
