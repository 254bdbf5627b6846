import { randomBytes } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import type { Payload } from '@temporalio/common';
import { ApplicationFailure, defaultPayloadConverter } from '@temporalio/common';
import {
  decode,
  decodeOptionalFailureToOptionalError,
  encode,
  encodeErrorToFailure,
} from '@temporalio/common/lib/internal-non-workflow/index.js';
import { loadDataConverter } from '@temporalio/common/lib/internal-non-workflow/index.js';
import protos from '@temporalio/proto';
import fc from 'fast-check';
import { EncryptionCodec } from '../../client/data-converter/encryption-codec.ts';
import { dataConverter, encryptingConverter } from '../../client/data-converter/index.ts';
import { KeyRing } from '../../client/data-converter/key-ring.ts';
import { payloadConverter } from '../../client/data-converter/payload-converter.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { isMalformed, isSealed } from '../../domain/malformed.ts';
import type { PayloadKey } from '../../domain/payload-key.ts';
import { keyThatWrites } from '../../domain/payload-key.ts';
import { asyncErrorOf } from '../support/expect-code.ts';

const MIB = 1024 * 1024;
const CANARY = 'canary-of-a-secret';
const SCOPE = { clusterId: 'prod-eu-1', namespace: 'acme' };

const keyOf = (name: string, writeFrom?: Date): PayloadKey => ({
  name,
  secret: randomBytes(32),
  ...(writeFrom && { writeFrom }),
});
const ringOf = (...keys: PayloadKey[]) => new KeyRing({ load: () => Promise.resolve(keys), spacingMs: 0 });
const payloadOf = (value: unknown) => defaultPayloadConverter.toPayload(value);
const valueOf = ([payload]: Payload[]) => payloadConverter.fromPayload<unknown>(payload ?? {});
const first = keyOf('first');
const codec = new EncryptionCodec(ringOf(first), SCOPE);
const textOf = (payload: Payload | undefined, name: string) => Buffer.from(payload?.metadata?.[name] ?? []).toString();

describe('an encrypted payload', () => {
  it('comes out as it went in, whatever it is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        const encoded = await codec.encode([payloadOf(value)]);
        expect(valueOf(await codec.decode(encoded))).toEqual(JSON.parse(JSON.stringify(value))); // -0 is 0 in JSON
      }),
    );
  });

  it('names its key and shows nothing else, not even twice the same', async () => {
    const [one, two] = await codec.encode([payloadOf({ password: CANARY }), payloadOf({ password: CANARY })]);
    expect(Object.keys(one?.metadata ?? {}).sort()).toEqual(['encoding', 'encryption-key-id']);
    expect(textOf(one, 'encoding')).toBe('binary/encrypted');
    expect(textOf(one, 'encryption-key-id')).toBe('prod-eu-1/first');
    expect(Buffer.from(one?.data ?? []).includes(CANARY)).toBe(false);
    expect(Buffer.from(one?.data ?? [])).not.toEqual(Buffer.from(two?.data ?? []));
  });

  it('is malformed where any byte of it was changed', async () => {
    const [whole] = await codec.encode([payloadOf('text')]);
    const bytes = Buffer.from(whole?.data ?? []);
    for (let at = 0; at < bytes.length; at += 1) {
      const data = Buffer.from(bytes);
      data[at] = (data[at] ?? 0) ^ 1;
      expect(isMalformed(valueOf(await codec.decode([{ ...whole, data }])))).toBe(true);
    }
  });

  it.each([0, 1, 11, 12, 27, 28])('is malformed where only %i bytes of it are left', async (length) => {
    const [whole] = await codec.encode([payloadOf('text')]);
    const data = Buffer.from(whole?.data ?? []).subarray(0, length);
    expect(isMalformed(valueOf(await codec.decode([{ ...whole, data }])))).toBe(true);
  });

  it.each([
    ['a key of the same name that is another', new EncryptionCodec(ringOf(keyOf('first')), SCOPE)],
    ['another namespace', new EncryptionCodec(ringOf(first), { ...SCOPE, namespace: 'else' })],
    ['another cluster with the same key', new EncryptionCodec(ringOf(first), { ...SCOPE, clusterId: 'prod-eu-2' })],
  ])('is malformed for %s', async (_, other) => {
    const encoded = await codec.encode([payloadOf('text')]);
    expect(isMalformed(valueOf(await other.decode(encoded)))).toBe(true);
  });

  it('is malformed under the id of another key, also of one that is the same', async () => {
    const twins = new EncryptionCodec(ringOf(first, { ...first, name: 'twin', writeFrom: new Date(8e15) }), SCOPE);
    const [encoded] = await twins.encode([payloadOf('text')]);
    const metadata = { ...encoded?.metadata, 'encryption-key-id': Buffer.from('prod-eu-1/twin') };
    expect(isMalformed(valueOf(await twins.decode([{ ...encoded, metadata }])))).toBe(true);
  });

  it.each([
    '',
    'first',
    'prod-eu-2/first',
    'prod-eu-1/',
    'prod-eu-1/../first',
    'prod-eu-1/none',
    `prod-eu-1/${'a'.repeat(99)}`,
  ])('is malformed where its key is called %j', async (id) => {
    const [encoded] = await codec.encode([payloadOf('text')]);
    const metadata = { ...encoded?.metadata, 'encryption-key-id': Buffer.from(id) };
    expect(isMalformed(valueOf(await codec.decode([{ ...encoded, metadata }])))).toBe(true);
  });

  it('is malformed, whatever bytes it is of', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (data) => {
        const metadata = {
          encoding: Buffer.from('binary/encrypted'),
          'encryption-key-id': Buffer.from('prod-eu-1/first'),
        };
        expect(isMalformed(valueOf(await codec.decode([{ metadata, data }])))).toBe(true);
      }),
    );
  });

  it('is sealed to those without a key, who read what is plain all the same', async () => {
    const { payloadCodecs = [] } = dataConverter;
    const sealed = await codec.encode([payloadOf('text')]);
    expect(isSealed(valueOf(await decode(payloadCodecs, sealed)))).toBe(true);
    expect(valueOf(await codec.decode([payloadOf('plain')]))).toBe('plain');
  });

  it("is neither made nor read in the connector's own runs, which go through processes without a key", async () => {
    const own = {
      type: 'workflow',
      namespace: 'acme',
      workflowId: 'byoc/prod-eu-1/heartbeat-2026-12-01T00:00:00Z',
    } as const;
    const [plain] = await codec.encode([payloadOf('text')], own);
    expect(plain).toEqual(payloadOf('text'));
    const copied = await codec.encode([payloadOf(CANARY)], { ...own, workflowId: 'wpk/prod-eu-1/01JD' });
    expect(isMalformed(valueOf(await codec.decode(copied, { ...own, type: 'activity', isLocal: false })))).toBe(true);
    expect(isMalformed(valueOf(await codec.decode(copied, own)))).toBe(true);
  });

  it('is compressed before, and is malformed where it holds a bomb', async () => {
    const { payloadCodecs = [] } = encryptingConverter(ringOf(first), SCOPE);
    const [large] = await encode(payloadCodecs, [payloadOf('a'.repeat(MIB))]);
    expect(large?.data?.length).toBeLessThan(MIB / 50);
    expect(valueOf(await decode(payloadCodecs, large ? [large] : []))).toBe('a'.repeat(MIB));
    const inner = protos.temporal.api.common.v1.Payload.encode(payloadOf('a'.repeat(9 * MIB))).finish();
    const bomb = { metadata: { encoding: Buffer.from('binary/zlib') }, data: deflateSync(inner) };
    const before = process.memoryUsage().arrayBuffers;
    const value = valueOf(await decode(payloadCodecs, await codec.encode([bomb])));
    expect(isMalformed(value)).toBe(true);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * MIB);
  });
});

describe('a failure', () => {
  it('shows its code and nothing of its message, its stack and its causes', async () => {
    const converter = loadDataConverter(encryptingConverter(ringOf(first), SCOPE));
    const cause = new Error(`cause ${CANARY}`);
    const details = [{ at: CANARY }];
    const error = ApplicationFailure.create({ type: 'POLICY_DENIED', message: CANARY, details, cause });
    const failure = await encodeErrorToFailure(converter, error);
    expect(failure.applicationFailureInfo?.type).toBe('POLICY_DENIED');
    expect(JSON.stringify(failure)).not.toContain(CANARY);
    expect(JSON.stringify(failure)).not.toContain('.test.ts');
    const back = await decodeOptionalFailureToOptionalError(converter, failure);
    expect(back).toMatchObject({
      message: CANARY,
      type: 'POLICY_DENIED',
      details,
      cause: { message: `cause ${CANARY}` },
    });
    const without = await decodeOptionalFailureToOptionalError(loadDataConverter(dataConverter), failure);
    expect(without).toMatchObject({ message: 'Encoded failure', type: 'POLICY_DENIED' });
  });
});

describe('the key that encrypts', () => {
  const now = new Date('2026-12-01T00:00:00Z');
  const at = (hours: number) => new Date(now.getTime() + hours * 3_600_000);

  it.each([
    ['the only one', [keyOf('a')], 'a'],
    ['the newest whose time has come', [keyOf('a'), keyOf('b', at(-1)), keyOf('c', at(1))], 'b'],
    ['the newest, whatever they are called', [keyOf('z', at(-2)), keyOf('a', at(-1))], 'a'],
    ['the last by name, where none says since when', [keyOf('2026-12'), keyOf('2026-11')], '2026-12'],
    ['none, where none may yet', [keyOf('a', at(1))], undefined],
  ])('is %s', (_, keys, name) => {
    expect(keyThatWrites(keys, now)?.name).toBe(name);
  });
});

describe('a key ring', () => {
  /** A Vault that has these keys until others are put there, or that is away. */
  const vaultWith = (...keys: PayloadKey[]) => {
    const vault = { keys, isAway: false, asked: 0 };
    const load = () => {
      vault.asked += 1;
      if (vault.isAway) return Promise.reject(new ConnectorError('PAYLOAD_KEYS_UNAVAILABLE'));
      return Promise.resolve(vault.keys);
    };
    return { vault, ring: new KeyRing({ load, spacingMs: 20, freshMs: 25 }) };
  };
  const between = (ring: KeyRing) => new EncryptionCodec(ring, SCOPE);

  it('reads a payload of a key that it has not seen, without being opened again', async () => {
    const { vault, ring } = vaultWith(first);
    await ring.open();
    const second = keyOf('second', new Date(0));
    const encoded = await between(ringOf(second)).encode([payloadOf('new')]);
    vault.keys = [first, second];
    expect(valueOf(await between(ring).decode(encoded))).toBe('new');
  });

  it('still reads what was encrypted before the rotation', async () => {
    const { vault, ring } = vaultWith(first);
    const before = await between(ring).encode([payloadOf('old')]);
    vault.keys = [first, keyOf('second', new Date(0))];
    await ring.open();
    const after = await between(ring).encode([payloadOf('new')]);
    expect([before, after].map(([one]) => textOf(one, 'encryption-key-id'))).toEqual([
      'prod-eu-1/first',
      'prod-eu-1/second',
    ]);
    expect(valueOf(await between(ring).decode(before))).toBe('old');
    expect(valueOf(await between(ring).decode(after))).toBe('new');
  });

  it('goes on with what it has while Vault is away, and says nothing false of what it has not', async () => {
    const { vault, ring } = vaultWith(first);
    await ring.open();
    const other = await between(ringOf(keyOf('second'))).encode([payloadOf('new')]);
    vault.isAway = true;
    const encoded = await between(ring).encode([payloadOf('text')]);
    expect(valueOf(await between(ring).decode(encoded))).toBe('text');
    expect(await asyncErrorOf(() => between(ring).decode(other))).toMatchObject({ code: 'PAYLOAD_KEYS_UNAVAILABLE' });
  });

  it('encrypts nothing where there never was a key', async () => {
    const { vault, ring } = vaultWith();
    expect(await asyncErrorOf(() => ring.open())).toMatchObject({ code: 'PAYLOAD_KEYS_UNAVAILABLE' });
    vault.isAway = true;
    const error = await asyncErrorOf(() => between(ring).encode([payloadOf(CANARY)]));
    expect(error).toMatchObject({ code: 'PAYLOAD_KEYS_UNAVAILABLE' });
  });

  it('keeps what it has where somebody took all keys away', async () => {
    const { vault, ring } = vaultWith(first);
    await ring.open();
    vault.keys = [];
    expect(await asyncErrorOf(() => ring.open())).toMatchObject({ code: 'PAYLOAD_KEYS_UNAVAILABLE' });
    expect((await ring.writing()).name).toBe('first');
  });

  it('encrypts with no key that was taken away while it had nothing to do', async () => {
    const { vault, ring } = vaultWith(first);
    await ring.open();
    vault.keys = [keyOf('second')];
    await new Promise((resolve) => setTimeout(resolve, 60));
    const [one, two] = await Promise.all([ring.writing(), ring.writing()]);
    expect([one.name, two.name]).toEqual(['second', 'second']);
  });

  it('encrypts with what it has where nobody can tell whether that was taken away', async () => {
    const { vault, ring } = vaultWith(first);
    await ring.open();
    vault.isAway = true;
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect((await ring.writing()).name).toBe('first');
  });

  it('asks Vault once for all who send made-up keys at a time, and some times at once and no more', async () => {
    const { vault, ring } = vaultWith(first);
    await ring.open();
    await Promise.all(Array.from({ length: 100 }, (_, index) => ring.find(`made-up-${index}`)));
    expect(vault.asked).toBe(2);
    const startedAt = performance.now();
    for (let times = 0; times < 30; times += 1) await ring.find('made-up');
    expect(performance.now() - startedAt).toBeLessThan(30 * 20);
    for (let times = 0; times < 10; times += 1) await ring.find('made-up');
    expect(vault.asked).toBe(42);
    expect(performance.now() - startedAt).toBeGreaterThan(9 * 20 - 10);
  });

  it('is not asked for the same made-up payloads again, as in a replay', async () => {
    const { vault, ring } = vaultWith(first);
    await ring.open();
    const reader = between(ring);
    const madeUp = await between(ringOf(keyOf('none'))).encode(Array.from({ length: 40 }, payloadOf));
    const replay = async () => {
      for (const one of madeUp) expect(isMalformed(valueOf(await reader.decode([one])))).toBe(true);
    };
    await replay();
    const asked = vault.asked;
    await replay();
    expect(vault.asked).toBe(asked);
    // Another payload of that key, which there is by now.
    const none = keyOf('none');
    vault.keys = [first, none];
    expect(valueOf(await reader.decode(await between(ringOf(none)).encode([payloadOf('new')])))).toBe('new');
  });

  it('shows no key to whoever prints it', async () => {
    const { ring } = vaultWith({ ...first, secret: Buffer.alloc(32, CANARY) });
    await ring.open();
    const key = await ring.writing();
    const { inspect } = await import('node:util');
    const texts = [JSON.stringify(key), inspect(key, { depth: 9, showHidden: true }), inspect(ring, { depth: 9 })];
    const secret = Buffer.alloc(32, CANARY);
    for (const text of texts) {
      expect(text).not.toContain(CANARY);
      expect(text).not.toContain(secret.toString('base64').slice(0, 20));
      expect(text).not.toContain(secret.toString('hex').slice(0, 20));
    }
  });
});
