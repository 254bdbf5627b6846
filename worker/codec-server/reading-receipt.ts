import type { KeyObject } from 'node:crypto';
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { KeyRing } from '../../client/data-converter/key-ring.ts';
import type { PayloadRead, PayloadReadReceipt } from '../../domain/audit-read.ts';
import { payloadReadReceiptSchema, payloadReadText } from '../../domain/audit-read.ts';

/**
 * Says that a reading is recorded; to be handed out when it is.
 * @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE
 */
export async function makeReceipt(
  keys: Pick<KeyRing, 'writing'>,
  clusterId: string,
  read: PayloadRead,
): Promise<PayloadReadReceipt> {
  const { name, secret } = await keys.writing();
  return { key: name, mac: macOf(secret, clusterId, read).toString('base64') };
}

/**
 * Whether an answer is the receipt of this very reading, made by somebody who has the cluster's payload keys.
 * @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE where it names a key that is not known here, and Vault cannot be asked
 */
export async function isReceiptOf(
  keys: Pick<KeyRing, 'find'>,
  clusterId: string,
  read: PayloadRead,
  answer: unknown,
): Promise<boolean> {
  const { data: receipt } = payloadReadReceiptSchema.safeParse(answer);
  const key = receipt && (await keys.find(receipt.key));
  if (!key) return false;
  const [wanted, given] = [macOf(key.secret, clusterId, read), Buffer.from(receipt.mac, 'base64')];
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

/** With a key of its own (HKDF, RFC 5869): what encrypts does nothing else. */
function macOf(secret: KeyObject, clusterId: string, read: PayloadRead): Buffer {
  const key = hkdfSync('sha256', secret, '', 'neuralops.io/payload-read-receipt/v1', 32);
  return createHmac('sha256', Buffer.from(key)).update(payloadReadText(clusterId, read)).digest();
}
