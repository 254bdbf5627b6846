import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parsePublicKeys } from '../../activities/sigstore/keys.ts';
import { generateKeyPair } from '../../client/sign.ts';
import type { SignedWpk } from '../../domain/wpk.ts';
import { fates } from '../support/approvers.ts';
import { TestConnector } from '../support/connector.ts';
import { applyStep, configMap, sign } from '../support/packages.ts';
import { trustingPolicy } from '../support/policies.ts';
import { Authorities, IDENTITY, ISSUER } from '../support/sigstore.ts';

const BOB = 'bob@example.com';

/** R3: which keys and identities sign packages, as Vault and the policy say it at the moment of execution. */
describe('the signature of a package', () => {
  let connector: TestConnector;
  let authorities: Authorities;
  let uses = 0;
  beforeAll(async () => {
    authorities = await Authorities.create();
    connector = await TestConnector.start({
      voters: ['Erin@example.com'],
      policy: trustingPolicy(),
      env: { BYOC_TRUSTED_ROOT: 'trusted-root.json' },
      files: { 'trusted-root.json': authorities.trustedRoot() },
    });
  });
  afterAll(() => connector.stop());

  const steps = (name: string) => [applyStep(configMap(name, connector.namespace, {}))];
  const anotherName = () => `settings-${(uses += 1)}`;
  async function approvedAndEnded(signed: SignedWpk) {
    const { wpkId, workflowId, planDigest } = await connector.untilWaiting(await connector.client.submit(signed));
    await connector.signalApproval(workflowId, { approver: BOB, planDigest });
    return connector.client.result(wpkId);
  }
  async function endOf(signed: SignedWpk) {
    return connector.client.result((await connector.client.submit(signed)).wpkId);
  }
  const publicKey = () => readFile(connector.prepared.publicKeyPath, 'utf8');

  it('counts by a pinned key only, where the policy pins some, whatever Vault lists', async () => {
    const [{ fingerprint = '' } = {}] = parsePublicKeys(await publicKey(), 'development');
    const [{ fingerprint: other = '' } = {}] = parsePublicKeys(generateKeyPair().publicKeyPem, 'other');
    await connector.setPolicy(trustingPolicy(`signing: { pinnedKeys: ['${other}'] }`));
    const refused = await endOf(connector.signed({ steps: steps(anotherName()) }));
    expect(refused).toMatchObject({ phase: 'denied', error: { code: 'KEY_NOT_PINNED' } });
    await connector.setPolicy(trustingPolicy(`signing: { pinnedKeys: ['${other}', '${fingerprint}'] }`));
    expect(await approvedAndEnded(connector.signed({ steps: steps(anotherName()) }))).toMatchObject({
      phase: 'succeeded',
    });
    await connector.setPolicy(trustingPolicy());
  });

  describe('without a key', () => {
    async function keyless(name: string, options: Parameters<Authorities['signKeyless']>[1] = {}): Promise<SignedWpk> {
      const payload = Buffer.from(JSON.stringify(connector.wpk({ steps: steps(name) })));
      return { payload: payload.toString('base64'), bundle: await authorities.signKeyless(payload, options) };
    }

    it('counts where the policy names who signed, and by whose word', async () => {
      await connector.setPolicy(
        trustingPolicy(`signing: { keyless: [{ identity: '${IDENTITY}', issuer: '${ISSUER}' }] }`),
      );
      const name = anotherName();
      expect(await approvedAndEnded(await keyless(name))).toMatchObject({ phase: 'succeeded' });
      expect(await connector.dataOf(name)).toEqual({});
    });

    it('is not approved by whoever signed it, whoever it says wrote it', async () => {
      const identity = 'erin@example.com';
      await connector.setPolicy(
        trustingPolicy(`signing: { keyless: [{ identity: '${identity}', issuer: '${ISSUER}' }] }`),
      );
      const name = anotherName();
      const one = await connector.untilWaiting(await connector.client.submit(await keyless(name, { identity })));
      const { wpkId, workflowId, planDigest } = one;
      await connector.signalApproval(workflowId, { approver: 'Erin@example.com', planDigest });
      await connector.signalApproval(workflowId, { approver: BOB, planDigest });
      expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'succeeded', approvers: [BOB] });
      expect(fates(await connector.client.get(wpkId))).toEqual([
        'approve Erin@example.com APPROVAL_BY_AUTHOR',
        `approve ${BOB} counts`,
      ]);
    });

    it.each([
      ['another identity', { identity: `${IDENTITY}x` }],
      ['another issuer', { issuer: 'https://issuer.example.com' }],
    ])('does not count for %s', async (_, options) => {
      expect(await endOf(await keyless(anotherName(), options))).toMatchObject({
        phase: 'denied',
        error: { code: 'IDENTITY_UNTRUSTED' },
      });
    });

    it('does not count where the policy names nobody', async () => {
      await connector.setPolicy(trustingPolicy());
      expect(await endOf(await keyless(anotherName()))).toMatchObject({
        phase: 'denied',
        error: {
          code: 'IDENTITY_UNTRUSTED',
          message: expect.stringContaining(`It is ${JSON.stringify(IDENTITY)}, by ${JSON.stringify(ISSUER)}.`),
        },
      });
    });
  });

  it('does not count by a key that nobody listed', async () => {
    const { privateKeyPem } = generateKeyPair();
    expect(await endOf(sign(connector.wpk({ steps: steps(anotherName()) }), privateKeyPem))).toMatchObject({
      phase: 'denied',
      error: { code: 'KEY_UNKNOWN' },
    });
  });

  it('stops counting at once when its key is revoked, also for a package that waits', async () => {
    const name = anotherName();
    const { wpkId, workflowId, planDigest } = await connector.submitAndPlan({ steps: steps(name) });
    const pem = await publicKey();
    await connector.putVaultEntry('signing-keys/development', { pem, revokedAt: new Date().toISOString() });
    await connector.signalApproval(workflowId, { approver: BOB, planDigest });
    expect(await connector.client.result(wpkId)).toMatchObject({ phase: 'denied', error: { code: 'KEY_REVOKED' } });
    expect(await connector.dataOf(name)).toBeUndefined();
  });
});
