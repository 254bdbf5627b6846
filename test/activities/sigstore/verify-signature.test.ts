import { createHash, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { TrustedKey } from '../../../activities/sigstore/keys.ts';
import { parsePublicKeys } from '../../../activities/sigstore/keys.ts';
import { verifyBundle } from '../../../activities/sigstore/verify-signature.ts';
import type { VerifyBundleInput } from '../../../activities/sigstore/verify-signature.ts';
import { generateKeyPair, signWpk } from '../../../client/sign.ts';
import { ConnectorError } from '../../../domain/errors.ts';
import { errorOf } from '../../support/expect-code.ts';
import { replaced } from '../../support/json.ts';
import { describeVectors } from '../../support/vectors.ts';
import { vectorsAt } from '../../support/vectors-at.ts';

const NOW = new Date('2026-01-31T12:00:00Z');
const BEFORE = new Date('2026-01-31T11:59:59Z');
const AFTER = new Date('2026-01-31T12:00:01Z');

const alice = generateKeyPair();
const bob = generateKeyPair();
const trusted = (pem: string, name = 'alice', extra: Partial<TrustedKey> = {}): TrustedKey => {
  const [key] = parsePublicKeys(pem, name);
  if (!key) throw new Error('no key');
  return { ...key, ...extra };
};
const aliceKey = trusted(alice.publicKeyPem);
const bobKey = trusted(bob.publicKeyPem, 'bob');

const payload = new TextEncoder().encode('{"kind":"WorkPackage"}');
const bundle = signWpk(payload, alice.privateKeyPem);
const withoutHint = { ...bundle, verificationMaterial: { publicKey: {} } };
const withHint = (hint: unknown) => ({ ...bundle, verificationMaterial: { publicKey: { hint } } });
const withMaterial = (material: object) => ({
  ...bundle,
  verificationMaterial: { ...bundle.verificationMaterial, ...material },
});

const verify = (changes: Partial<VerifyBundleInput> = {}) =>
  verifyBundle({ payload, bundle, keys: [bobKey, aliceKey], now: NOW, ...changes });
const codeOf = (changes: Parameters<typeof verify>[0]) => errorOf(() => verify(changes)).code;

describe('a signature by a trusted key', () => {
  it('is accepted, and named by its key', () => {
    expect(verify()).toEqual({ keyName: 'alice', fingerprint: aliceKey.fingerprint });
  });

  it('is accepted without a hint, whichever of the keys made it', () => {
    expect(verify({ bundle: withoutHint }).keyName).toBe('alice');
    expect(verify({ bundle: withHint('') }).keyName).toBe('alice');
  });

  it('is accepted on P-384, with SHA-384', () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const signed = signWpk(payload, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
    const key = trusted(pair.publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'large');
    expect(signed.messageSignature.messageDigest.algorithm).toBe('SHA2_384');
    expect(verify({ bundle: signed, keys: [key] }).keyName).toBe('large');
  });

  it('is accepted where it is pinned', () => {
    expect(verify({ pinnedKeys: [bobKey.fingerprint, aliceKey.fingerprint] }).keyName).toBe('alice');
  });

  it('is accepted where the key is listed twice and one entry is over: a key may be given a longer life that way', () => {
    const keys = [{ ...aliceKey, name: 'old', notAfter: BEFORE }, aliceKey];
    expect(verify({ keys }).keyName).toBe('alice');
  });

  it('is accepted from the first to the last moment of the key', () => {
    expect(verify({ keys: [{ ...aliceKey, notBefore: NOW, notAfter: NOW }] }).keyName).toBe('alice');
  });
});

describe('a signature that must not count', () => {
  it('is SIGNATURE_INVALID for any bit of the payload that is not as it was', () => {
    for (let bit = 0; bit < payload.length * 8; bit += 1) {
      const changed = payload.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(codeOf({ payload: changed })).toBe('SIGNATURE_INVALID');
      expect(codeOf({ payload: changed, bundle: withDigestOf(changed) })).toBe('SIGNATURE_INVALID');
    }
  });

  it('is SIGNATURE_INVALID for any bit of the signature that is not as it was', () => {
    const signature = Buffer.from(bundle.messageSignature.signature, 'base64');
    for (let bit = 0; bit < signature.length * 8; bit += 1) {
      const changed = Buffer.from(signature);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const messageSignature = { ...bundle.messageSignature, signature: changed.toString('base64') };
      expect(codeOf({ bundle: { ...bundle, messageSignature } })).toBe('SIGNATURE_INVALID');
    }
  });

  it('is SIGNATURE_INVALID when the bundle holds the digest of something else, as it is to cosign', () => {
    const digest = createHash('sha256').update('something else').digest('base64');
    const messageSignature = { ...bundle.messageSignature, messageDigest: { algorithm: 'SHA2_256', digest } };
    expect(codeOf({ bundle: { ...bundle, messageSignature } })).toBe('SIGNATURE_INVALID');
  });

  it('is SIGNATURE_INVALID when the hint names another key than the one that signed', () => {
    expect(codeOf({ bundle: withHint(bobKey.fingerprint) })).toBe('SIGNATURE_INVALID');
  });

  it('is SIGNATURE_INVALID when the bundle names another digest than the key demands, however right it is', () => {
    const signature = sign('sha512', payload, alice.privateKeyPem).toString('base64');
    for (const algorithm of ['sha256', 'sha512']) {
      const digest = createHash(algorithm).update(payload).digest('base64');
      const messageSignature = { messageDigest: { algorithm: 'SHA2_512', digest }, signature };
      expect(codeOf({ bundle: { ...bundle, messageSignature } })).toBe('SIGNATURE_INVALID');
    }
  });

  it('is KEY_UNKNOWN by a key that is not trusted, and where none is', () => {
    expect(codeOf({ keys: [bobKey] })).toBe('KEY_UNKNOWN');
    expect(codeOf({ keys: [], bundle: withoutHint })).toBe('KEY_UNKNOWN');
  });

  it('is KEY_REVOKED by a revoked key, with hint and without, and whenever the revocation is dated', () => {
    for (const revokedAt of [BEFORE, NOW, AFTER]) {
      const keys = [{ ...aliceKey, revokedAt }];
      expect(codeOf({ keys })).toBe('KEY_REVOKED');
      expect(codeOf({ keys, bundle: withoutHint })).toBe('KEY_REVOKED');
    }
  });

  it('is KEY_REVOKED when the key is listed twice and revoked once', () => {
    expect(codeOf({ keys: [aliceKey, { ...aliceKey, name: 'old', revokedAt: BEFORE }] })).toBe('KEY_REVOKED');
  });

  it('is KEY_NOT_VALID_NOW before the key starts, after it ends, and with a date that is none', () => {
    expect(codeOf({ keys: [{ ...aliceKey, notBefore: AFTER }] })).toBe('KEY_NOT_VALID_NOW');
    expect(codeOf({ keys: [{ ...aliceKey, notAfter: BEFORE }] })).toBe('KEY_NOT_VALID_NOW');
    expect(codeOf({ keys: [{ ...aliceKey, notAfter: new Date(Number.NaN) }] })).toBe('KEY_NOT_VALID_NOW');
  });

  it('is KEY_REVOKED without a hint, too, where other keys are valid', () => {
    const keys = [{ ...aliceKey, revokedAt: BEFORE }, bobKey];
    expect(codeOf({ keys, bundle: withoutHint })).toBe('KEY_REVOKED');
  });

  it('is KEY_NOT_PINNED by a key that is trusted but not pinned, with hint and without', () => {
    for (const pinnedKeys of [[], [bobKey.fingerprint], [aliceKey.fingerprint.toLowerCase()]]) {
      expect(codeOf({ pinnedKeys })).toBe('KEY_NOT_PINNED');
      expect(codeOf({ pinnedKeys, bundle: withoutHint })).toBe('KEY_NOT_PINNED');
    }
  });

  it('is KEY_UNKNOWN by a key that is pinned but not trusted, and KEY_REVOKED by one that is pinned and revoked', () => {
    const pinnedKeys = [aliceKey.fingerprint];
    expect(codeOf({ pinnedKeys, keys: [bobKey] })).toBe('KEY_UNKNOWN');
    expect(codeOf({ pinnedKeys, keys: [{ ...aliceKey, revokedAt: BEFORE }] })).toBe('KEY_REVOKED');
  });
});

describe('a bundle that is not what it must be', () => {
  it.each<[string, unknown, string]>([
    ['nothing', undefined, 'BUNDLE_EMPTY'],
    ['null', null, 'BUNDLE_EMPTY'],
    ['an empty text', '', 'BUNDLE_EMPTY'],
    ['an empty object', {}, 'BUNDLE_EMPTY'],
    ['a text', 'bundle', 'BUNDLE_MALFORMED'],
    ['a list', [bundle], 'BUNDLE_MALFORMED'],
    ['without a media type', { ...bundle, mediaType: undefined }, 'BUNDLE_MALFORMED'],
    ['of another media type', { ...bundle, mediaType: 'application/json' }, 'BUNDLE_MALFORMED'],
    [
      'of version 0.1',
      { ...bundle, mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1' },
      'BUNDLE_VERSION_UNSUPPORTED',
    ],
    [
      'of version 0.4',
      { ...bundle, mediaType: 'application/vnd.dev.sigstore.bundle.v0.4+json' },
      'BUNDLE_VERSION_UNSUPPORTED',
    ],
    ['with a DSSE envelope', { mediaType: bundle.mediaType, dsseEnvelope: {} }, 'BUNDLE_TYPE_UNSUPPORTED'],
    ['with both kinds of content', { ...bundle, dsseEnvelope: {} }, 'BUNDLE_TYPE_UNSUPPORTED'],
    ['with a certificate', withMaterial({ certificate: { rawBytes: '' } }), 'BUNDLE_TYPE_UNSUPPORTED'],
    ['with a chain', withMaterial({ x509CertificateChain: {} }), 'BUNDLE_TYPE_UNSUPPORTED'],
    ['with a log entry', withMaterial({ tlogEntries: [{}] }), 'BUNDLE_TYPE_UNSUPPORTED'],
    [
      'with a timestamp',
      withMaterial({ timestampVerificationData: { rfc3161Timestamps: [{}] } }),
      'BUNDLE_TYPE_UNSUPPORTED',
    ],
    ['with an unknown field', { ...bundle, extra: 1 }, 'BUNDLE_MALFORMED'],
    [
      'without a signature',
      { ...bundle, messageSignature: { ...bundle.messageSignature, signature: '' } },
      'BUNDLE_MALFORMED',
    ],
    ['without verification material', { ...bundle, verificationMaterial: undefined }, 'BUNDLE_MALFORMED'],
    ['with a hint named __proto__', withHint('__proto__'), 'KEY_HINT_INVALID'],
    ['with a hint that is no text', withHint({}), 'KEY_HINT_INVALID'],
    ['with a hint of 31 bytes', withHint(Buffer.alloc(31).toString('base64')), 'KEY_HINT_INVALID'],
    ['with a hint in another form of base64', withHint(`${'A'.repeat(42)}B=`), 'KEY_HINT_INVALID'],
    ['with a hint of an unknown key', withHint(Buffer.alloc(32).toString('base64')), 'KEY_UNKNOWN'],
  ])('%s: gets its own code', (_what, given, code) => {
    expect(codeOf({ bundle: given })).toBe(code);
  });

  it('is accepted with the empty lists that other signers write', () => {
    const empty = { tlogEntries: [], timestampVerificationData: { rfc3161Timestamps: [] } };
    expect(verify({ bundle: withMaterial(empty) }).keyName).toBe('alice');
  });

  it('is refused with a ConnectorError, whatever JSON it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (given) => {
        expect(errorOf(() => verify({ bundle: given }))).toBeInstanceOf(ConnectorError);
      }),
      { numRuns: 500 },
    );
  });

  it('is refused with a ConnectorError, whichever part of a good one is replaced by whatever JSON', () => {
    const paths = [
      ['mediaType'],
      ['verificationMaterial'],
      ['verificationMaterial', 'publicKey'],
      ['verificationMaterial', 'publicKey', 'hint'],
      ['messageSignature'],
      ['messageSignature', 'messageDigest'],
      ['messageSignature', 'messageDigest', 'algorithm'],
      ['messageSignature', 'messageDigest', 'digest'],
      ['messageSignature', 'signature'],
    ];
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.jsonValue(), (path, value) => {
        fc.pre(!(path.at(-1) === 'hint' && value === '') && !(path.at(-1) === 'publicKey' && isEmpty(value)));
        expect(errorOf(() => verify({ bundle: replaced(bundle, path, value) }))).toBeInstanceOf(ConnectorError);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('public keys', () => {
  it('are read from a text with several, and named in order', () => {
    const keys = parsePublicKeys(`first\n${alice.publicKeyPem}\n${bob.publicKeyPem}`, 'COSIGN_KEY');
    expect(keys.map(({ name }) => name)).toEqual(['COSIGN_KEY', 'COSIGN_KEY#2']);
    expect(keys.map(({ fingerprint }) => fingerprint)).toEqual([aliceKey.fingerprint, bobKey.fingerprint]);
  });

  it('have one fingerprint in all their forms', () => {
    const compressed = Buffer.concat([
      Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'),
      compressedPoint(alice.publicKeyPem),
    ]);
    const pem = `-----BEGIN PUBLIC KEY-----\n${compressed.toString('base64')}\n-----END PUBLIC KEY-----\n`;
    expect(trusted(pem).fingerprint).toBe(aliceKey.fingerprint);
  });

  it('are refused when they are private, not PEM, or of another kind, without showing them', () => {
    const error = errorOf(() => parsePublicKeys(alice.privateKeyPem, 'COSIGN_KEY'));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(JSON.stringify([error.message, error.stack])).not.toContain(alice.privateKeyPem.split('\n')[1]);
    expect(errorOf(() => parsePublicKeys('', 'COSIGN_KEY')).code).toBe('CONFIG_INVALID');
    const kinds = [
      generateKeyPairSync('rsa', { modulusLength: 2048 }),
      generateKeyPairSync('ed25519'),
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
    ];
    for (const { publicKey } of kinds) {
      const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
      expect(errorOf(() => parsePublicKeys(pem, 'COSIGN_KEY')).code).toBe('KEY_UNSUPPORTED');
    }
  });

  it('of cosign that are encrypted cannot sign here, and the error says what can', () => {
    const pem = '-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n';
    expect(errorOf(() => signWpk(payload, pem)).detail).toContain('cosign sign-blob');
  });
});

interface WycheproofFile {
  readonly testGroups: readonly {
    readonly publicKeyPem: string;
    readonly tests: readonly {
      readonly tcId: number;
      readonly msg: string;
      readonly sig: string;
      readonly result: string;
    }[];
  }[];
}
const vectors = vectorsAt('wycheproof', 'ecdsa_secp256r1_sha256_test.json');

describeVectors('the published ECDSA vectors of Wycheproof', vectors, () => {
  const { testGroups }: WycheproofFile = existsSync(vectors)
    ? JSON.parse(readFileSync(vectors, 'utf8'))
    : { testGroups: [] };

  it('are accepted and refused as they say', () => {
    const wrong: number[] = [];
    let tried = 0;
    for (const { publicKeyPem, tests } of testGroups) {
      const key = trusted(publicKeyPem, 'wycheproof');
      for (const { tcId, msg, sig, result } of tests) {
        const message = Buffer.from(msg, 'hex');
        const given = signatureBundle(message, Buffer.from(sig, 'hex'), key.fingerprint);
        const accepted = isAccepted(() => verifyBundle({ payload: message, bundle: given, keys: [key], now: NOW }));
        if (accepted !== (result === 'valid')) wrong.push(tcId);
        tried += 1;
      }
    }
    expect(tried).toBeGreaterThan(400);
    expect(wrong).toEqual([]);
  });
});

function isAccepted(work: () => unknown): boolean {
  try {
    work();
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(ConnectorError);
    return false;
  }
}

function signatureBundle(message: Uint8Array, signature: Buffer, hint: string) {
  const digest = createHash('sha256').update(message).digest('base64');
  const messageSignature = {
    messageDigest: { algorithm: 'SHA2_256', digest },
    signature: signature.toString('base64'),
  };
  return { ...bundle, verificationMaterial: { publicKey: { hint } }, messageSignature };
}

function withDigestOf(changed: Uint8Array) {
  return signatureBundle(changed, Buffer.from(bundle.messageSignature.signature, 'base64'), aliceKey.fingerprint);
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0;
}

function compressedPoint(pem: string): Buffer {
  const { x = '', y = '' } = createPublicKey(pem).export({ format: 'jwk' });
  const odd = (Buffer.from(y, 'base64url').at(-1) ?? 0) & 1;
  return Buffer.concat([Buffer.from([2 + odd]), Buffer.from(x, 'base64url')]);
}
