import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parsePublicKeys } from '../../../activities/sigstore/keys.ts';
import { verifyBundle } from '../../../activities/sigstore/verify-signature.ts';
import { verifyFile } from '../../../client/cli/verify.ts';
import { generateKeyPair, signWpk } from '../../../client/sign.ts';
import { Cosign, COSIGN_TIMEOUT_MS } from '../../support/cosign.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { buildWpk, toBytes } from '../../support/wpk.ts';

describe('the real cosign and this project', () => {
  const payload = toBytes(buildWpk());
  let cosign: Cosign;
  const at = (name: string) => cosign.at(name);
  const signBlob = (key: string, bundle: string) =>
    cosign.call(
      'sign-blob',
      '--yes',
      '--key',
      key,
      '--bundle',
      bundle,
      '--use-signing-config=false',
      '--tlog-upload=false',
      'a.wpk.json',
    );
  const verifyBlob = (key: string, bundle: string, file: string) =>
    cosign.call('verify-blob', '--key', key, '--bundle', bundle, '--insecure-ignore-tlog', file);

  beforeAll(async () => {
    cosign = await Cosign.open();
    await cosign.write('a.wpk.json', payload);
    await cosign.call('generate-key-pair');
  }, COSIGN_TIMEOUT_MS);
  afterAll(() => cosign.remove());

  it('what cosign signs is accepted', async () => {
    await signBlob('cosign.key', 'a.sigstore.json');
    const keys = parsePublicKeys(await cosign.read('cosign.pub'), 'cosign.pub');
    const bundle = await cosign.readJson('a.sigstore.json');
    expect(verifyBundle({ payload, bundle, keys, now: new Date() }).keyName).toBe('cosign.pub');
  });

  it('what cosign signs on P-384 is accepted', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    await cosign.write('large.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await cosign.call('import-key-pair', '--key', 'large.pem', '--output-key-prefix', 'large');
    await signBlob('large.key', 'large.sigstore.json');
    const keys = parsePublicKeys(await cosign.read('large.pub'), 'large.pub');
    const bundle = await cosign.readJson('large.sigstore.json');
    expect(verifyBundle({ payload, bundle, keys, now: new Date() }).keyName).toBe('large.pub');
  });

  it('what this project signs is verified by cosign, and refused by it once changed', async () => {
    const pair = generateKeyPair();
    await cosign.write('ours.pub', pair.publicKeyPem);
    await cosign.write('ours.sigstore.json', JSON.stringify(signWpk(payload, pair.privateKeyPem)));
    await cosign.write('changed.json', Buffer.concat([payload, Buffer.from(' ')]));
    const { stderr } = await verifyBlob('ours.pub', 'ours.sigstore.json', 'a.wpk.json');
    expect(stderr).toContain('Verified OK');
    await expect(verifyBlob('ours.pub', 'ours.sigstore.json', 'changed.json')).rejects.toThrow();
  });

  it('byoc verify says of files what cosign says of them', async () => {
    await signBlob('cosign.key', 'b.sigstore.json');
    await cosign.write('changed.json', Buffer.concat([payload, Buffer.from(' ')]));
    const options = { key: [at('cosign.pub')], bundle: at('b.sigstore.json') };
    expect((await verifyFile(at('a.wpk.json'), options)).keyName).toBe(at('cosign.pub'));
    expect((await asyncErrorOf(() => verifyFile(at('changed.json'), options))).code).toBe('SIGNATURE_INVALID');
    const missing = await asyncErrorOf(() => verifyFile(at('none.json'), options));
    expect([missing.code, missing.traits.exitCode]).toEqual(['FILE_UNREADABLE', 2]);
  });
});
