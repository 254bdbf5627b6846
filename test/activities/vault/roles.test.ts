import { execFile } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import type { JsonWebKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createRequests } from '../../../activities/vault/requests.ts';
import type { VaultRequests } from '../../../activities/vault/requests.ts';
import { applyVaultSetup } from '../../../activities/vault/setup.ts';
import { createVault } from '../../../activities/vault/vault.ts';
import type { VaultEvent } from '../../../activities/vault/vault.ts';
import { get } from '../../../dev/servers/https.ts';
import type { VaultService } from '../../../dev/servers/openbao.ts';
import type { VaultRole } from '../../../domain/vault-setup.ts';
import { VAULT_LOGINS, vaultNameOf, vaultSetup } from '../../../domain/vault-setup.ts';
import { setupScript } from '../../../domain/vault-setup-script.ts';
import { loginOf } from '../../support/app-role.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { sharedServices } from '../../support/stack.ts';
import { callVault } from '../../support/vault.ts';

// R11, R12, R16

/** Only the time of day is another one; whatever waits goes on as it is. */
const EVERYTHING_BUT_DATE = [
  ...(['hrtime', 'nextTick', 'performance', 'queueMicrotask', 'setImmediate', 'clearImmediate'] as const),
  ...(['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] as const),
];

const CLUSTER = 'roles-a';
const OTHER_CLUSTER = 'roles-b';
const KEYS = `secret/data/byoc/${CLUSTER}`;
const FOLDERS = `secret/metadata/byoc/${CLUSTER}`;

/** Everything that some role reads, and whose it is. */
const OWNERS: [string, VaultRole[]][] = [
  [`${KEYS}/signing-keys/release`, ['execution']],
  [`${KEYS}/approvers/carol`, ['execution']],
  [`${FOLDERS}/signing-keys/?list=1`, ['execution']],
  [`${FOLDERS}/approvers/?list=1`, ['execution']],
  [`${KEYS}/payload-keys/first`, ['execution', 'codec']],
  [`${FOLDERS}/payload-keys/?list=1`, ['execution', 'codec']],
  ['identity/oidc/token/byoc-registration', ['registration']],
  ['identity/oidc/token/byoc-metrics', ['metrics']],
];

/** What none may read. */
const FORBIDDEN = [
  `secret/data/byoc/${OTHER_CLUSTER}/signing-keys/release`,
  `secret/data/byoc/${OTHER_CLUSTER}/payload-keys/first`,
  `secret/data/byoc/${CLUSTER}/else`,
  'secret/metadata/byoc?list=1',
  `sys/policies/acl/${vaultNameOf(CLUSTER, 'execution')}`,
  `auth/approle/role/${vaultNameOf(CLUSTER, 'execution')}/role-id`,
  'sys/mounts',
];

describe('the roles that `byoc vault setup` makes', () => {
  let service: VaultService;
  let requests: VaultRequests;
  const tokens = new Map<VaultRole, string>();

  beforeAll(async () => {
    ({ vault: service } = await sharedServices());
    requests = createRequests(service);
    for (const clusterId of [CLUSTER, OTHER_CLUSTER]) {
      await applyVaultSetup(service, vaultSetup(clusterId));
      for (const key of ['signing-keys/release', 'approvers/carol', 'else']) {
        await callVault(service, 'POST', `secret/data/byoc/${clusterId}/${key}`, { data: { pem: 'none' } });
      }
    }
    for (const role of VAULT_LOGINS) {
      const { roleId: role_id, secretId: secret_id } = await loginOf(service, vaultNameOf(CLUSTER, role));
      const answer = await requests.post('auth/approle/login', { role_id, secret_id });
      tokens.set(role, (answer as { auth: { client_token: string } }).auth.client_token);
    }
  });
  afterAll(() => requests.close());

  const statusOf = (role: VaultRole, path: string) =>
    requests.get(path, tokens.get(role) ?? '').then(
      () => 200,
      (error: { status?: number }) => error.status,
    );

  it.each(
    VAULT_LOGINS.flatMap((role) =>
      OWNERS.map(([path, owners]) => [role, path, owners.includes(role) ? 200 : 403] as const),
    ),
  )('%s reading %s is answered with %i', async (role, path, status) => {
    expect(await statusOf(role, path)).toBe(status);
  });

  it.each(VAULT_LOGINS.flatMap((role) => FORBIDDEN.map((path) => [role, path] as const)))(
    '%s may not read %s',
    async (role, path) => {
      expect(await statusOf(role, path)).toBe(403);
    },
  );

  it.each(VAULT_LOGINS)('%s may write nothing, and make no other token', async (role) => {
    for (const path of [
      `${KEYS}/signing-keys/release`,
      `${KEYS}/approvers/mallory`,
      `${KEYS}/payload-keys/first`,
      'auth/token/create',
      `auth/approle/role/${vaultNameOf(CLUSTER, role)}/secret-id`,
      `identity/entity/name/${vaultNameOf(CLUSTER, role)}`,
    ]) {
      const error: unknown = await requests
        .post(path, { data: {} }, tokens.get(role))
        .catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ status: 403 });
    }
  });

  describe('and the identity that they have elsewhere', () => {
    const open = async (role: VaultRole) => {
      const { roleId, secretId } = await loginOf(service, vaultNameOf(CLUSTER, role));
      const events: VaultEvent[] = [];
      const { address, caFile } = service;
      const auth = { method: 'approle', roleId, secretId: { value: secretId } } as const;
      const vault = createVault(
        { address, tls: { ca: caFile }, auth },
        { onEvent: async (event) => void events.push(event) },
      );
      return { vault, events };
    };
    afterEach(() => {
      jest.useRealTimers();
    });

    it.each([
      ['registration', 'neuralops-control-plane'],
      ['metrics', 'neuralops-insight'],
    ] as const)('%s: a JWT for %s, by the keys that Vault publishes, with cluster and role', async (role, aud) => {
      const { vault } = await open(role);
      const claims = await verified(await vault.identity(role).token());
      expect(claims).toMatchObject({
        iss: `${service.address}/v1/identity/oidc`,
        aud,
        cluster_id: CLUSTER,
        role,
      });
      expect(claims.exp - claims.iat).toBe(900);
      await vault.close();
    });

    it('is asked for once by all who need it, and refused to a role that has none', async () => {
      const { vault, events } = await open('registration');
      const identity = vault.identity('registration');
      expect(new Set(await Promise.all([identity.token(), identity.token()])).size).toBe(1);
      expect(events.filter(({ kind }) => kind === 'token-issued')).toEqual([
        { kind: 'token-issued', role: 'registration', ttlMs: 900_000 },
      ]);
      const error = await asyncErrorOf(() => vault.identity('metrics').token());
      expect(error).toMatchObject({ code: 'VAULT_UNAVAILABLE', detail: expect.stringContaining('denied access') });
      expect(events.at(-1)).toMatchObject({ kind: 'token-refused', role: 'metrics', isRefusal: true });
      await vault.close();
    });

    it('that nobody answers for is not taken for one that is refused', async () => {
      const events: VaultEvent[] = [];
      const onEvent = async (event: VaultEvent) => void events.push(event);
      const auth = { method: 'token', token: 'any' } as const;
      const vault = createVault({ address: 'https://127.0.0.1:1', auth }, { onEvent });
      expect(await asyncErrorOf(() => vault.identity('metrics').token())).toMatchObject({ code: 'VAULT_UNAVAILABLE' });
      expect(events).toEqual([
        { kind: 'token-refused', role: 'metrics', isRefusal: false, said: expect.stringContaining('no answer') },
      ]);
      await vault.close();
    });

    it.each([-1, 1])('is good although the clock here is %i hour off', async (hours) => {
      const realNow = Date.now();
      jest.useFakeTimers({ now: realNow + hours * 3_600_000, doNotFake: [...EVERYTHING_BUT_DATE] });
      expect(Math.abs(Date.now() - realNow)).toBeGreaterThan(3_500_000);
      const { vault, events } = await open('registration');
      const identity = vault.identity('registration');
      const token = await identity.token();
      expect(await identity.token()).toBe(token);
      expect(events.map(({ kind }) => kind)).toEqual(['logged-in', 'token-issued']);
      const { exp } = await verified(token);
      expect(exp * 1000 - realNow).toBeGreaterThan(800_000);
      await vault.close();
    });

    async function verified(token: string) {
      const ca = await readFile(service.caFile, 'utf8');
      const { text } = await get(`${service.address}/v1/identity/oidc/.well-known/keys`, { ca });
      const { keys } = JSON.parse(text) as { keys: (JsonWebKey & { kid: string })[] };
      const [header = '', payload = '', signature = ''] = token.split('.');
      const { kid, alg } = decoded(header) as { kid: string; alg: string };
      const jwk = keys.find((key) => key.kid === kid);
      if (!jwk) throw new Error('the key is not published');
      const key = createPublicKey({ key: jwk, format: 'jwk' });
      const signed = Buffer.from(`${header}.${payload}`);
      const bytes = Buffer.from(signature, 'base64url');
      expect(alg).toBe('ES256');
      expect(verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, bytes)).toBe(true);
      return decoded(payload) as { iss: string; exp: number; iat: number };
    }
    const decoded = (part: string): unknown => JSON.parse(Buffer.from(part, 'base64url').toString());
  });
});

describe('the setup of Vault', () => {
  let service: VaultService;
  beforeAll(async () => {
    ({ vault: service } = await sharedServices());
  });
  const apply = async (namespace: string, clusterId = 'setup') => {
    const outcomes: string[] = [];
    await applyVaultSetup({ ...service, namespace }, vaultSetup(clusterId), ({ outcome }) => outcomes.push(outcome));
    return new Set(outcomes);
  };
  const newNamespace = async (name: string) => {
    await callVault(service, 'POST', `sys/namespaces/${name}`, {});
    return name;
  };

  it('makes everything in a Vault that has nothing, and then leaves it alone', async () => {
    const namespace = await newNamespace('setup-applied');
    expect(await apply(namespace)).toEqual(new Set(['made']));
    expect(await apply(namespace)).toEqual(new Set(['unchanged']));
  });

  it('mends what somebody changed', async () => {
    const namespace = await newNamespace('setup-mended');
    await apply(namespace);
    const { address, caFile, token } = service;
    const requests = createRequests({ address, tls: { ca: caFile }, namespace });
    await requests.post(
      'sys/policies/acl/byoc-setup-metrics',
      { policy: 'path "*" { capabilities = ["sudo"] }' },
      token,
    );
    expect(await apply(namespace)).toEqual(new Set(['unchanged', 'changed']));
    expect(await apply(namespace)).toEqual(new Set(['unchanged']));
    await requests.close();
  });

  it('gives a role the identity of its cluster also where it has logged in before', async () => {
    const namespace = await newNamespace('setup-late');
    const steps = vaultSetup('setup').filter(({ path }) => !path.startsWith('identity/entity'));
    await applyVaultSetup({ ...service, namespace }, steps);
    const { address, caFile, token } = service;
    const requests = createRequests({ address, tls: { ca: caFile }, namespace });
    const role = 'auth/approle/role/byoc-setup-registration';
    const { data: id } = (await requests.get(`${role}/role-id`, token)) as { data: { role_id: string } };
    const { data: secret } = (await requests.post(`${role}/secret-id`, {}, token)) as { data: { secret_id: string } };
    const auth = { method: 'approle', roleId: id.role_id, secretId: { value: secret.secret_id } } as const;
    const before = createVault({ address, tls: { ca: caFile }, namespace, auth });
    await before.logIn();
    await before.close();
    await apply(namespace);
    const vault = createVault({ address, tls: { ca: caFile }, namespace, auth });
    const [, payload = ''] = (await vault.identity('registration').token()).split('.');
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({ cluster_id: 'setup' });
    await Promise.all([vault.close(), requests.close()]);
  });

  it('is the same where a person ran the commands that are printed, once or twice', async () => {
    const namespace = await newNamespace('setup-printed');
    const script = setupScript('setup', vaultSetup('setup'), 'bao').join('\n');
    const { address, caFile, token, bin } = service;
    const env = {
      PATH: `${bin.slice(0, bin.lastIndexOf('/'))}:/usr/bin:/bin`,
      BAO_ADDR: address,
      BAO_CACERT: caFile,
      BAO_TOKEN: token,
      BAO_NAMESPACE: namespace,
    };
    for (let times = 1; times <= 2; times += 1) await promisify(execFile)('/bin/sh', ['-c', script], { env });
    expect(await apply(namespace)).toEqual(new Set(['unchanged']));
  }, 120_000);

  it('does not touch an engine that others have put in its place', async () => {
    const namespace = await newNamespace('setup-foreign');
    const { address, caFile, token } = service;
    const requests = createRequests({ address, tls: { ca: caFile }, namespace });
    await requests.post('sys/mounts/secret', { type: 'kv', options: { version: '1' } }, token);
    await requests.close();
    expect(await asyncErrorOf(() => apply(namespace))).toMatchObject({
      code: 'CONFIG_INVALID',
      detail: 'sys/mounts/secret is there already, and is something else.',
    });
  });
});
