import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parsePublicKeys } from '../../../activities/sigstore/keys.ts';
import { verifyStatement } from '../../../activities/sigstore/verify-statement.ts';
import { signStatement } from '../../../client/sign.ts';
import { openSigner } from '../../../client/signer.ts';
import { APPROVAL_TYPE } from '../../../domain/approval-statement.ts';
import { findProgram } from '../../../dev/programs.ts';
import { devSettings } from '../../../dev/settings.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { statementBytes } from '../../support/statements.ts';

const run = promisify(execFile);
const PASSWORD = 'a password that nobody may see';

describe('votes, the real cosign and this project', () => {
  const statement = statementBytes();
  let folder = '';
  let cosign = '';
  const at = (name: string) => join(folder, name);
  const call = (password: string, ...args: string[]) =>
    run(cosign, args, { cwd: folder, env: { ...process.env, COSIGN_PASSWORD: password } });
  const attest = (password: string, key: string, bundle: string) =>
    call(
      password,
      'attest-blob',
      '--yes',
      ...['--key', key, '--statement', 'vote.json', '--bundle', bundle],
      ...['--use-signing-config=false', '--tlog-upload=false'],
    );
  const verifyAttestation = (key: string, bundle: string) =>
    call(
      '',
      'verify-blob-attestation',
      ...['--key', key, '--bundle', bundle, '--insecure-ignore-tlog', '--type', APPROVAL_TYPE],
      ...['--digest', 'b'.repeat(64), '--digestAlg', 'sha256'],
    );
  async function approversWith(pub: string) {
    const keys = parsePublicKeys(await readFile(at(pub), 'utf8'), pub);
    return keys.map((key) => ({ ...key, identity: 'bob@example.com', groups: [] }));
  }
  const readBundle = async (name: string): Promise<unknown> => JSON.parse(await readFile(at(name), 'utf8'));

  beforeAll(async () => {
    const settings = devSettings(process.env);
    cosign = await findProgram('cosign', {
      settings,
      onProgress: (part, message) => console.error(`${part}: ${message}`),
    });
    folder = await mkdtemp(join(tmpdir(), 'byoc-votes-'));
    await writeFile(at('vote.json'), statement);
    await call(PASSWORD, 'generate-key-pair');
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    await writeFile(at('large.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await call('', 'import-key-pair', '--key', 'large.pem', '--output-key-prefix', 'large');
  }, 900_000); // it is built here where it is not in the cache yet
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('what cosign attests is accepted, with the statement byte for byte', async () => {
    await attest(PASSWORD, 'cosign.key', 'a.json');
    const keys = await approversWith('cosign.pub');
    const verified = verifyStatement({ statement: await readBundle('a.json'), keys, now: new Date() });
    expect(Buffer.from(verified.payload).equals(statement)).toBe(true);
  });

  it('what cosign attests by a key on P-384 is accepted', async () => {
    await attest('', 'large.key', 'large.json');
    const keys = await approversWith('large.pub');
    expect(verifyStatement({ statement: await readBundle('large.json'), keys, now: new Date() }).key.name).toBe(
      'large.pub',
    );
  });

  it('what this project signs with a key that cosign made is the same but for the signature, and cosign verifies it', async () => {
    const signer = await openSigner(at('cosign.key'), { COSIGN_PASSWORD: PASSWORD });
    expect(signer.publicKeyPem).toBe(await readFile(at('cosign.pub'), 'utf8'));
    const ours = await signStatement(statement, signer);
    await writeFile(at('ours.json'), JSON.stringify(ours));
    expect((await verifyAttestation('cosign.pub', 'ours.json')).stderr).toContain('Verified OK');
    await attest(PASSWORD, 'cosign.key', 'theirs.json');
    const signatures = [{ sig: expect.any(String) }];
    expect(await readBundle('theirs.json')).toEqual({ ...ours, dsseEnvelope: { ...ours.dsseEnvelope, signatures } });
  });

  it('cosign refuses what this project signed once another plan is in it', async () => {
    const signer = await openSigner(at('cosign.key'), { COSIGN_PASSWORD: PASSWORD });
    const bundle = await signStatement(statementBytes({ runId: 'another' }), signer);
    const { payload } = (await signStatement(statement, signer)).dsseEnvelope;
    await writeFile(
      at('changed.json'),
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

  it('a key file that is damaged, or no key, is KEY_UNSUPPORTED; one that is not there FILE_UNREADABLE', async () => {
    const pem = await readFile(at('cosign.key'), 'utf8');
    const [head = '', first = '', ...rest] = pem.split('\n');
    await writeFile(at('damaged.key'), [head, first.replace(/^..../, 'AAAA'), ...rest].join('\n'));
    const damaged = await asyncErrorOf(() => openSigner(at('damaged.key'), { COSIGN_PASSWORD: PASSWORD }));
    const publicKey = await asyncErrorOf(() => openSigner(at('cosign.pub'), {}));
    const missing = await asyncErrorOf(() => openSigner(at('none.key'), {}));
    expect([damaged.code, publicKey.code, missing.code]).toEqual([
      'KEY_UNSUPPORTED',
      'KEY_UNSUPPORTED',
      'FILE_UNREADABLE',
    ]);
    expect(String(damaged.stack)).not.toContain(rest[2]);
  });
});
