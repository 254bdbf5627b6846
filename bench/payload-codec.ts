import { randomBytes, webcrypto } from 'node:crypto';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { defaultPayloadConverter } from '@temporalio/common';
import { decode, encode } from '@temporalio/common/lib/internal-non-workflow/index.js';
import protos from '@temporalio/proto';
import { EncryptionCodec } from '../client/data-converter/encryption-codec.ts';
import { dataConverter, encryptingConverter } from '../client/data-converter/index.ts';
import { KeyRing } from '../client/data-converter/key-ring.ts';
import type { Contestant } from './interleave.ts';
import { interleave } from './interleave.ts';
import type { Summary } from './statistics.ts';
import type { Comparison } from './table.ts';
import { duration } from './table.ts';

const MIB = 1024 * 1024;
const SCOPE = { clusterId: 'bench', namespace: 'default' };
/** Small payloads are timed by the thousand: one takes less than a clock tells apart. */
const MANY = 1_000;
const WARM_UP = 5;

export const PAYLOAD_CODEC_NOTES: readonly string[] = [
  'Each figure: encrypted and decrypted again, in one process; what does not come back as it was fails the run.',
  "Theirs: the codec of Temporal's samples (AES-256-GCM by WebCrypto), which binds nothing and knows one key.",
  'Whole: converter to converter, with compression, of a plan of 1 MiB, beside the same without encryption.',
];

/** Measures what encryption costs a payload. */
export async function benchPayloadCodec({ rounds, onProgress }: PayloadCodecBenchContext): Promise<Comparison[]> {
  const secret = randomBytes(32);
  const ring = new KeyRing({ load: () => Promise.resolve([{ name: 'first', secret }]) });
  await ring.open();
  const ours = new EncryptionCodec(ring, SCOPE);
  const theirs = await sampleCodec(secret);
  const large = defaultPayloadConverter.toPayload(randomBytes((MIB * 3) / 4).toString('base64'));
  const small = Array.from({ length: MANY }, () => defaultPayloadConverter.toPayload({ phase: 'executing', done: 3 }));
  const compare = async (name: string, payloads: Payload[]) => {
    const times = await interleave(
      [contestant('ours', [ours], payloads), contestant('theirs', [theirs], payloads)],
      { warmUp: WARM_UP, timed: rounds },
      (round) => onProgress(`${name}: round ${round + 1} of ${WARM_UP + rounds}`),
    );
    return both(times, 'ours', 'theirs');
  };
  const [largeOurs, largeTheirs] = await compare('1 MiB', [large]);
  const [smallOurs, smallTheirs] = await compare('small', small);
  const plan = [defaultPayloadConverter.toPayload(planText())];
  const times = await interleave(
    [
      contestant('encrypted', encryptingConverter(ring, SCOPE).payloadCodecs ?? [], plan),
      contestant('plain', dataConverter.payloadCodecs ?? [], plan),
    ],
    { warmUp: WARM_UP, timed: rounds },
    (round) => onProgress(`whole: round ${round + 1} of ${WARM_UP + rounds}`),
  );
  const [encrypted, plain] = both(times, 'encrypted', 'plain');
  const facts = [
    `Whole, a plan of 1 MiB: ${duration(encrypted.medianMs)} encrypted, ${duration(plain.medianMs)} without`,
  ];
  return [
    { what: '1 MiB, nothing to compress', ours: largeOurs, theirs: largeTheirs, target: 1 },
    { what: `${MANY} small payloads`, ours: smallOurs, theirs: smallTheirs, target: 1, facts },
  ];
}

export interface PayloadCodecBenchContext {
  readonly rounds: number;
  readonly onProgress: (message: string) => void;
}

function both(times: ReadonlyMap<string, Summary>, one: string, other: string): [Summary, Summary] {
  const [a, b] = [times.get(one), times.get(other)];
  if (!a || !b) throw new Error('there is nothing to compare with');
  return [a, b];
}

function contestant(name: string, codecs: PayloadCodec[], payloads: Payload[]): Contestant {
  return {
    name,
    prepare: () =>
      Promise.resolve(async () => {
        const back = await decode(codecs, await encode(codecs, payloads));
        if (back[0]?.data?.length !== payloads[0]?.data?.length) throw new Error(`${name}: something else came back`);
      }),
  };
}

/** As github.com/temporalio/samples-typescript has it (encryption/src/encryption-codec.ts, crypto.ts). */
async function sampleCodec(secret: Uint8Array<ArrayBuffer>): Promise<PayloadCodec> {
  const { subtle } = webcrypto;
  const key = await subtle.importKey('raw', secret, { name: 'AES-GCM' }, true, ['encrypt', 'decrypt']);
  const message = protos.temporal.api.common.v1.Payload;
  const seal = async (payload: Payload): Promise<Payload> => {
    const iv = randomBytes(12);
    const plain = new Uint8Array(message.encode(payload).finish());
    const data = await subtle.encrypt({ name: 'AES-GCM', iv, tagLength: 128 }, key, plain);
    return { metadata: { encoding: Buffer.from('binary/encrypted') }, data: Buffer.concat([iv, new Uint8Array(data)]) };
  };
  const open = async ({ data }: Payload): Promise<Payload> => {
    const bytes = new Uint8Array(data ?? []);
    const algorithm = { name: 'AES-GCM', iv: bytes.subarray(0, 12), tagLength: 128 };
    return message.decode(new Uint8Array(await subtle.decrypt(algorithm, key, bytes.subarray(12))));
  };
  return {
    encode: (payloads) => Promise.all(payloads.map(seal)),
    decode: (payloads) => Promise.all(payloads.map(open)),
  };
}

/** Compresses as plans do: names and kinds that come again and again, and digests that don't. */
function planText(): string {
  const objects: object[] = [];
  for (let bytes = 0; bytes < MIB;) {
    const name = `settings-${objects.length}`;
    const object = {
      step: 'apply',
      change: 'update',
      object: { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'shop', name },
      changes: [
        { path: '/data/colour', before: randomBytes(8).toString('hex'), after: randomBytes(8).toString('hex') },
      ],
      hash: `sha256:${randomBytes(32).toString('hex')}`,
    };
    bytes += JSON.stringify(object).length;
    objects.push(object);
  }
  return JSON.stringify(objects);
}
