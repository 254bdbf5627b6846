import { execFile } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { verifyFile } from '../../../client/cli/verify.ts';
import type { VerifyOptions } from '../../../client/cli/verify.ts';
import { generateKeyPair, signWpk } from '../../../client/sign.ts';
import { Cosign, COSIGN_TIMEOUT_MS } from '../../support/cosign.ts';
import { asyncErrorOf } from '../../support/expect-code.ts';
import { Authorities, IDENTITY, ISSUER } from '../../support/sigstore.ts';
import type { KeylessOptions } from '../../support/sigstore.ts';

const BYOC = new URL('../../../client/cli/main.ts', import.meta.url).pathname;
const payload = Buffer.from('{"kind":"WorkPackage"}');
const minutesFromNow = (minutes: number) => new Date(Date.now() + minutes * 60_000);

describe('byoc verify and the real cosign, of a Sigstore with its own trusted root', () => {
  let cosign: Cosign;
  let authorities: Authorities;
  const at = (name: string) => cosign.at(name);
  const keyless = (bundle: string): VerifyOptions => ({
    bundle: at(bundle),
    trustedRoot: at('root.json'),
    certificateIdentity: IDENTITY,
    certificateOidcIssuer: ISSUER,
  });
  const cosignAccepts = (bundle: string, ...by: string[]) =>
    cosign.accepts('verify-blob', '--bundle', bundle, '--trusted-root', 'root.json', ...by, 'a.wpk.json');
  const byIdentity = ['--certificate-identity', IDENTITY, '--certificate-oidc-issuer', ISSUER];
  const refusal = async (options: VerifyOptions) =>
    (await asyncErrorOf(() => verifyFile(at('a.wpk.json'), options))).code;

  beforeAll(async () => {
    [cosign, authorities] = await Promise.all([Cosign.open(), Authorities.create()]);
    await cosign.write('a.wpk.json', payload);
    await cosign.write('root.json', authorities.trustedRoot());
  }, COSIGN_TIMEOUT_MS);
  afterAll(() => cosign.remove());

  it.each<[string, KeylessOptions]>([
    ['an entry of the log', {}],
    ['an entry of the log and a timestamp', { timestamped: true }],
  ])('both accept a keyless bundle with %s', async (_what, options) => {
    await cosign.write('good.json', JSON.stringify(await authorities.signKeyless(payload, options)));
    expect(await cosignAccepts('good.json', ...byIdentity)).toBe(true);
    expect((await verifyFile(at('a.wpk.json'), keyless('good.json'))).keyName).toBe(IDENTITY);
  });

  it.each<[string, () => KeylessOptions, string]>([
    ['by another identity', () => ({ identity: `${IDENTITY}x` }), 'IDENTITY_UNTRUSTED'],
    ['by another issuer', () => ({ issuer: `${ISSUER}/` }), 'IDENTITY_UNTRUSTED'],
    ['without an entry of the log', () => ({ logged: false }), 'LOG_ENTRY_INVALID'],
    [
      'by a certificate that had expired',
      () => ({ issuedAt: minutesFromNow(60), loggedAt: minutesFromNow(71) }),
      'CERTIFICATE_UNTRUSTED',
    ],
    [
      'by a certificate that no log of certificates knows',
      () => ({ certificate: (key) => authorities.certificate(key, {}) }),
      'CERTIFICATE_UNTRUSTED',
    ],
  ])('both refuse a keyless bundle %s', async (_what, options, code) => {
    await cosign.write('bad.json', JSON.stringify(await authorities.signKeyless(payload, options())));
    expect(await cosignAccepts('bad.json', ...byIdentity)).toBe(false);
    expect(await refusal(keyless('bad.json'))).toBe(code);
  });

  it('both accept a bundle by a key whose entry of the log holds, and refuse one whose entry is of another signature', async () => {
    const { publicKeyPem, privateKeyPem } = generateKeyPair();
    await cosign.write('alice.pub', publicKeyPem);
    const [bundle, other] = [signWpk(payload, privateKeyPem), signWpk(payload, privateKeyPem)];
    for (const [name, entryOf] of [
      ['logged.json', bundle],
      ['mixed.json', other],
    ] as const) {
      const signature = Buffer.from(entryOf.messageSignature.signature, 'base64');
      const tlogEntries = [await authorities.logEntry(payload, signature, publicKeyPem)];
      const verificationMaterial = { ...bundle.verificationMaterial, tlogEntries };
      await cosign.write(name, JSON.stringify({ ...bundle, verificationMaterial }));
    }
    const options = (name: string) => ({ bundle: at(name), key: [at('alice.pub')], trustedRoot: at('root.json') });
    expect(await cosignAccepts('logged.json', '--key', 'alice.pub')).toBe(true);
    expect((await verifyFile(at('a.wpk.json'), options('logged.json'))).keyName).toBe(at('alice.pub'));
    expect(await cosignAccepts('mixed.json', '--key', 'alice.pub')).toBe(false);
    expect(await refusal(options('mixed.json'))).toBe('LOG_ENTRY_INVALID');
  });

  it('both accept a keyless bundle by a trusted root that cosign itself made', async () => {
    const { tlogs, ctlogs, certificateAuthorities, timestampAuthorities } = JSON.parse(authorities.trustedRoot());
    const chain = ({ certChain }: { certChain: { certificates: { rawBytes: string }[] } }) =>
      certChain.certificates.map(({ rawBytes }) => pem('CERTIFICATE', rawBytes)).join('');
    await cosign.write('ca.pem', chain(certificateAuthorities[0]));
    await cosign.write('tsa.pem', chain(timestampAuthorities[0]));
    await cosign.write('log.pub', pem('PUBLIC KEY', tlogs[0].publicKey.rawBytes));
    await cosign.write('ct.pub', pem('PUBLIC KEY', ctlogs[0].publicKey.rawBytes));
    await cosign.call(
      ...[
        'trusted-root',
        'create',
        '--no-default-fulcio',
        '--no-default-rekor',
        '--no-default-ctfe',
        '--no-default-tsa',
      ],
      `--fulcio=url=https://fulcio.sigstore.dev,certificate-chain=ca.pem`,
      `--rekor=url=${tlogs[0].baseUrl},public-key=log.pub,start-time=2024-01-01T00:00:00Z`,
      `--ctfe=url=${ctlogs[0].baseUrl},public-key=ct.pub,start-time=2024-01-01T00:00:00Z`,
      `--tsa=url=https://timestamp.sigstore.dev/api/v1/timestamp,certificate-chain=tsa.pem`,
      ...['--out', 'made.json'],
    );
    await cosign.write('good.json', JSON.stringify(await authorities.signKeyless(payload, { timestamped: true })));
    const by = ['--bundle', 'good.json', '--trusted-root', 'made.json', ...byIdentity];
    expect(await cosign.accepts('verify-blob', ...by, 'a.wpk.json')).toBe(true);
    const options = { ...keyless('good.json'), trustedRoot: at('made.json') };
    expect((await verifyFile(at('a.wpk.json'), options)).keyName).toBe(IDENTITY);
  });

  it('the command says who signed and ends with 0, 1 for no, and 2 for what it was not asked rightly', async () => {
    await cosign.write('good.json', JSON.stringify(await authorities.signKeyless(payload)));
    const verify = (...by: string[]) =>
      byoc('verify', '--bundle', at('good.json'), '--trusted-root', at('root.json'), ...by, at('a.wpk.json'));
    const good = await verify(...byIdentity);
    expect([good.code, good.stderr]).toEqual([0, 'Verified OK\n']);
    expect(good.stdout).toMatch(new RegExp(`^[A-Za-z0-9+/=]{44} ${IDENTITY} \\(${ISSUER}\\)\\n$`));
    const other = await verify('--certificate-identity', 'mallory', '--certificate-oidc-issuer', ISSUER);
    expect([other.code, other.stdout]).toEqual([1, '']);
    expect(other.stderr).toContain('byoc: IDENTITY_UNTRUSTED');
    expect((await verify('--certificate-identity', IDENTITY)).code).toBe(2);
  });

  it.each<[string, Partial<VerifyOptions>, string]>([
    ['neither key nor identity', {}, 'USAGE'],
    ['an identity without its issuer', { certificateIdentity: IDENTITY, trustedRoot: 'root.json' }, 'USAGE'],
    ['an issuer without an identity', { certificateOidcIssuer: ISSUER, trustedRoot: 'root.json' }, 'USAGE'],
    ['an identity without a trusted root', { certificateIdentity: IDENTITY, certificateOidcIssuer: ISSUER }, 'USAGE'],
    ['both a key and an identity', { key: ['alice.pub'], certificateIdentity: IDENTITY }, 'USAGE'],
    ['a trusted root that is not there', rootedIn('none.json'), 'FILE_UNREADABLE'],
    ['a trusted root that is none', rootedIn(BYOC), 'CONFIG_INVALID'],
  ])('the command refuses %s as a mistake of whoever asks', async (_what, options, code) => {
    const error = await asyncErrorOf(() => verifyFile(at('a.wpk.json'), { bundle: at('a.wpk.json'), ...options }));
    expect([error.code, error.traits.exitCode]).toEqual([code, 2]);
  });
});

function rootedIn(trustedRoot: string): Partial<VerifyOptions> {
  return { trustedRoot, certificateIdentity: IDENTITY, certificateOidcIssuer: ISSUER };
}

function pem(label: string, base64: string): string {
  return `-----BEGIN ${label}-----\n${base64.replace(/.{64}/g, '$&\n')}\n-----END ${label}-----\n`;
}

function byoc(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [BYOC, ...args], { env: { PATH: process.env['PATH'] } }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}
