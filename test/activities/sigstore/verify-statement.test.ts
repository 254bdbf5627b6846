import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ApproverKey } from '../../../activities/sigstore/approver-keys.ts';
import { parsePublicKeys } from '../../../activities/sigstore/keys.ts';
import { verifyStatement } from '../../../activities/sigstore/verify-statement.ts';
import { generateKeyPair, signStatement } from '../../../client/sign.ts';
import { localSigner, readPrivateKey } from '../../../client/signer/local-key.ts';
import { parseApprovalStatement } from '../../../domain/approval-statement.ts';
import { preAuthEncoding } from '../../../domain/dsse.ts';
import { ConnectorError } from '../../../domain/errors.ts';
import { errorOf } from '../../support/expect-code.ts';
import { replaced } from '../../support/json.ts';
import { statementBytes } from '../../support/statements.ts';

const NOW = new Date('2026-01-31T12:00:00Z');
const BEFORE = new Date('2026-01-31T11:59:59Z');
const AFTER = new Date('2026-01-31T12:00:01Z');

const bob = generateKeyPair();
const carol = generateKeyPair();
const signerOf = ({ privateKeyPem }: { privateKeyPem: string }) => localSigner(readPrivateKey(privateKeyPem));
function approver(pem: string, identity: string): ApproverKey {
  const [key] = parsePublicKeys(pem, `${identity}'s key`);
  if (!key) throw new Error('no key');
  return { ...key, identity, groups: ['sre'] };
}
const bobKey = approver(bob.publicKeyPem, 'bob@example.com');
const carolKey = approver(carol.publicKeyPem, 'carol@example.com');

const payload = statementBytes();
const bundle = await signStatement(payload, signerOf(bob));
const envelope = bundle.dsseEnvelope;
const withoutHint = { ...bundle, verificationMaterial: { publicKey: {} } };

const verify = (changes: { statement?: unknown; keys?: readonly ApproverKey[] } = {}) =>
  verifyStatement({ statement: bundle, keys: [carolKey, bobKey], now: NOW, ...changes });
const errorFor = (changes: Parameters<typeof verify>[0]) => errorOf(() => verify(changes));
const codeOf = (changes: Parameters<typeof verify>[0]) => errorFor(changes).code;

describe('a vote signed by an approver', () => {
  it('is accepted, with whose key it was and exactly the bytes that were signed', () => {
    const verified = verify();
    expect(verified.key).toBe(bobKey);
    expect(Buffer.from(verified.payload).equals(payload)).toBe(true);
    expect(parseApprovalStatement(verified.payload).approver).toBe('bob@example.com');
  });

  it('is accepted without a hint, and as an envelope alone, with the hint of any other tool', () => {
    expect(verify({ statement: withoutHint }).key).toBe(bobKey);
    expect(verify({ statement: envelope }).key).toBe(bobKey);
    const signatures = [{ ...envelope.signatures[0], keyid: 'bob-laptop' }];
    expect(verify({ statement: { ...envelope, signatures } }).key).toBe(bobKey);
  });

  it('is accepted in the URL-safe alphabet of base64 too, with padding and without, as DSSE has it', () => {
    const urlSafe = (text: string) => text.replaceAll('+', '-').replaceAll('/', '_');
    const signatures = [{ sig: urlSafe(envelope.signatures[0].sig) }];
    const padded = { ...envelope, payload: urlSafe(envelope.payload), signatures };
    expect(verify({ statement: padded }).key).toBe(bobKey);
    expect(verify({ statement: { ...padded, payload: padded.payload.replace(/=+$/, '') } }).key).toBe(bobKey);
  });

  it('is accepted by a key on P-384, over SHA-384', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const key = approver(publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'dave@example.com');
    expect(verify({ statement: await signStatement(payload, localSigner(privateKey)), keys: [key] }).key).toBe(key);
  });

  it('is accepted from the first to the last moment of the key', () => {
    expect(verify({ keys: [{ ...bobKey, notBefore: NOW, notAfter: NOW }] }).key.name).toBe(bobKey.name);
  });
});

describe('a vote whose signature must not count', () => {
  it('is APPROVAL_SIGNATURE_INVALID for any bit of what it says that is not as it was', () => {
    for (let bit = 0; bit < payload.length * 8; bit += 1) {
      const changed = payload.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const statement = replaced(bundle, ['dsseEnvelope', 'payload'], Buffer.from(changed).toString('base64'));
      expect(codeOf({ statement })).toBe('APPROVAL_SIGNATURE_INVALID');
    }
  });

  it('is APPROVAL_SIGNATURE_INVALID when the hint names another key than the one that signed', () => {
    const statement = replaced(bundle, ['verificationMaterial', 'publicKey', 'hint'], carolKey.fingerprint);
    expect(codeOf({ statement })).toBe('APPROVAL_SIGNATURE_INVALID');
  });

  it('is APPROVAL_SIGNATURE_INVALID for a signature over the bare bytes, or over another type of payload', async () => {
    const signer = signerOf(bob);
    for (const signed of [payload, preAuthEncoding('application/json', payload)]) {
      const sig = Buffer.from(await signer.sign(signed)).toString('base64');
      expect(codeOf({ statement: { ...envelope, signatures: [{ sig }] } })).toBe('APPROVAL_SIGNATURE_INVALID');
    }
  });

  it('is APPROVAL_KEY_UNTRUSTED by a key that no approver has, and where there are no approvers', () => {
    expect(errorFor({ keys: [carolKey] }).detail).toBe('No approver has it.');
    expect(codeOf({ keys: [carolKey] })).toBe('APPROVAL_KEY_UNTRUSTED');
    expect(codeOf({ statement: envelope, keys: [] })).toBe('APPROVAL_KEY_UNTRUSTED');
  });

  it('is APPROVAL_KEY_UNTRUSTED by a revoked key, with hint and without, and whenever the revocation is dated', () => {
    for (const revokedAt of [BEFORE, NOW, AFTER]) {
      for (const statement of [bundle, withoutHint, envelope]) {
        const error = errorFor({ statement, keys: [carolKey, { ...bobKey, revokedAt }] });
        expect([error.code, error.detail]).toEqual(['APPROVAL_KEY_UNTRUSTED', `The key ${bobKey.name} was revoked.`]);
      }
    }
  });

  it('is APPROVAL_KEY_UNTRUSTED before the key starts, after it ends, and with a date that is none', () => {
    for (const times of [{ notBefore: AFTER }, { notAfter: BEFORE }, { notAfter: new Date(Number.NaN) }]) {
      const error = errorFor({ keys: [{ ...bobKey, ...times }] });
      expect([error.code, error.detail]).toEqual([
        'APPROVAL_KEY_UNTRUSTED',
        `The key ${bobKey.name} is not valid at this time.`,
      ]);
    }
  });
});

describe('a signed vote that is not what it must be', () => {
  const [signature] = envelope.signatures;
  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a text', JSON.stringify(bundle)],
    ['a list', [bundle]],
    ['an empty object', {}],
    ['a bundle of another version', { ...bundle, mediaType: 'application/vnd.dev.sigstore.bundle.v0.4+json' }],
    ['a bundle without its envelope', { ...bundle, dsseEnvelope: undefined }],
    ['a bundle with a signature over bytes as well', { ...bundle, messageSignature: {} }],
    ['a bundle with a certificate', replaced(bundle, ['verificationMaterial', 'certificate'], { rawBytes: '' })],
    ['a bundle with a log entry', replaced(bundle, ['verificationMaterial', 'tlogEntries'], [{}])],
    ['of another payload type', { ...envelope, payloadType: 'application/json' }],
    ['without a signature', { ...envelope, signatures: [] }],
    ['with two signatures', { ...envelope, signatures: [signature, signature] }],
    ['with a signature that is not base64', { ...envelope, signatures: [{ sig: 'not base64!' }] }],
    ['with an empty signature', { ...envelope, signatures: [{ sig: '' }] }],
    ['with a signature of 1 MiB', { ...envelope, signatures: [{ sig: 'A'.repeat(1_048_576) }] }],
    ['with a payload of 1 MiB', { ...envelope, payload: 'A'.repeat(1_048_576) }],
    ['with an algorithm', { ...envelope, signatures: [{ ...signature, alg: 'none' }] }],
    ['with an unknown field', { ...envelope, extra: 1 }],
  ])('%s: is APPROVAL_MALFORMED', (_what, statement) => {
    expect(codeOf({ statement })).toBe('APPROVAL_MALFORMED');
  });

  it('is accepted with the empty lists that other signers write', () => {
    const empty = { tlogEntries: [], timestampVerificationData: { rfc3161Timestamps: [] } };
    const verificationMaterial = { ...bundle.verificationMaterial, ...empty };
    expect(verify({ statement: { ...bundle, verificationMaterial } }).key).toBe(bobKey);
  });

  it('is refused with a ConnectorError, whatever JSON it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (statement) => {
        expect(errorFor({ statement })).toBeInstanceOf(ConnectorError);
      }),
      { numRuns: 500 },
    );
  });

  it('is refused with a ConnectorError, whichever part of a good one is replaced by whatever JSON', () => {
    const paths = [
      ['mediaType'],
      ['verificationMaterial'],
      ['verificationMaterial', 'publicKey', 'hint'],
      ['dsseEnvelope'],
      ['dsseEnvelope', 'payload'],
      ['dsseEnvelope', 'payloadType'],
      ['dsseEnvelope', 'signatures'],
      ['dsseEnvelope', 'signatures', '0'],
      ['dsseEnvelope', 'signatures', '0', 'sig'],
    ];
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.jsonValue(), (path, value) => {
        fc.pre(!(path.at(-1) === 'hint' && value === ''));
        expect(errorFor({ statement: replaced(bundle, path, value) })).toBeInstanceOf(ConnectorError);
      }),
      { numRuns: 1_000 },
    );
  });
});
