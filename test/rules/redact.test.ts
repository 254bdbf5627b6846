import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createKeyedHash } from '../../activities/redact/keyed-hash.ts';
import { DEFAULT_REDACTION, KINDS, redactionPolicySchema } from '../../domain/redact/kinds.ts';
import type { Kind } from '../../domain/redact/kinds.ts';
import { ALLOWED_LABELS, redactLabels } from '../../domain/redact/labels.ts';
import { createRedactor } from '../../domain/redact/redactor.ts';
import { RedactionStream } from '../../domain/redact/stream.ts';
import { describeVectors } from '../support/vectors.ts';
import { vectorsAt } from '../support/vectors-at.ts';
import { judgeVectors, readPiiVectors } from '../support/pii-vectors.ts';

// R14, R26

const masking = createRedactor(DEFAULT_REDACTION);
const key = Buffer.alloc(32, 7);
const hashing = createRedactor(DEFAULT_REDACTION, createKeyedHash(key));
const masked = (text: string) => masking.redact(text).text;
const hashed = (text: string) => hashing.redact(text).text;

const PEM = ['-----BEGIN EC PRIVATE KEY-----', 'MHcCAQEEIBkg4LVWM9nuwNSk', '-----END EC PRIVATE KEY-----'].join('\n');
const JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl';

/** A text, and the same as it must come out. */
const REDACTED: Readonly<Record<Kind, readonly (readonly [string, string])[]>> = {
  email: [
    ['mail joe.doe+x@mail.example.co.uk, please', 'mail [email], please'],
    ['user=joe@example.com&x=1', 'user=[email]&x=1'],
    ['/users/joe%40example.com/cart', '/users/[email]/cart'],
    ['<jörg@müller.example.de>', '<[email]>'],
  ],
  phone: [
    ['+49 (0) 30 123 45 67', '[phone]'],
    ['(415) 555-2671 x12', '[phone]'],
    ['from 001-420-335-7509x38548.', 'from [phone].'],
    ['986.291.2294', '[phone]'],
    ['+14155552671', '[phone]'],
    ['01.23.45.67.89', '[phone]'],
    ['415 555 2671', '[phone]'],
    ['Mobile: 041-412-293', 'Mobile: [phone]'],
    ['call me on 21 212 133 2727?', 'call me on [phone]?'],
    ['phone=4155552671', 'phone=[phone]'],
    ['call me on 71234567', 'call me on [phone]'],
  ],
  card: [
    ['4111 1111 1111 1111', '[card]'],
    ['4111-1111-1111-1111 12/27', '[card] 12/27'],
    ['paid with 378282246310005.', 'paid with [card].'],
    ['card 6759649826438453', 'card [card]'],
  ],
  iban: [
    ['GB29 NWBK 6016 1331 9268 19', '[iban]'],
    ['to DE89370400440532013000, now', 'to [iban], now'],
  ],
  ssn: [
    ['531-21-7351', '[ssn]'],
    ['SSN 531217351', 'SSN [ssn]'],
  ],
  ip: [
    ['from 58.74.121.78:8080', 'from [ip]:8080'],
    ['10.0.0.0/8', '[ip]/8'],
    ['[2001:db8::8a2e:370:7334]:443', '[[ip]]:443'],
    ['::1', '[ip]'],
    ['::ffff:10.1.2.3 ', '[ip] '],
    ['ip-10-0-12-34.eu-west-1.compute.internal', 'ip-[ip].eu-west-1.compute.internal'],
    ['10-0-0-7.shop.pod.cluster.local', '[ip].shop.pod.cluster.local'],
  ],
  jwt: [[`t=${JWT};`, 't=[jwt];']],
  bearer: [
    ['Bearer abcdefghijklmnop1234', 'Bearer [bearer]'],
    ['Basic YWxpY2U6c2VjcmV0', 'Basic [bearer]'],
  ],
  'cloud-key': [
    ['AKIAIOSFODNN7EXAMPLE', '[cloud-key]'],
    [`ghp_${'a1B2'.repeat(9)}`, '[cloud-key]'],
    [`hvs.${'CAES'.repeat(8)}`, '[cloud-key]'],
  ],
  'private-key': [
    [`key:\n${PEM}\ndone`, 'key:\n[private-key]\ndone'],
    [JSON.stringify({ pem: PEM }), '{"pem":"[private-key]"}'],
    ['-----BEGIN PRIVATE KEY-----\nMIIEvQ', '[private-key]'],
  ],
  credentials: [
    ['postgres://admin:s3cr3t@db:5432/shop', 'postgres://[credentials]@db:5432/shop'],
    ['redis://:p/w@cache/0', 'redis://[credentials]@cache/0'],
  ],
  secret: [
    ['password=hunter2', 'password=[secret]'],
    ['"client_secret": "two words"', '"client_secret": "[secret]"'],
    ['{\\"api_key\\":\\"k1\\"}', '{\\"api_key\\":\\"[secret]\\"}'],
    ['Authorization: Token abc123', 'Authorization: Token [secret]'],
    ['https://x.example/?token=abc&page=2', 'https://x.example/?token=[secret]&page=2'],
    ['AccountKey=abc==;EndpointSuffix=x', 'AccountKey=[secret];EndpointSuffix=x'],
  ],
};

describe.each(KINDS)('redacting what is a %s', (kind) => {
  it.each(REDACTED[kind])('turns %j into %j', (text, expected) => {
    expect(masking.redact(text)).toEqual({ text: expected, counts: { [kind]: 1 } });
  });
});

describe('what is neither personal nor secret', () => {
  it.each([
    '2026-11-25T10:11:12.123Z took 12.345 ms, 200 1234 567 bytes',
    'ts=1764065472123 id=123456789012 seq 1,234,567',
    '25.11.2026 10:30, 11/25/2026',
    'version v1.2.3.4.5, lodash@4.17.21, 1.3.6.1.4.1.311',
    '550e8400-e29b-41d4-a716-446655440000',
    `sha256:${'9f86d081884c7d65'.repeat(4)}`,
    'web-5d4f8b7c9d-x2x4z node-10-20',
    'aa:bb:cc:dd:ee:ff 10:11:12 std::vector dead::beef',
    'basic authentication, the bearer token expired, secretName: tls, kind: Secret',
    'https://example.com:8443/a/b@c?x=1#y',
    'root@localhost @here a@b',
    '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
    '4111111111111112 and 4111 1111 1111 1112',
    'automount_token: false',
  ])('stays: %j', (text) => {
    expect(masked(text)).toBe(text);
  });
});

describe('hashing', () => {
  it('gives equal values the same text, however they are written, and others another', () => {
    const [a, b, c] = hashed('joe@example.com JOE@Example.com ann@example.com').split(' ');
    expect(a).toMatch(/^\[email#[a-p]{16}\]$/);
    expect(b).toBe(a);
    expect(c).not.toBe(a);
    expect(hashed('(415) 555-2671')).toBe(hashed('+1 415.555.2671'));
    expect(hashed('2001:db8:0:0::1')).toBe(hashed('2001:DB8::1'));
    expect(hashed('GB29NWBK60161331926819')).toBe(hashed('gb29 nwbk 6016 1331 9268 19'));
  });

  it('is HMAC-SHA-256 under the key, cut to 64 bits', () => {
    const hex = createHmac('sha256', key).update('email\njoe@example.com').digest('hex').slice(0, 16);
    const letters = [...hex].map((digit) => 'abcdefghijklmnop'[parseInt(digit, 16)]).join('');
    expect(hashed('joe@example.com')).toBe(`[email#${letters}]`);
    const other = createRedactor(DEFAULT_REDACTION, createKeyedHash(Buffer.alloc(32, 8)));
    expect(other.redact('joe@example.com').text).not.toBe(hashed('joe@example.com'));
  });

  it('leaves secrets masked unless the policy says otherwise', () => {
    expect(hashed('password=hunter2')).toBe('password=[secret]');
    const policy = redactionPolicySchema.parse({ secrets: 'hash' });
    expect(createRedactor(policy, createKeyedHash(key)).redact('password=hunter2').text).toMatch(/^password=\[secret#/);
  });
});

describe('addresses of private ranges', () => {
  const text = '10.1.2.3 192.168.0.1 172.16.9.9 127.0.0.1 fd00::1 fe80::1 8.8.8.8';
  it('stay where the policy keeps them, and public ones do not', () => {
    const keeping = createRedactor(redactionPolicySchema.parse({ privateIps: 'keep', pii: 'mask' }));
    expect(keeping.redact(text)).toEqual({ text: text.replace('8.8.8.8', '[ip]'), counts: { ip: 1 } });
  });
  it('can be masked while public ones are hashed', () => {
    const policy = redactionPolicySchema.parse({ privateIps: 'mask' });
    const result = createRedactor(policy, createKeyedHash(key)).redact(text).text;
    expect(result).toMatch(/^(?:\[ip\] ){6}\[ip#[a-p]{16}\]$/);
  });
});

describe('labels', () => {
  const allowed = new Set(ALLOWED_LABELS);
  it('keep their values where they are allowed and hold nothing personal', () => {
    const labels = { __name__: 'kube_pod_info', namespace: 'shop', pod: 'web-5d4f8b7c9d-x2x4z' };
    expect(redactLabels(labels, allowed, hashing)).toEqual({ labels, counts: {} });
  });
  it('are redacted also where they are allowed', () => {
    const { labels, counts } = redactLabels({ instance: '10.0.0.1:9100', job: 'joe@example.com' }, allowed, masking);
    expect(labels).toEqual({ instance: '[ip]:9100', job: '[email]' });
    expect(counts).toEqual({ ip: 1, email: 1 });
  });
  it('are hidden as a whole where they are not allowed, so that series stay apart', () => {
    const one = redactLabels({ customer: 'Ann Smith' }, allowed, hashing).labels['customer'];
    const other = redactLabels({ customer: 'Bob Smith' }, allowed, hashing).labels['customer'];
    expect(one).toMatch(/^\[hidden#[a-p]{16}\]$/);
    expect(other).not.toBe(one);
  });
  it('are redacted in their names', () => {
    expect(Object.keys(redactLabels({ 'joe@example.com': '1' }, allowed, masking).labels)).toEqual(['[email]']);
  });
});

const pieces = fc.oneof(
  fc.constantFrom(...Object.values(REDACTED).flatMap((cases) => cases.map(([text]) => text))),
  fc.constantFrom(' ', '\n', '-', '.', ':', '@', '=', '"', '\\', '(', '+', '//', '%40', 'eyJ', 'token=', 'x', '1', 'é'),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.stringMatching(/^[0-9 .:()+-]{1,20}$/),
);
const texts = fc.array(pieces, { maxLength: 30 }).map((parts) => parts.join(''));

describe('whatever the text', () => {
  it('is not redacted again where it was', () => {
    const tags = (text: string): string[] => text.match(/\[[a-z-]+(?:#[a-p]{16})?\]/g) ?? [];
    fc.assert(
      fc.property(texts, fc.constantFrom(masking, hashing), (text, redactor) => {
        const once = redactor.redact(text).text;
        const kept = tags(redactor.redact(once).text);
        for (const tag of tags(once)) expect(kept.splice(0, kept.indexOf(tag) + 1)).toContain(tag);
      }),
      { numRuns: 2_000 },
    );
  });

  it('finds things in order that do not overlap', () => {
    fc.assert(
      fc.property(texts, (text) => {
        let last = 0;
        for (const { start, end } of masking.find(text)) {
          expect(start).toBeGreaterThanOrEqual(last);
          expect(end).toBeGreaterThan(start);
          expect(end).toBeLessThanOrEqual(text.length);
          last = end;
        }
      }),
    );
  });

  it('takes time that grows as the text does', () => {
    const took = (text: string) => {
      const before = process.cpuUsage();
      masking.redact(text);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1_000;
    };
    fc.assert(
      fc.property(fc.array(pieces, { minLength: 1, maxLength: 3 }), (parts) => {
        const unit = parts.join('') || 'x';
        const of = (length: number) => unit.repeat(Math.ceil(length / unit.length));
        // A quadratic one would take 16 times as long for 4 times the text; a second for 128 KiB is past all of ours.
        const short = Math.min(took(of(32_768)), took(of(32_768)));
        const long = took(of(131_072));
        expect(long).toBeLessThan(Math.max(10 * short, 1_000));
      }),
      { numRuns: 60 },
    );
  }, 120_000);
});

describe('a stream', () => {
  const lines = fc.array(texts, { maxLength: 6 }).map((all) => `${all.join('\n')}\n`);
  it('comes out as the whole text would, however it is cut', () => {
    fc.assert(
      fc.property(lines, fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 20 }), (text, cuts) => {
        const stream = new RedactionStream(masking);
        let [out, from] = ['', 0];
        for (const length of cuts) out += stream.push(text.slice(from, (from += length)));
        out += stream.push(text.slice(from)) + stream.end();
        expect(out).toBe(masked(text));
      }),
    );
  });

  it('gives whole lines at once', () => {
    const stream = new RedactionStream(masking);
    expect(stream.push('a joe@example.com\nb jo')).toBe('a [email]\n');
    expect(stream.push('e@example.com\n')).toBe('b [email]\n');
  });

  it('holds a private key until it ends', () => {
    const stream = new RedactionStream(masking);
    const out = PEM.split('\n').map((line) => stream.push(`${line}\n`));
    expect(out.slice(0, 2).join('')).toBe('');
    expect(out.join('') + stream.end()).toBe('[private-key]\n');
  });

  it('finds what lies across the cuts of a line without end', () => {
    const stream = new RedactionStream(masking);
    const unit = `${'x'.repeat(900)},joe@example.com,${JWT};`;
    let out = '';
    for (let n = 0; n < 400; n += 1) out += stream.push(unit);
    out += stream.end();
    expect(out).toBe(`${'x'.repeat(900)},[email],[jwt];`.repeat(400));
    expect(stream.counts).toEqual({ email: 400, jwt: 400 });
  });
});

describeVectors('on published texts (Presidio)', vectorsAt('pii', 'generated_small.json'), () => {
  it('finds at least 99 % of what is structured, and little else', () => {
    const judged = judgeVectors(
      readPiiVectors(readFileSync(vectorsAt('pii', 'generated_small.json'), 'utf8')),
      masking,
    );
    const sum = (of: 'marked' | 'found' | 'wrong') => judged.reduce((total, row) => total + row[of], 0);
    expect(sum('marked')).toBeGreaterThan(20);
    expect(sum('found') / sum('marked')).toBeGreaterThanOrEqual(0.99);
    expect(sum('wrong')).toBeLessThanOrEqual(1);
  });
});
