import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { KeySource, TrustedKey } from '../../../activities/sigstore/keys.ts';
import { cachedKeySource, parsePublicKeys } from '../../../activities/sigstore/keys.ts';
import { vaultKeySource } from '../../../activities/sigstore/vault-keys.ts';
import { createVault } from '../../../activities/vault/vault.ts';
import { refuseUnverified } from '../../../domain/tls-settings.ts';
import type { Vault, VaultAuth } from '../../../activities/vault/vault.ts';
import { generateKeyPair } from '../../../client/sign.ts';
import type { Stack } from '../../../dev/stack.ts';
import { asyncErrorOf, errorOf } from '../../support/expect-code.ts';
import { ownStack } from '../../support/stack.ts';
import { callVault } from '../../support/vault.ts';

const SECRET_ID = 'the-secret-id-that-nobody-may-see';

describe('signing keys in Vault', () => {
  let stack: Stack;
  let address = '';
  let caFile = '';
  let rootToken = '';
  const opened: Vault[] = [];
  const open = (auth: VaultAuth = { method: 'token', token: rootToken }, at = address) => {
    const vault = createVault({ address: at, tls: { ca: caFile }, auth, requestTimeoutMs: 2_000 });
    opened.push(vault);
    return vault;
  };
  const keysOf = (clusterId: string, vault = open()): KeySource => vaultKeySource({ vault, clusterId });

  const write = (method: 'POST' | 'DELETE', path: string, body?: unknown) =>
    callVault({ address, caFile, token: rootToken }, method, path, body);
  const putKey = (clusterId: string, name: string, data: Record<string, unknown>) =>
    write('POST', `secret/data/byoc/${clusterId}/signing-keys/${name}`, { data });

  beforeAll(async () => {
    stack = await ownStack(['vault']);
    ({ address, caFile, token: rootToken } = stack.vault);
  }, 120_000);
  afterAll(async () => {
    await Promise.all(opened.map((vault) => vault.close()));
    await stack.stop();
  });

  it('are read with their validity and revocation, each by the name of its entry', async () => {
    const { publicKeyPem: pem } = generateKeyPair();
    await putKey('dated', 'a', { pem });
    await putKey('dated', 'b', { pem, notBefore: '2026-01-01T00:00:00Z', notAfter: '2027-01-01T00:00:00Z' });
    await putKey('dated', 'c', { pem, revokedAt: '2026-02-01T00:00:00Z' });
    const keys = [...(await keysOf('dated').load())].sort((a, b) => a.name.localeCompare(b.name));
    expect(keys.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    expect(keys[1]).toMatchObject({ notBefore: new Date('2026-01-01'), notAfter: new Date('2027-01-01') });
    expect(keys[2]).toMatchObject({ revokedAt: new Date('2026-02-01') });
  });

  it('are none for a cluster without any, and without an entry that was deleted', async () => {
    expect(await keysOf('empty').load()).toEqual([]);
    const { publicKeyPem: pem } = generateKeyPair();
    await putKey('deleted', 'a', { pem });
    await write('DELETE', 'secret/data/byoc/deleted/signing-keys/a');
    expect(await keysOf('deleted').load()).toEqual([]);
  });

  it.each([
    ['a misspelt revocation', { revokedat: '2026-02-01T00:00:00Z' }],
    ['a date that is none', { revokedAt: 'yesterday' }],
    ['a private key', { pem: generateKeyPair().privateKeyPem }],
    ['two keys', { pem: generateKeyPair().publicKeyPem + generateKeyPair().publicKeyPem }],
    ['no key', { pem: '' }],
  ])('are unavailable, all of them, when an entry has %s', async (what, data) => {
    const clusterId = what.replaceAll(' ', '-');
    await putKey(clusterId, 'good', { pem: generateKeyPair().publicKeyPem });
    await putKey(clusterId, 'bad', { pem: generateKeyPair().publicKeyPem, ...data });
    const error = await asyncErrorOf(() => keysOf(clusterId).load());
    expect(error.code).toBe('KEYS_UNAVAILABLE');
    expect(error.detail).toContain('The signing key bad in Vault');
  });

  it('are read by AppRole, also when the token has been revoked meanwhile', async () => {
    const { publicKeyPem: pem } = generateKeyPair();
    await putKey('approle', 'a', { pem });
    const policy = 'path "secret/*" { capabilities = ["read", "list"] }';
    await write('POST', 'sys/policies/acl/keys', { policy });
    await write('POST', 'auth/approle/role/execution', { token_policies: 'keys' });
    await write('POST', 'auth/approle/role/execution/role-id', { role_id: 'execution' });
    await write('POST', 'auth/approle/role/execution/custom-secret-id', { secret_id: SECRET_ID });
    const source = keysOf('approle', open({ method: 'approle', roleId: 'execution', secretId: { value: SECRET_ID } }));
    expect(await source.load()).toHaveLength(1);
    await write('POST', 'sys/leases/revoke-prefix/auth/approle/login', {});
    expect(await source.load()).toHaveLength(1);
  });

  it('are unavailable to whoever may not read them, and no secret is in the error', async () => {
    const denied = open({ method: 'approle', roleId: 'nobody', secretId: { value: SECRET_ID } });
    const error = await asyncErrorOf(() => keysOf('approle', denied).load());
    expect(error.code).toBe('KEYS_UNAVAILABLE');
    const everything = JSON.stringify([error.message, error.stack, causesOf(error)]);
    expect(everything).not.toContain(SECRET_ID);
    const wrongToken = await asyncErrorOf(() => keysOf('approle', open({ method: 'token', token: 's.wrong' })).load());
    expect(wrongToken.detail).toContain('it denied access');
    expect(JSON.stringify([wrongToken.stack, causesOf(wrongToken)])).not.toContain('s.wrong');
  });

  it('are read without a word of the login, also when DEBUG asks for all words', async () => {
    const program = `
      import { createVault } from '${new URL('../../../activities/vault/vault.ts', import.meta.url).href}';
      const auth = { method: 'approle', roleId: 'execution', secretId: { value: '${SECRET_ID}' } };
      const vault = createVault({ address: '${address}', tls: { ca: '${caFile}' }, auth });
      console.log((await vault.listSecrets('secret', 'byoc/approle/signing-keys')).join());
      await vault.close();`;
    const env = { ...process.env, NODE_OPTIONS: '', NODE_DEBUG: '', DEBUG: '*' };
    const args = ['--input-type=module', '--eval', program];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env });
    expect(stdout).toBe('a\n');
    expect(stderr).not.toContain(SECRET_ID);
    expect(stderr).not.toContain('client_token');
  });

  it('are never asked for where a redirect points', async () => {
    const tokens: unknown[] = [];
    const elsewhere = await listen((request) => tokens.push(request.headers['x-vault-token']), 200);
    const redirecting = await listen(() => undefined, 307, `${elsewhere.url}/v1/x`);
    const error = await asyncErrorOf(() => keysOf('dated', open(undefined, redirecting.url)).load());
    expect(error.code).toBe('KEYS_UNAVAILABLE');
    expect(tokens).toEqual([]);
    await Promise.all([elsewhere.close(), redirecting.close()]);
  });

  it('are seen as they are now by whoever asks afresh, and as they were by others until their time is over', async () => {
    const data = { pem: generateKeyPair().publicKeyPem };
    await putKey('fresh', 'a', data);
    let now = 0;
    const source = cachedKeySource(keysOf('fresh'), { maxAgeMs: 30_000, now: () => now });
    const revoked = async (fresh: boolean) => (await source.load({ fresh }))[0]?.revokedAt !== undefined;
    expect(await revoked(false)).toBe(false);
    await putKey('fresh', 'a', { ...data, revokedAt: '2026-02-01T00:00:00Z' });
    now = 1;
    expect(await revoked(false)).toBe(false);
    expect(await revoked(true)).toBe(true);
    expect(await revoked(false)).toBe(true); // what was learned afresh holds for all
  });

  it('are unavailable at once when an entry breaks, although good ones were read a moment ago', async () => {
    await putKey('breaks', 'a', { pem: generateKeyPair().publicKeyPem });
    const source = cachedKeySource(keysOf('breaks'), { now: () => 0 });
    expect(await source.load()).toHaveLength(1);
    await putKey('breaks', 'a', { revokedat: '2026-02-01T00:00:00Z' });
    expect((await asyncErrorOf(() => source.load({ fresh: true }))).code).toBe('KEYS_UNAVAILABLE');
    expect((await asyncErrorOf(() => source.load())).code).toBe('KEYS_UNAVAILABLE');
  });

  it('are asked for once by callers who come together, and anew by each who asks afresh', async () => {
    let asked = 0;
    const counting: KeySource = {
      load: async () => {
        asked += 1;
        return [];
      },
    };
    const source = cachedKeySource(counting, { maxAgeMs: 0 });
    await Promise.all([source.load(), source.load(), source.load()]);
    expect(asked).toBe(1);
    await Promise.all([source.load({ fresh: true }), source.load({ fresh: true })]);
    expect(asked).toBe(3);
  });

  it('are those of the newest question, although the answer to an older one comes last', async () => {
    const pending: PromiseWithResolvers<readonly TrustedKey[]>[] = [];
    const slow: KeySource = {
      load: () => {
        const answer = Promise.withResolvers<readonly TrustedKey[]>();
        pending.push(answer);
        return answer.promise;
      },
    };
    let now = 0;
    const source = cachedKeySource(slow, { now: () => (now += 1) });
    const [key] = parsePublicKeys(generateKeyPair().publicKeyPem, 'a');
    if (!key) throw new Error('no key');
    const older = source.load();
    const newer = source.load({ fresh: true });
    pending[1]?.resolve([{ ...key, revokedAt: new Date() }]);
    await newer;
    pending[0]?.resolve([key]);
    await older;
    expect((await source.load())[0]?.revokedAt).toBeDefined();
  });

  it('stay in use for the time of the cache when Vault is gone, and are unavailable after it', async () => {
    await putKey('gone', 'a', { pem: generateKeyPair().publicKeyPem });
    let now = 0;
    const source = cachedKeySource(keysOf('gone'), { maxAgeMs: 30_000, now: () => now });
    expect(await source.load()).toHaveLength(1);
    await stack.kill('openbao');
    now = 29_999;
    expect(await source.load()).toHaveLength(1);
    expect(await source.load({ fresh: true })).toHaveLength(1);
    now = 30_000;
    for (const fresh of [false, true]) {
      const error = await asyncErrorOf(() => source.load({ fresh }));
      expect(error.code).toBe('KEYS_UNAVAILABLE');
      expect(error.traits.retryable).toBe(true);
    }
  });
});

describe('an environment with VAULT_SKIP_VERIFY', () => {
  it('is refused, whatever its value', () => {
    for (const value of ['1', 'false', '']) {
      expect(errorOf(() => refuseUnverified({ VAULT_SKIP_VERIFY: value })).code).toBe('CONFIG_INVALID');
    }
    expect(() => refuseUnverified({})).not.toThrow();
  });
});

function causesOf(error: unknown): string[] {
  return error instanceof Error ? [`${error.stack ?? ''} ${JSON.stringify(error)}`, ...causesOf(error.cause)] : [];
}

async function listen(seen: (request: IncomingMessage) => void, status: number, location?: string) {
  const server = createServer((request, response) => {
    seen(request);
    response.writeHead(status, location === undefined ? {} : { location }).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}
