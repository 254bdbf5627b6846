import { hash } from 'node:crypto';
import fc from 'fast-check';
import { parsePublicKeys } from '../../activities/sigstore/keys.ts';
import { verifyBundle } from '../../activities/sigstore/verify-signature.ts';
import { generateKeyPair, type KeySignedBundle, signWpk } from '../../client/sign.ts';
import { canonicalJson } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { parseWpk } from '../../domain/parse-wpk.ts';
import type { Step, Wpk } from '../../domain/wpk.ts';
import { buildRestart, buildWpk } from './wpk.ts';

/** What became of mutated packages. */
export interface FuzzReport {
  readonly runs: number;
  /** By what admission refused them with; the signature comes first. */
  readonly refused: Readonly<Record<string, number>>;
  /** By what the parser alone said of them; `valid` for those that are well-formed packages still. */
  readonly parsed: Readonly<Record<string, number>>;
  /** Those whose bytes the mutation left alone, with a bundle that it did not: nobody's words but the signer's. */
  readonly sameBytes: number;
  readonly slowestMs: number;
}

/** A package as it was signed, and what a mutation makes of it. */
interface Mutated {
  readonly payload: Uint8Array;
  /** As it is read from the wire: anything that JSON can hold. */
  readonly bundle: unknown;
}

interface Signed extends Mutated {
  readonly payload: Uint8Array;
  readonly bundle: KeySignedBundle;
}

const STEPS: readonly (readonly Step[])[] = [
  [buildRestart(), { id: 'scale', action: 'scale', target: { kind: 'Deployment', name: 'checkout' }, replicas: 3 }],
  [
    {
      id: 'apply',
      action: 'apply',
      manifests: [
        { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'shop' }, data: { key: 'ü\n"\\' } },
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          metadata: { name: 'b', namespace: 'shop' },
          spec: { replicas: 1e2 },
        },
      ],
      wait: { for: 'ready', timeoutSeconds: 300 },
    },
    { id: 'delete', action: 'delete', target: { kind: 'Service', name: 'old', namespace: 'shop' } },
  ],
  [
    {
      id: 'json',
      action: 'patch',
      target: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'a', namespace: 'shop' },
      patch: {
        type: 'json',
        operations: [
          { op: 'test', path: '/spec/replicas', value: -0.5 },
          { op: 'copy', from: '/spec/a~1b', path: '/spec/c' },
        ],
      },
    },
    {
      id: 'merge',
      action: 'patch',
      target: { kind: 'ConfigMap', name: 'a', namespace: 'shop' },
      patch: { type: 'merge', body: { data: { gone: null, list: [true, [], {}] } } },
    },
  ],
];

/**
 * Mutates signed packages, byte by byte and part by part, and sends each through admission (signature, then parser) and
 * through the parser alone. Throws, with what to repeat it by, where a package is accepted whose bytes nobody signed,
 * where anything but a `ConnectorError` is thrown, or where the parser reads another value than `JSON.parse` does.
 */
export function fuzzPackages({ runs, seed }: { readonly runs: number; readonly seed: number }): FuzzReport {
  const { privateKeyPem, publicKeyPem } = generateKeyPair();
  const keys = parsePublicKeys(publicKeyPem, 'fuzz');
  const corpus = STEPS.map((steps): Signed => {
    const payload = Buffer.from(JSON.stringify(buildWpk({ steps: [...steps] })));
    return { payload, bundle: signWpk(payload, privateKeyPem) };
  });
  const now = new Date('2026-01-01T01:00:00Z');
  const admit = ({ payload, bundle }: Mutated): Wpk => {
    verifyBundle({ payload, bundle, keys, now });
    return parseWpk(payload);
  };
  for (const signed of corpus) admit(signed); // what is not accepted at all proves nothing

  const refused: Record<string, number> = {};
  const parsed: Record<string, number> = {};
  let [sameBytes, slowestMs] = [0, 0];
  const count = (counts: Record<string, number>, what: string) => (counts[what] = (counts[what] ?? 0) + 1);
  fc.assert(
    fc.property(mutations(corpus), ({ original, payload, bundle }) => {
      const startedAt = performance.now();
      const isSigned = Buffer.compare(payload, original.payload) === 0;
      const admitted = outcomeOf(() => admit({ payload, bundle }));
      if (typeof admitted === 'string') count(refused, admitted);
      else if (!isSigned) throw new Error('accepted bytes that nobody signed');
      const value = outcomeOf(() => parseWpk(payload));
      count(parsed, typeof value === 'string' ? value : 'valid');
      if (typeof value !== 'string') requireSameReading(payload, value);
      if (isSigned) sameBytes += 1;
      slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    }),
    { numRuns: runs, seed, endOnFailure: true },
  );
  return { runs, refused, parsed, sameBytes, slowestMs };
}

/** The package, or the code that it is refused with. Anything else that is thrown is what the fuzzer looks for. */
function outcomeOf(work: () => Wpk): Wpk | string {
  try {
    return work();
  } catch (error) {
    if (error instanceof ConnectorError && error.code !== 'INTERNAL') return error.code;
    throw error;
  }
}

/** What is still a package must be to us what it is to every other reader of the same bytes. */
function requireSameReading(payload: Uint8Array, wpk: Wpk): void {
  const [ours, theirs] = [canonicalJson(wpk), canonicalJson(JSON.parse(Buffer.from(payload).toString('utf8')))];
  if (ours !== theirs) throw new Error('the parser reads another value than JSON.parse does');
  if (canonicalJson(parseWpk(Buffer.from(ours))) !== ours) throw new Error('what was parsed does not parse again');
}

function mutations(corpus: readonly Signed[]): fc.Arbitrary<Mutated & { readonly original: Signed }> {
  const original = fc.constantFrom(...corpus);
  const bytes = fc.array(fc.oneof(byteEdit, tokenEdit), { minLength: 1, maxLength: 4 });
  const parts = fc.array(partEdit, { minLength: 1, maxLength: 3 });
  const payloads = fc.oneof(
    fc
      .tuple(original, bytes)
      .map(([one, edits]) => ({ original: one, payload: editedBytes(one.payload, edits, corpus) })),
    fc.tuple(original, parts).map(([one, edits]) => ({ original: one, payload: editedDocument(one.payload, edits) })),
  );
  const forged = payloads.map((one) => ({ ...one, bundle: one.original.bundle as unknown }));
  /** The digest is that of the new bytes, so that only the signature itself is left to refuse them. */
  const rehashed = payloads.map(({ original: one, payload }) => {
    const { messageSignature, ...rest } = one.bundle;
    const messageDigest = { ...messageSignature.messageDigest, digest: hash('sha256', payload, 'base64') };
    return { original: one, payload, bundle: { ...rest, messageSignature: { ...messageSignature, messageDigest } } };
  });
  const bundles = fc
    .tuple(original, parts)
    .map(([one, edits]) => ({ original: one, payload: one.payload, bundle: editedParts(one.bundle, edits) }));
  return fc.oneof(
    { weight: 5, arbitrary: forged },
    { weight: 2, arbitrary: rehashed },
    { weight: 1, arbitrary: bundles },
  );
}

/** `at` and `to` are places in the whole, from 0 to 1. */
const somewhere = fc.noBias(fc.integer({ min: 0, max: 99_999 })).map((number) => number / 100_000);
const place = { at: somewhere, to: somewhere };
const byteEdit = fc.record({
  ...place,
  kind: fc.constantFrom('flip', 'set', 'insert', 'cut', 'double', 'end', 'splice'),
  byte: fc.integer({ min: 0, max: 255 }),
});
const tokenEdit = fc.record({
  ...place,
  kind: fc.constantFrom('insert' as const, 'set' as const),
  text: fc.constantFrom(
    ...[
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      'null',
      'true',
      '1e999',
      '-0',
      '0x1',
      '01',
      '1.',
      'NaN',
      '/**/',
      '\ufeff',
    ],
    ...['"__proto__":{"a":1},', '"id":"b",', '\\u0000', '\\ud800', '\u0000', '\u2028', ' ', '\n', '9007199254740993'],
    ...['[['.repeat(40), '"'.repeat(9), '\\"', '{"a":'.repeat(70)],
  ),
});

type ByteEdit = typeof byteEdit extends fc.Arbitrary<infer T> ? T : never;
type TokenEdit = typeof tokenEdit extends fc.Arbitrary<infer T> ? T : never;

function editedBytes(
  bytes: Uint8Array,
  edits: readonly (ByteEdit | TokenEdit)[],
  corpus: readonly Signed[],
): Uint8Array {
  return edits.reduce<Uint8Array>((current, edit) => {
    const from = Math.floor(edit.at * current.length);
    const until = Math.min(current.length, from + 1 + Math.floor(edit.to * 40));
    const [head, middle, tail] = [current.subarray(0, from), current.subarray(from, until), current.subarray(until)];
    const rest = current.subarray(from);
    if ('text' in edit) {
      const text = Buffer.from(edit.text);
      return Buffer.concat(edit.kind === 'insert' ? [head, text, rest] : [head, text, tail]);
    }
    const { kind, byte } = edit;
    switch (kind) {
      case 'flip':
        return Buffer.concat([
          head,
          Uint8Array.of((current[from] ?? 0) ^ (1 << (byte % 8))),
          current.subarray(from + 1),
        ]);
      case 'set':
        return Buffer.concat([head, Uint8Array.of(byte), current.subarray(from + 1)]);
      case 'insert':
        return Buffer.concat([head, Uint8Array.of(byte), rest]);
      case 'cut':
        return Buffer.concat([head, tail]);
      case 'double':
        return Buffer.concat([head, middle, rest]);
      case 'end':
        return head;
      default: {
        const other = corpus[byte % corpus.length]?.payload ?? current;
        return Buffer.concat([head, other.subarray(Math.floor(edit.to * other.length))]);
      }
    }
  }, bytes);
}

const junk = fc.constantFrom<unknown>(
  ...[null, true, '', {}, [], 0, -1, 1.5, 1e21, 'x'.repeat(300), '../x', '\u0000', 'kube-system', 'apply', 'delete'],
  ...[
    [[]],
    { a: { b: [null] } },
    ['x', 'x'],
    '2026-01-01T00:00:00Z',
    'sha256:0',
    'AAAA',
    '=',
    'SHA2_384',
    { hint: 'x' },
  ],
);
const partEdit = fc.record({
  at: place.at,
  kind: fc.constantFrom('replace', 'remove', 'rename', 'add', 'repeat', 'move'),
  key: fc.constantFrom('x', '__proto__', 'constructor', 'id', 'metadata', 'namespace', 'force', 'toString', ''),
  value: junk,
});
type PartEdit = typeof partEdit extends fc.Arbitrary<infer T> ? T : never;
type Holder = Record<string, unknown> | unknown[];

function editedDocument(bytes: Uint8Array, edits: readonly PartEdit[]): Uint8Array {
  const document = editedParts(JSON.parse(Buffer.from(bytes).toString('utf8')), edits);
  return Buffer.from(document === undefined ? '' : JSON.stringify(document));
}

/** A copy with some of its parts replaced, removed, renamed, added, repeated or moved; nothing where all is removed. */
function editedParts(document: unknown, edits: readonly PartEdit[]): unknown {
  const root: { document: unknown } = { document: structuredClone(document) };
  for (const { at, kind, key, value: shared } of edits) {
    const value = structuredClone(shared); // what is put in may be edited as well
    const parts = partsOf(root);
    const [holder, name] = parts[Math.min(parts.length - 1, Math.floor(at * parts.length))] ?? [root, 'document'];
    const old = (holder as Record<string, unknown>)[name];
    const set = (at: string, what: unknown) => Object.defineProperty(holder, at, { ...OWN, value: what });
    switch (kind) {
      case 'replace':
        set(name, value);
        break;
      case 'remove':
        Reflect.deleteProperty(holder, name);
        break;
      case 'rename':
        Reflect.deleteProperty(holder, name);
        set(Array.isArray(holder) ? name : key, old);
        break;
      case 'add':
        if (!Array.isArray(holder)) set(key, value);
        else holder.push(value);
        break;
      case 'repeat':
        if (Array.isArray(holder)) holder.push(structuredClone(old));
        else set(`${name}2`, old);
        break;
      default: // move: what is there comes to where something else was
        set(name, structuredClone(parts[Math.floor((1 - at) * (parts.length - 1))]?.[0]));
    }
  }
  return root.document;
}

const OWN = { configurable: true, enumerable: true, writable: true };

function partsOf(holder: Holder): (readonly [Holder, string])[] {
  return Object.entries(holder).flatMap(([name, inner]): (readonly [Holder, string])[] => [
    [holder, name],
    ...(typeof inner === 'object' && inner !== null ? partsOf(inner as Holder) : []),
  ]);
}
