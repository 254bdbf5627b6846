import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parsePublicKeys } from '../../../activities/sigstore/keys.ts';
import { verifyStatement } from '../../../activities/sigstore/verify-statement.ts';
import { signStatement } from '../../../client/sign.ts';
import { openSigner } from '../../../client/signer.ts';
import { APPROVAL_TYPE } from '../../../domain/approval-statement.ts';
import { Cosign, COSIGN_TIMEOUT_MS } from '../../support/cosign.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { statementBytes } from '../../support/statements.ts';

const PASSWORD = 'a password that nobody may see';

describe('votes, the real cosign and this project', () => {
  const statement = statementBytes();
  let cosign: Cosign;
  const at = (name: string) => cosign.at(name);
  const attest = (password: string, key: string, bundle: string) =>
    cosign.callWith(
      password,
      'attest-blob',
      '--yes',
      ...['--key', key, '--statement', 'vote.json', '--bundle', bundle],
      ...['--use-signing-config=false', '--tlog-upload=false'],
    );
  const verifyAttestation = (key: string, bundle: string) =>
    cosign.call(
      'verify-blob-attestation',
      ...['--key', key, '--bundle', bundle, '--insecure-ignore-tlog', '--type', APPROVAL_TYPE],
      ...['--digest', 'b'.repeat(64), '--digestAlg', 'sha256'],
    );
  async function approversWith(pub: string) {
    const keys = parsePublicKeys(await cosign.read(pub), pub);
    return keys.map((key) => ({ ...key, identity: 'bob@example.com', groups: [] }));
  }

  beforeAll(async () => {
    cosign = await Cosign.open();
    await cosign.write('vote.json', statement);
    await cosign.callWith(PASSWORD, 'generate-key-pair');
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    await cosign.write('large.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await cosign.call('import-key-pair', '--key', 'large.pem', '--output-key-prefix', 'large');
  }, COSIGN_TIMEOUT_MS);
  afterAll(() => cosign.remove());

  it('what cosign attests is accepted, with the statement byte for byte', async () => {
    await attest(PASSWORD, 'cosign.key', 'a.json');
    const keys = await approversWith('cosign.pub');
    const verified = verifyStatement({ statement: await cosign.readJson('a.json'), keys, now: new Date() });
    expect(Buffer.from(verified.payload).equals(statement)).toBe(true);
  });

  it('what cosign attests by a key on P-384 is accepted', async () => {
    await attest('', 'large.key', 'large.json');
    const keys = await approversWith('large.pub');
    expect(verifyStatement({ statement: await cosign.readJson('large.json'), keys, now: new Date() }).key.name).toBe(
      'large.pub',
    );
  });

  it('what this project signs with a key that cosign made is the same but for the signature, and cosign verifies it', async () => {
    const signer = await openSigner(at('cosign.key'), { COSIGN_PASSWORD: PASSWORD });
    expect(signer.publicKeyPem).toBe(await cosign.read('cosign.pub'));
    const ours = await signStatement(statement, signer);
    await cosign.write('ours.json', JSON.stringify(ours));
    expect((await verifyAttestation('cosign.pub', 'ours.json')).stderr).toContain('Verified OK');
    await attest(PASSWORD, 'cosign.key', 'theirs.json');
    const signatures = [{ sig: expect.any(String) }];
    expect(await cosign.readJson('theirs.json')).toEqual({
      ...ours,
      dsseEnvelope: { ...ours.dsseEnvelope, signatures },
    });
  });

  it('cosign refuses what this project signed once another plan is in it', async () => {
    const signer = await openSigner(at('cosign.key'), { COSIGN_PASSWORD: PASSWORD });
    const bundle = await signStatement(statementBytes({ runId: 'another' }), signer);
    const { payload } = (await signStatement(statement, signer)).dsseEnvelope;
    await cosign.write(
      'changed.json',
      JSON.stringify({ ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, payload } }),
    );
    await expect(verifyAttestation('cosign.pub', 'changed.json')).rejects.toThrow('Command failed');
  });

  it('a wrong password, or none where nobody can be asked, is told without showing key or password', async () => {
    const wrong = await asyncErrorOf(() => openSigner(at('cosign.key'), { COSIGN_PASSWORD: `${PASSWORD}!` }));
    const none = await asyncErrorOf(() => openSigner(at('cosign.key'), {}));
    expect([wrong.code, none.code]).toEqual(['CONFIG_INVALID', 'CONFIG_INVALID']);
    expect([wrong.detail, none.detail].join()).toContain('COSIGN_PASSWORD');
    expect([wrong.stack, wrong.cause, none.stack].join()).not.toContain(PASSWORD);
  });

  it('a key file that is damaged is KEY_UNSUPPORTED, a public one CONFIG_INVALID, one that is not there FILE_UNREADABLE', async () => {
    const pem = await cosign.read('cosign.key');
    const [head = '', first = '', ...rest] = pem.split('\n');
    await cosign.write('damaged.key', [head, first.replace(/^..../, 'AAAA'), ...rest].join('\n'));
    const damaged = await asyncErrorOf(() => openSigner(at('damaged.key'), { COSIGN_PASSWORD: PASSWORD }));
    const publicKey = await asyncErrorOf(() => openSigner(at('cosign.pub'), {}));
    const missing = await asyncErrorOf(() => openSigner(at('none.key'), {}));
    expect([damaged.code, publicKey.code, missing.code]).toEqual([
      'KEY_UNSUPPORTED',
      'CONFIG_INVALID',
      'FILE_UNREADABLE',
    ]);
    expect(publicKey.detail).toBe(`${at('cosign.pub')} is a public key; what signs is the private one.`);
    expect(String(damaged.stack)).not.toContain(rest[2]);
  });
});
