import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parsePublicKeys } from '../../../activities/sigstore/keys.ts';
import { verifyBundle } from '../../../activities/sigstore/verify-signature.ts';
import { verifyFile } from '../../../client/cli/verify.ts';
import { generateKeyPair, signWpk } from '../../../client/sign.ts';
import { findProgram } from '../../../dev/programs.ts';
import { devSettings } from '../../../dev/settings.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { buildWpk, toBytes } from '../../support/wpk.ts';

const run = promisify(execFile);

describe('the real cosign and this project', () => {
  const payload = toBytes(buildWpk());
  let folder = '';
  let cosign = '';
  const at = (name: string) => join(folder, name);
  const call = (...args: string[]) => run(cosign, args, { cwd: folder, env: { ...process.env, COSIGN_PASSWORD: '' } });
  const signBlob = (key: string, bundle: string) =>
    call(
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
    call('verify-blob', '--key', key, '--bundle', bundle, '--insecure-ignore-tlog', file);

  beforeAll(async () => {
    const settings = devSettings(process.env);
    cosign = await findProgram('cosign', {
      settings,
      onProgress: (part, message) => console.error(`${part}: ${message}`),
    });
    folder = await mkdtemp(join(tmpdir(), 'byoc-cosign-'));
    await writeFile(at('a.wpk.json'), payload);
    await call('generate-key-pair');
  }, 900_000); // it is built here where it is not in the cache yet
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('what cosign signs is accepted', async () => {
    await signBlob('cosign.key', 'a.sigstore.json');
    const keys = parsePublicKeys(await readFile(at('cosign.pub'), 'utf8'), 'cosign.pub');
    const bundle: unknown = JSON.parse(await readFile(at('a.sigstore.json'), 'utf8'));
    expect(verifyBundle({ payload, bundle, keys, now: new Date() }).keyName).toBe('cosign.pub');
  });

  it('what cosign signs on P-384 is accepted', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    await writeFile(at('large.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await call('import-key-pair', '--key', 'large.pem', '--output-key-prefix', 'large');
    await signBlob('large.key', 'large.sigstore.json');
    const keys = parsePublicKeys(await readFile(at('large.pub'), 'utf8'), 'large.pub');
    const bundle: unknown = JSON.parse(await readFile(at('large.sigstore.json'), 'utf8'));
    expect(verifyBundle({ payload, bundle, keys, now: new Date() }).keyName).toBe('large.pub');
  });

  it('what this project signs is verified by cosign, and refused by it once changed', async () => {
    const pair = generateKeyPair();
    await writeFile(at('ours.pub'), pair.publicKeyPem);
    await writeFile(at('ours.sigstore.json'), JSON.stringify(signWpk(payload, pair.privateKeyPem)));
    await writeFile(at('changed.json'), Buffer.concat([payload, Buffer.from(' ')]));
    const { stderr } = await verifyBlob('ours.pub', 'ours.sigstore.json', 'a.wpk.json');
    expect(stderr).toContain('Verified OK');
    await expect(verifyBlob('ours.pub', 'ours.sigstore.json', 'changed.json')).rejects.toThrow();
  });

  it('byoc verify says of files what cosign says of them', async () => {
    await signBlob('cosign.key', 'b.sigstore.json');
    await writeFile(at('changed.json'), Buffer.concat([payload, Buffer.from(' ')]));
    const options = { key: [at('cosign.pub')], bundle: at('b.sigstore.json') };
    expect((await verifyFile(at('a.wpk.json'), options)).keyName).toBe(at('cosign.pub'));
    expect((await asyncErrorOf(() => verifyFile(at('changed.json'), options))).code).toBe('SIGNATURE_INVALID');
    const missing = await asyncErrorOf(() => verifyFile(at('none.json'), options));
    expect([missing.code, missing.traits.exitCode]).toEqual(['FILE_UNREADABLE', 2]);
  });
});
