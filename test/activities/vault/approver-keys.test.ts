import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { stringify as toYaml } from 'yaml';
import { fileApproverSource, vaultApproverSource } from '../../../activities/sigstore/approver-keys.ts';
import type { ApproverSource } from '../../../activities/sigstore/approver-keys.ts';
import { vaultKeySource } from '../../../activities/sigstore/vault-keys.ts';
import { verifyStatement } from '../../../activities/sigstore/verify-statement.ts';
import { createVault } from '../../../activities/vault/vault.ts';
import type { Vault } from '../../../activities/vault/vault.ts';
import { generateKeyPair, signStatement } from '../../../client/sign.ts';
import { openSigner } from '../../../client/signer.ts';
import { DEV_APPROVER, prepareConnector, trustApprover } from '../../../dev/connector.ts';
import type { VaultService } from '../../../dev/servers/openbao.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { sharedServices } from '../../support/stack.ts';
import { statementBytes } from '../../support/statements.ts';
import { callVault } from '../../support/vault.ts';

const { publicKeyPem: pem } = generateKeyPair();
const { publicKeyPem: otherPem } = generateKeyPair();

type Entries = Record<string, Record<string, unknown>>;

const good: Entries = {
  laptop: { pem, identity: 'bob@example.com', groups: 'sre, payments' },
  token: { pem: otherPem, identity: 'bob@example.com', groups: ['sre'], notAfter: '2027-01-01T00:00:00Z' },
};

const broken: [string, Entries, string][] = [
  ['a misspelt revocation', { ...good, x: { pem, identity: 'x', revokedat: '2026-02-01T00:00:00Z' } }, 'revokedat'],
  ['a date that is none', { ...good, x: { pem, identity: 'x', revokedAt: 'yesterday' } }, 'revokedAt'],
  ['no identity', { ...good, x: { pem } }, 'identity'],
  ['an identity with an invisible character', { ...good, x: { pem, identity: 'bob\u200b@example.com' } }, 'identity'],
  ['an identity with spaces around it', { ...good, x: { pem, identity: ' bob@example.com' } }, 'identity'],
  ['a group that is no name', { ...good, x: { pem, identity: 'x', groups: [1] } }, 'groups'],
  ['a private key', { ...good, x: { pem: generateKeyPair().privateKeyPem, identity: 'x' } }, 'PRIVATE KEY'],
  ['two keys', { ...good, x: { pem: pem + otherPem, identity: 'x' } }, 'one key'],
  ['a key of somebody else', { ...good, x: { pem, identity: 'carol@example.com' } }, 'one and the same key'],
  ['a key of the same person again', { ...good, x: { pem, identity: 'bob@example.com' } }, 'one and the same key'],
  [
    'an identity in another spelling',
    { ...good, x: { pem: generateKeyPair().publicKeyPem, identity: 'Bob@Example.com' } },
    'one identity in two spellings',
  ],
  [
    'an identity in full-width letters',
    { ...good, x: { pem: generateKeyPair().publicKeyPem, identity: 'ｂｏｂ@example.com' } },
    'one identity in two spellings',
  ],
];

describe("approvers' keys in Vault", () => {
  let service: VaultService;
  let vault: Vault;
  const sourceOf = (clusterId: string): ApproverSource => vaultApproverSource({ vault, clusterId });
  async function put(clusterId: string, entries: Entries): Promise<void> {
    for (const [name, data] of Object.entries(entries)) {
      await callVault(service, 'POST', `secret/data/byoc/${clusterId}/approvers/${name}`, { data });
    }
  }

  beforeAll(async () => {
    ({ vault: service } = await sharedServices());
    vault = createVault({ ...service, auth: { method: 'token', token: service.token } });
  });
  afterAll(() => vault.close());

  it('are read with identity, groups and validity; one person may have several', async () => {
    await put('approvers', good);
    const keys = [...(await sourceOf('approvers').load())].sort((a, b) => a.name.localeCompare(b.name));
    expect(keys).toMatchObject([
      { name: 'laptop', identity: 'bob@example.com', groups: ['sre', 'payments'] },
      { name: 'token', identity: 'bob@example.com', groups: ['sre'], notAfter: new Date('2027-01-01') },
    ]);
  });

  it('are none where nobody was named, and those that the development stack names', async () => {
    expect(await sourceOf('no-approvers').load()).toEqual([]);
    await trustApprover({ vault: service }, 'dev-approvers', 'bob', { pem, identity: 'bob', groups: ['sre'] });
    expect(await sourceOf('dev-approvers').load()).toMatchObject([{ name: 'bob', identity: 'bob', groups: ['sre'] }]);
  });

  it("have that of the development stack's approver among them, whose votes count", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'byoc-prepared-'));
    const { approverKeyPath } = await prepareConnector({
      services: await sharedServices(),
      folder,
      clusterId: 'dev-vote',
    });
    const statement = await signStatement(statementBytes(), await openSigner(approverKeyPath, {}));
    const keys = await sourceOf('dev-vote').load();
    expect(verifyStatement({ statement, keys, now: new Date() }).key).toMatchObject(DEV_APPROVER);
    await rm(folder, { recursive: true, force: true });
  });

  it('are readable, and signing keys too, with the rights that docs/keys.md asks for and no more', async () => {
    const [, rights = ''] = /```hcl\n(.*?)```/s.exec(await readFile('docs/keys.md', 'utf8')) ?? [];
    await put('rights', good);
    await put('other', good);
    const policy = rights.replaceAll('prod-eu-1', 'rights');
    await callVault(service, 'POST', 'sys/policies/acl/keys-documented', { policy });
    const request = { policies: ['keys-documented'], no_default_policy: true };
    const answer = await callVault(service, 'POST', 'auth/token/create', request);
    const { auth } = answer as { auth: { client_token: string } };
    const limited = createVault({ ...service, auth: { method: 'token', token: auth.client_token } });
    expect(await vaultApproverSource({ vault: limited, clusterId: 'rights' }).load()).toHaveLength(2);
    expect(await vaultKeySource({ vault: limited, clusterId: 'rights' }).load()).toEqual([]);
    const denied = await asyncErrorOf(() => vaultApproverSource({ vault: limited, clusterId: 'other' }).load());
    expect(denied.detail).toContain('it denied access');
    await limited.close();
  });

  it.each(broken)('are unavailable, all of them, where there is %s', async (what, entries, said) => {
    const clusterId = what.replaceAll(' ', '-');
    await put(clusterId, entries);
    const error = await asyncErrorOf(() => sourceOf(clusterId).load());
    expect(error.code).toBe('APPROVERS_UNAVAILABLE');
    expect(error.detail).toContain(said);
    expect(error.traits.retryable).toBe(true);
  });

  it('are unavailable where Vault does not answer', async () => {
    const nowhere = createVault({ address: 'http://127.0.0.1:1', auth: { method: 'token', token: 'none' } });
    const error = await asyncErrorOf(() => vaultApproverSource({ vault: nowhere, clusterId: 'approvers' }).load());
    expect(error.code).toBe('APPROVERS_UNAVAILABLE');
    await nowhere.close();
  });
});

describe("approvers' keys in a file", () => {
  let folder = '';
  const file = () => join(folder, 'approvers.yaml');
  const load = async (content: unknown) => {
    await writeFile(file(), typeof content === 'string' ? content : toYaml(content));
    return fileApproverSource(file()).load();
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'byoc-approvers-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('are read with the fields that they have in Vault, named by name or identity', async () => {
    const [laptop, token] = Object.values(good);
    expect(await load([{ ...laptop, name: 'laptop' }, token])).toMatchObject([
      { name: 'laptop', identity: 'bob@example.com', groups: ['sre', 'payments'] },
      { name: 'bob@example.com', notAfter: new Date('2027-01-01') },
    ]);
    expect(await load([])).toEqual([]);
  });

  it('are those of the file as it is now', async () => {
    await load([good['laptop']]);
    const source = fileApproverSource(file());
    expect(await source.load()).toHaveLength(1);
    await load([good['laptop'], { ...good['token'], revokedAt: '2026-02-01T00:00:00Z' }]);
    expect((await source.load())[1]?.revokedAt).toEqual(new Date('2026-02-01'));
  });

  it.each(broken)('are unavailable, all of them, where there is %s', async (_what, entries, said) => {
    const error = await asyncErrorOf(() => load(Object.values(entries)));
    expect(error.code).toBe('APPROVERS_UNAVAILABLE');
    expect(error.detail).toContain(said);
  });

  it.each([
    ['empty', ''],
    ['no list', 'identity: bob'],
    ['no YAML', '- pem: ['],
    ['made of aliases', '- &a {identity: bob}\n- *a'],
    ['with a key twice', '- {identity: bob, identity: carol}'],
    ['larger than 1 MiB', ' '.repeat(1_048_577)],
  ])('are unavailable where the file is %s', async (_what, content) => {
    expect((await asyncErrorOf(() => load(content))).code).toBe('APPROVERS_UNAVAILABLE');
  });

  it('are unavailable where the file is missing', async () => {
    const error = await asyncErrorOf(() => fileApproverSource(join(folder, 'none.yaml')).load());
    expect(error.code).toBe('APPROVERS_UNAVAILABLE');
  });
});
