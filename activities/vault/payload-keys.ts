import { z } from 'zod';
import type { PayloadKey } from '../../domain/payload-key.ts';
import { PAYLOAD_KEY_BYTES, PAYLOAD_KEY_NAME, PAYLOAD_KEYS_FOLDER } from '../../domain/payload-key.ts';
import { KV_MOUNT } from '../../domain/vault-setup.ts';
import { loadVaultFolder } from './folder.ts';
import type { Vault } from './vault.ts';

/** Strict: a `writefrom` that nobody reads would let a key encrypt before others can decrypt. */
const entrySchema = z.strictObject({
  key: z.base64().refine((text) => Buffer.from(text, 'base64').length === PAYLOAD_KEY_BYTES),
  writeFrom: z.iso.datetime().optional(),
});

/**
 * The keys that payloads are encrypted with, from Vault's KV engine: one secret a key at
 * `byoc/<clusterId>/payload-keys/<name>`, with the fields `key` (32 bytes in base64) and where wanted `writeFrom`
 * (RFC 3339, in UTC).
 * @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE, also where one entry cannot be read; it says nothing of what is in one
 */
export function loadPayloadKeys(vault: Vault, clusterId: string): Promise<PayloadKey[]> {
  return loadVaultFolder({
    vault,
    mount: KV_MOUNT,
    folder: `byoc/${clusterId}/${PAYLOAD_KEYS_FOLDER}`,
    kind: 'payload key',
    unavailable: 'PAYLOAD_KEYS_UNAVAILABLE',
    read: payloadKeyOf,
  });
}

function payloadKeyOf(name: string, data: Readonly<Record<string, unknown>>): PayloadKey {
  if (!PAYLOAD_KEY_NAME.test(name)) throw new Error('its name has characters that it may not have');
  const parsed = entrySchema.safeParse(trimmed(data));
  if (!parsed.success) {
    const field = String(parsed.error.issues[0]?.path[0] ?? 'a field that nobody knows');
    throw new Error(
      `${field} is not as it must be: key is ${PAYLOAD_KEY_BYTES} bytes in base64, writeFrom a time in UTC`,
    );
  }
  const { key, writeFrom } = parsed.data;
  const secret = Buffer.from(key, 'base64');
  return { name, secret, ...(writeFrom !== undefined && { writeFrom: new Date(writeFrom) }) };
}

/** What is piped into the `vault` command ends in a line break. */
function trimmed({ key, ...rest }: Readonly<Record<string, unknown>>): object {
  return { ...rest, key: typeof key === 'string' ? key.trim() : key };
}
