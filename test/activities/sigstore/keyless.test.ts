import { createHash, sign } from 'node:crypto';
import { beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { TrustedIdentity } from '../../../activities/sigstore/certificate.ts';
import { parsePublicKeys } from '../../../activities/sigstore/keys.ts';
import { parseTrustedRoot } from '../../../activities/sigstore/trusted-root.ts';
import type { TrustedRoot } from '../../../activities/sigstore/trusted-root.ts';
import { verifyBundle } from '../../../activities/sigstore/verify-signature.ts';
import { generateKeyPair, signWpk } from '../../../client/sign.ts';
import { ConnectorError } from '../../../domain/errors.ts';
import { errorOf } from '../../support/expect-code.ts';
import { replaced } from '../../support/json.ts';
import { Authorities, IDENTITY, ISSUER } from '../../support/sigstore.ts';
import type { CertificateOptions, KeylessOptions, MessageBundle } from '../../support/sigstore.ts';

const MINUTE_MS = 60_000;
const payload = new TextEncoder().encode('{"kind":"WorkPackage"}');

let authorities: Authorities;
let trustedRoot: TrustedRoot;
let good: MessageBundle;
beforeAll(async () => {
  authorities = await Authorities.create();
  trustedRoot = parseTrustedRoot(authorities.trustedRoot(), 'root');
  good = await authorities.signKeyless(payload);
});

interface Changes {
  readonly payload?: Uint8Array;
  readonly root?: TrustedRoot;
  readonly identities?: readonly TrustedIdentity[];
}
const verify = (bundle: unknown, { root, identities, ...changes }: Changes = {}) =>
  verifyBundle({
    payload,
    bundle,
    keys: [],
    now: new Date(),
    keyless: {
      trustedRoot: root ?? trustedRoot,
      identities: identities ?? [
        { identity: 'alice@example.com', issuer: ISSUER },
        { identity: IDENTITY, issuer: ISSUER },
      ],
    },
    ...changes,
  });
const codeOf = (bundle: unknown, changes?: Changes) => errorOf(() => verify(bundle, changes)).code;
const detailOf = (bundle: unknown, changes?: Changes) => errorOf(() => verify(bundle, changes)).detail;
const signed = (options: KeylessOptions) => authorities.signKeyless(payload, options);
const entryPath = (...path: string[]) => ['verificationMaterial', 'tlogEntries', '0', ...path];
const minutesFromNow = (minutes: number) => new Date(Date.now() + minutes * MINUTE_MS);

describe('a keyless signature by a trusted identity', () => {
  it('is accepted, and named by the identity and its issuer', () => {
    expect(verify(good)).toEqual({
      ...{ keyName: IDENTITY, identity: IDENTITY, issuer: ISSUER },
      fingerprint: expect.any(String),
    });
  });

  it('is accepted with a timestamp beside the entry of the log', async () => {
    expect(verify(await signed({ timestamped: true })).keyName).toBe(IDENTITY);
  });

  it('is accepted with a timestamp alone where the trusted root names no log', async () => {
    const root = parseTrustedRoot(authorities.trustedRoot({ tlogs: [] }), 'root');
    expect(verify(await signed({ logged: false, timestamped: true }), { root }).keyName).toBe(IDENTITY);
  });

  it('is accepted long after the certificate has expired, for it was valid when the log saw it', async () => {
    const bundle = await signed({ issuedAt: minutesFromNow(60), loggedAt: minutesFromNow(69) });
    expect(verify(bundle).keyName).toBe(IDENTITY);
  });

  it('is refused without a trusted root, as any signature by a certificate', () => {
    const error = errorOf(() => verifyBundle({ payload, bundle: good, keys: [], now: new Date() }));
    expect(error.code).toBe('BUNDLE_TYPE_UNSUPPORTED');
  });
});

describe('a keyless signature by an identity that is not quite the trusted one', () => {
  it.each<[string, string]>([
    ['another', 'https://github.com/mallory/deploy/.github/workflows/release.yml@refs/heads/main'],
    ['a longer one', `${IDENTITY}-2`],
    ['a shorter one', IDENTITY.slice(0, -1)],
    ['one with more before it', `https://evil.example/${IDENTITY}`],
    ['one in another case', IDENTITY.replace('acme', 'ACME')],
    ['one that a dot of a pattern would match', IDENTITY.replace('github.com', 'githubxcom')],
    ['one with a space behind it', `${IDENTITY} `],
    ['one that holds both, with a comma', `${IDENTITY}, URI:${IDENTITY}`],
  ])('is IDENTITY_UNTRUSTED for %s', async (_what, identity) => {
    expect(codeOf(await signed({ identity }))).toBe('IDENTITY_UNTRUSTED');
  });

  it.each(['https://accounts.google.com', `${ISSUER}/`, `${ISSUER}.evil.example`, ISSUER.toUpperCase()])(
    'is IDENTITY_UNTRUSTED for the trusted identity by the issuer %s',
    async (issuer) => {
      expect(codeOf(await signed({ issuer }))).toBe('IDENTITY_UNTRUSTED');
    },
  );

  it('is IDENTITY_UNTRUSTED where the policy holds a pattern that would match it, and where it names nobody', () => {
    expect(codeOf(good, { identities: [{ identity: '.*', issuer: '.*' }] })).toBe('IDENTITY_UNTRUSTED');
    expect(codeOf(good, { identities: [{ identity: 'https://github.com/acme/', issuer: ISSUER }] })).toBe(
      'IDENTITY_UNTRUSTED',
    );
    expect(codeOf(good, { identities: [] })).toBe('IDENTITY_UNTRUSTED');
  });

  it('is IDENTITY_UNTRUSTED where identity and issuer are trusted, but not together', () => {
    const identities = [
      { identity: IDENTITY, issuer: 'https://accounts.google.com' },
      { identity: 'alice@example.com', issuer: ISSUER },
    ];
    expect(codeOf(good, { identities })).toBe('IDENTITY_UNTRUSTED');
    expect(detailOf(good, { identities })).toContain(IDENTITY);
  });
});

describe('a keyless signature whose certificate must not count', () => {
  it('is CERTIFICATE_UNTRUSTED where it had expired, or was not valid yet, when the log saw it', async () => {
    for (const [issued, logged] of [
      [60, 71],
      [60, 59],
    ] as const) {
      const bundle = await signed({ issuedAt: minutesFromNow(issued), loggedAt: minutesFromNow(logged) });
      expect(codeOf(bundle)).toBe('CERTIFICATE_UNTRUSTED');
    }
  });

  it('is refused where certificate, log and timestamps are those of another Sigstore', async () => {
    const others = await Authorities.create();
    expect(codeOf(await others.signKeyless(payload))).toBe('CERTIFICATE_UNTRUSTED');
    const { tlogs } = JSON.parse(others.trustedRoot());
    const root = parseTrustedRoot(authorities.trustedRoot({ tlogs }), 'root');
    expect(codeOf(good, { root })).toBe('LOG_ENTRY_INVALID');
  });

  it('is CERTIFICATE_UNTRUSTED where no log of certificates promised it, if the trusted root names one', async () => {
    expect(codeOf(await signed({ certificate: (key) => authorities.certificate(key, {}) }))).toBe(
      'CERTIFICATE_UNTRUSTED',
    );
  });

  describe('by an authority that issues others too, and logs none', () => {
    const verifyIssued = async (options: CertificateOptions) => {
      const root = parseTrustedRoot(authorities.trustedRoot({ ctlogs: [] }), 'root');
      const bundle = await signed({ certificate: (key) => authorities.certificate(key, options) });
      return () => verify(bundle, { root });
    };

    it('counts for one e-mail address', async () => {
      const issued = await verifyIssued({ names: [{ type: 'email', value: 'alice@example.com' }] });
      expect(issued().keyName).toBe('alice@example.com');
    });

    it.each<[string, CertificateOptions, string]>([
      ['is CERTIFICATE_UNTRUSTED for a server', { usages: ['1.3.6.1.5.5.7.3.1'] }, 'CERTIFICATE_UNTRUSTED'],
      ['is CERTIFICATE_UNTRUSTED for an authority', { isCa: true }, 'CERTIFICATE_UNTRUSTED'],
      [
        'is IDENTITY_UNTRUSTED for two names, of which one is trusted',
        {
          names: [
            { type: 'url', value: IDENTITY },
            { type: 'email', value: 'mallory@example.com' },
          ],
        },
        'IDENTITY_UNTRUSTED',
      ],
      [
        'is IDENTITY_UNTRUSTED for a host',
        { names: [{ type: 'dns', value: 'alice@example.com' }] },
        'IDENTITY_UNTRUSTED',
      ],
    ])('%s', async (_what, options, code) => {
      expect(errorOf(await verifyIssued(options)).code).toBe(code);
    });
  });
});

describe('a keyless signature whose evidence does not hold', () => {
  it('is LOG_ENTRY_INVALID without an entry of the log, with a timestamp and without', async () => {
    expect(codeOf(await signed({ logged: false }))).toBe('LOG_ENTRY_INVALID');
    expect(codeOf(await signed({ logged: false, timestamped: true }))).toBe('LOG_ENTRY_INVALID');
  });

  it('is LOG_ENTRY_INVALID with the entry of another signature, or of another payload', async () => {
    const other = await signed({});
    const entries = (from: MessageBundle) => (from.verificationMaterial as { tlogEntries: unknown[] }).tlogEntries;
    const material = { ...good.verificationMaterial, tlogEntries: entries(other) };
    expect(codeOf({ ...good, verificationMaterial: material })).toBe('LOG_ENTRY_INVALID');
    const signature = Buffer.from(good.messageSignature.signature, 'base64');
    const entry = await authorities.logEntry(Buffer.from('something else'), signature, '');
    expect(codeOf(replaced(good, entryPath(), entry))).toBe('LOG_ENTRY_INVALID');
  });

  it('is LOG_ENTRY_INVALID where one entry holds and another does not', async () => {
    const entry = await authorities.logEntry(Buffer.from('something else'), Buffer.from('of somebody else'), '');
    const { tlogEntries, ...rest } = good.verificationMaterial as { tlogEntries: unknown[] };
    const verificationMaterial = { ...rest, tlogEntries: [...tlogEntries, entry] };
    expect(codeOf({ ...good, verificationMaterial })).toBe('LOG_ENTRY_INVALID');
    const twice = { ...rest, tlogEntries: [...tlogEntries, ...tlogEntries] };
    expect(codeOf({ ...good, verificationMaterial: twice })).toBe('LOG_ENTRY_INVALID');
  });

  it.each<[string, string[], unknown]>([
    ['the promise', ['inclusionPromise', 'signedEntryTimestamp'], 'AAAA'],
    [
      'the root hash in the checkpoint',
      ['inclusionProof', 'checkpoint', 'envelope'],
      'rekor.sigstore.dev - 1\n1\nAAAA\n\n— rekor.sigstore.dev AAAAAAAA\n',
    ],
    ['the hashes', ['inclusionProof', 'hashes'], [Buffer.alloc(32).toString('base64')]],
    ['the index', ['inclusionProof', 'logIndex'], '7'],
    ['the log', ['logId', 'keyId'], Buffer.alloc(32).toString('base64')],
    ['the kind', ['kindVersion', 'kind'], 'dsse'],
    ['the body', ['canonicalizedBody'], Buffer.from('{}').toString('base64')],
  ])('is LOG_ENTRY_INVALID once %s in its entry is another', (_what, path, value) => {
    expect(codeOf(replaced(good, entryPath(...path), value))).toBe('LOG_ENTRY_INVALID');
  });

  it('is LOG_ENTRY_INVALID once its entry names another time, at which the certificate was valid too', () => {
    const path = entryPath('integratedTime');
    const later = String(Number(partOf(good, path)) + 60);
    expect(codeOf(replaced(good, path, later))).toBe('LOG_ENTRY_INVALID');
  });

  it('is LOG_ENTRY_INVALID without the signature of the log on its time, which alone proves when it was', () => {
    expect(codeOf(replaced(good, entryPath('inclusionPromise'), null))).toBe('LOG_ENTRY_INVALID');
  });

  it('is LOG_ENTRY_INVALID with the timestamp of another signature, although its entry holds', async () => {
    const stamped = await signed({ timestamped: true });
    const { timestampVerificationData } = stamped.verificationMaterial as { timestampVerificationData: unknown };
    const verificationMaterial = { ...good.verificationMaterial, timestampVerificationData };
    expect(codeOf({ ...good, verificationMaterial })).toBe('LOG_ENTRY_INVALID');
  });

  it('is SIGNATURE_INVALID for any bit of the payload that is not as it was', () => {
    for (let bit = 0; bit < payload.length * 8; bit += 1) {
      const changed = payload.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(codeOf(good, { payload: changed })).toBe('SIGNATURE_INVALID');
    }
  });

  it('is SIGNATURE_INVALID where the bundle names another digest than the key of the certificate demands', () => {
    const digest = createHash('sha512').update(payload).digest('base64');
    const bundle = replaced(good, ['messageSignature', 'messageDigest'], { algorithm: 'SHA2_512', digest });
    expect(codeOf(bundle)).toBe('SIGNATURE_INVALID');
  });
});

describe('a signature by a key, with an entry of a log', () => {
  const alice = generateKeyPair();
  const keys = parsePublicKeys(alice.publicKeyPem, 'alice');
  const bundle = signWpk(payload, alice.privateKeyPem);
  const signature = Buffer.from(bundle.messageSignature.signature, 'base64');
  const withEntry = (entry: unknown) => ({
    ...bundle,
    verificationMaterial: { ...bundle.verificationMaterial, tlogEntries: [entry] },
  });
  const verifyLogged = (entry: unknown, root?: TrustedRoot) =>
    verifyBundle({
      payload,
      bundle: withEntry(entry),
      keys,
      now: new Date(),
      ...(root && { keyless: { trustedRoot: root, identities: [] } }),
    });

  it('is accepted where the entry holds', async () => {
    const entry = await authorities.logEntry(payload, signature, alice.publicKeyPem);
    expect(verifyLogged(entry, trustedRoot).keyName).toBe('alice');
  });

  it('is refused without a trusted root: what cannot be verified is not skipped', async () => {
    const entry = await authorities.logEntry(payload, signature, alice.publicKeyPem);
    expect(errorOf(() => verifyLogged(entry)).code).toBe('BUNDLE_TYPE_UNSUPPORTED');
  });

  it('is LOG_ENTRY_INVALID where the entry is of another signature by the same key, or by another log', async () => {
    const another = await authorities.logEntry(
      payload,
      sign('sha256', payload, alice.privateKeyPem),
      alice.publicKeyPem,
    );
    expect(errorOf(() => verifyLogged(another, trustedRoot)).code).toBe('LOG_ENTRY_INVALID');
    const elsewhere = await (await Authorities.create()).logEntry(payload, signature, alice.publicKeyPem);
    expect(errorOf(() => verifyLogged(elsewhere, trustedRoot)).code).toBe('LOG_ENTRY_INVALID');
  });

  it('is accepted without an entry, too, for a key proves itself', () => {
    const keyless = { trustedRoot, identities: [] };
    expect(verifyBundle({ payload, bundle, keys, now: new Date(), keyless }).keyName).toBe('alice');
  });
});

describe('a keyless bundle that is not what it must be', () => {
  it.each<[string, string[], unknown]>([
    ['a certificate that is none', ['verificationMaterial', 'certificate', 'rawBytes'], 'AAAA'],
    ['a certificate of 1 MiB', ['verificationMaterial', 'certificate', 'rawBytes'], 'A'.repeat(1_048_576)],
    ['a key as well', ['verificationMaterial', 'publicKey'], { hint: '' }],
    ['five entries', ['verificationMaterial', 'tlogEntries'], Array.from({ length: 5 }, () => ({}))],
    ['an entry without its proof', entryPath('inclusionProof'), undefined],
    ['an unknown field in an entry', entryPath('verified'), true],
  ])('is BUNDLE_MALFORMED with %s', (_what, path, value) => {
    expect(codeOf(replaced(good, path, value))).toBe('BUNDLE_MALFORMED');
  });

  it('is BUNDLE_TYPE_UNSUPPORTED with a chain of certificates', () => {
    const path = ['verificationMaterial', 'x509CertificateChain'];
    expect(codeOf(replaced(good, path, { certificates: [] }))).toBe('BUNDLE_TYPE_UNSUPPORTED');
  });

  it('is refused with a ConnectorError, whichever byte of its certificate or entry is another', () => {
    const paths = [
      ['verificationMaterial', 'certificate', 'rawBytes'],
      entryPath('canonicalizedBody'),
      entryPath('inclusionPromise', 'signedEntryTimestamp'),
    ];
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.nat(), byteChange, (path, position, change) => {
        expect(refusalOf(withByteChanged(good, path, position, change))).toBeInstanceOf(ConnectorError);
      }),
      { numRuns: 150 },
    );
  });

  it('ends with a ConnectorError if with any, whichever byte of its timestamp is another: the wrapping is not signed', async () => {
    const bundle = await signed({ timestamped: true });
    const path = ['verificationMaterial', 'timestampVerificationData', 'rfc3161Timestamps', '0', 'signedTimestamp'];
    fc.assert(
      fc.property(fc.nat(), byteChange, (position, change) => {
        try {
          verify(withByteChanged(bundle, path, position, change));
        } catch (error) {
          expect(error).toBeInstanceOf(ConnectorError);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('is refused with a ConnectorError, whichever part of a good one is replaced by whatever JSON', () => {
    const paths = [
      ['verificationMaterial', 'certificate'],
      ['verificationMaterial', 'certificate', 'rawBytes'],
      ['verificationMaterial', 'tlogEntries'],
      ['verificationMaterial', 'timestampVerificationData'],
      entryPath(),
      entryPath('logId'),
      entryPath('kindVersion'),
      entryPath('integratedTime'),
      entryPath('inclusionProof'),
      entryPath('inclusionProof', 'checkpoint', 'envelope'),
      entryPath('canonicalizedBody'),
      ['messageSignature', 'signature'],
    ];
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.jsonValue(), (path, value) => {
        fc.pre(!(path.at(-1) === 'timestampVerificationData' && JSON.stringify(value ?? {}) === '{}'));
        expect(refusalOf(replaced(good, path, value))).toBeInstanceOf(ConnectorError);
      }),
      { numRuns: 150 },
    );
  });

  function refusalOf(bundle: unknown): ConnectorError {
    return errorOf(() => verify(bundle));
  }
});

describe('a file that is to be the trusted root', () => {
  it.each<[string, string]>([
    ['empty', ''],
    ['no JSON', 'root'],
    ['of another kind', '{"mediaType":"application/json"}'],
    ['without any authority', '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'],
  ])('is CONFIG_INVALID where it is %s', (_what, text) => {
    expect(errorOf(() => parseTrustedRoot(text, 'root.json')).code).toBe('CONFIG_INVALID');
  });

  it.each(['tlogs', 'ctlogs', 'certificateAuthorities', 'timestampAuthorities'])(
    'is CONFIG_INVALID where one of its %s is valid since nobody says when',
    (kind) => {
      const path = kind.endsWith('logs') ? ['publicKey', 'validFor'] : ['validFor'];
      const root: unknown = JSON.parse(authorities.trustedRoot());
      for (const validFor of [undefined, {}, { end: '2030-01-01T00:00:00Z' }]) {
        const text = JSON.stringify(replaced(root, [kind, '0', ...path], validFor));
        expect(errorOf(() => parseTrustedRoot(text, 'root.json')).code).toBe('CONFIG_INVALID');
      }
    },
  );

  it('is CONFIG_INVALID where a certificate or a key in it cannot be read', () => {
    for (const changes of [
      { certificateAuthorities: [{ certChain: { certificates: [{ rawBytes: 'AAAA' }] } }] },
      { certificateAuthorities: [{}] },
      { tlogs: [{ publicKey: { rawBytes: 'AAAA' }, logId: { keyId: 'AAAA' } }] },
    ]) {
      expect(errorOf(() => parseTrustedRoot(authorities.trustedRoot(changes), 'root.json')).code).toBe(
        'CONFIG_INVALID',
      );
    }
  });
});

const byteChange = fc.integer({ min: 1, max: 255 });

/** A copy in which one byte of a part in base64 is another. */
function withByteChanged(bundle: unknown, path: readonly string[], position: number, change: number): unknown {
  const bytes = Buffer.from(String(partOf(bundle, path)), 'base64');
  const at = position % bytes.length;
  bytes[at] = (bytes[at] ?? 0) ^ change;
  return replaced(bundle, path, bytes.toString('base64'));
}

function partOf(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], value);
}
