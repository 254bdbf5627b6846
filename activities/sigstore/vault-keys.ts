import { z } from 'zod';
import type { Vault } from '../vault/vault.ts';
import { keyFields, keyOf, parseEntry } from './key-entry.ts';
import type { KeySource } from './keys.ts';
import { loadVaultFolder } from '../vault/folder.ts';

const entrySchema = z.strictObject(keyFields);

/**
 * Signing keys from Vault's KV engine (version 2): one secret a key at `byoc/<clusterId>/signing-keys/<name>`, with
 * the fields `pem`, and where wanted `notBefore`, `notAfter` and `revokedAt` (RFC 3339, in UTC).
 *
 * One entry that cannot be read makes all keys unavailable: it may be the one that revokes a key listed twice.
 * @param mount where the engine is mounted
 */
export function vaultKeySource({
  vault,
  clusterId,
  mount = 'secret',
}: {
  vault: Vault;
  clusterId: string;
  mount?: string;
}): KeySource {
  return {
    load: () =>
      loadVaultFolder({
        vault,
        mount,
        folder: `byoc/${clusterId}/signing-keys`,
        kind: 'signing key',
        unavailable: 'KEYS_UNAVAILABLE',
        read: (name, data) => keyOf(name, parseEntry(entrySchema, data)),
      }),
  };
}
