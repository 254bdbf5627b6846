import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { KeyRing } from '../../client/data-converter/key-ring.ts';
import type { PayloadRead } from '../../domain/audit-read.ts';
import { isReceiptOf, makeReceipt } from '../../worker/codec-server/reading-receipt.ts';

// R20

const CLUSTER = 'prod-eu-1';
const READ: PayloadRead = { reader: 'https://id.example.com bob', namespace: 'default', nonce: 'n'.repeat(22) };

function ringOf(secrets: Readonly<Record<string, Uint8Array>>): KeyRing {
  const keys = Object.entries(secrets).map(([name, secret]) => ({ name, secret }));
  return new KeyRing({ load: () => Promise.resolve(keys) });
}

describe('the receipt of a reading', () => {
  const first = randomBytes(32);
  const worker = ringOf({ first });
  const codecServer = ringOf({ first, second: randomBytes(32) });
  const receipt = () => makeReceipt(worker, CLUSTER, READ);

  it('is good for this reading, also where another key has taken over at the other side', async () => {
    expect(await isReceiptOf(codecServer, CLUSTER, READ, await receipt())).toBe(true);
  });

  it.each([
    ['of another reader', { ...READ, reader: 'https://id.example.com eve' }],
    ['of another namespace', { ...READ, namespace: 'else' }],
    ['before it', { ...READ, nonce: 'm'.repeat(22) }],
    ['without a nonce', { reader: READ.reader, namespace: READ.namespace }],
  ])('is none for a reading %s', async (_, other) => {
    expect(await isReceiptOf(codecServer, CLUSTER, other, await receipt())).toBe(false);
  });

  it('is none for another cluster', async () => {
    expect(await isReceiptOf(codecServer, 'prod-eu-2', READ, await receipt())).toBe(false);
  });

  it.each([
    ['nothing', () => undefined],
    ['made with another key under the same name', () => makeReceipt(ringOf({ first: randomBytes(32) }), CLUSTER, READ)],
    ['made with a key that Vault has not', () => makeReceipt(ringOf({ mine: first }), CLUSTER, READ)],
    ['without its end', async () => ({ ...(await receipt()), mac: (await receipt()).mac.slice(0, -4) })],
    ['with an empty end', async () => ({ ...(await receipt()), mac: '' })],
    ['with more in it', async () => ({ ...(await receipt()), more: true })],
  ] as [string, () => unknown][])('is not what is %s', async (_, forged) => {
    expect(await isReceiptOf(codecServer, CLUSTER, READ, await forged())).toBe(false);
  });
});
