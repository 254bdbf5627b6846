import { z } from 'zod';
import { ConnectorError } from '../../domain/errors.ts';
import type { Vault } from '../vault/vault.ts';
import type { KeySource, TrustedKey } from './keys.ts';
import { parsePublicKeys } from './keys.ts';

const time = z.iso.datetime().transform((text) => new Date(text));
/** Unknown fields are refused: a misspelt `revokedAt` must not leave a key in force. */
const entrySchema = z.strictObject({
  pem: z.string().max(16_384),
  notBefore: time.optional(),
  notAfter: time.optional(),
  revokedAt: time.optional(),
});

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
  const folder = `byoc/${clusterId}/signing-keys`;
  async function loadKey(name: string): Promise<TrustedKey[]> {
    const data = await vault.readSecret(mount, `${folder}/${name}`);
    return data === undefined ? [] : [readEntry(name, data)];
  }
  return {
    async load() {
      try {
        const names = await vault.listSecrets(mount, folder);
        return (await Promise.all(names.map(loadKey))).flat();
      } catch (cause) {
        if (cause instanceof ConnectorError && cause.code === 'VAULT_UNAVAILABLE') {
          throw new ConnectorError('KEYS_UNAVAILABLE', cause.detail, { cause });
        }
        throw cause;
      }
    },
  };
}

function readEntry(name: string, data: Readonly<Record<string, unknown>>): TrustedKey {
  const entry = entrySchema.safeParse(data);
  if (!entry.success) {
    const [issue] = entry.error.issues;
    throw broken(name, `${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim());
  }
  const { pem, notBefore, notAfter, revokedAt } = entry.data;
  const [key, second] = parseOrRefuse(pem, name);
  if (!key || second) throw broken(name, 'one key an entry is expected');
  return {
    ...key,
    ...(notBefore && { notBefore }),
    ...(notAfter && { notAfter }),
    ...(revokedAt && { revokedAt }),
  };
}

function parseOrRefuse(pem: string, name: string): TrustedKey[] {
  try {
    return parsePublicKeys(pem, name);
  } catch (cause) {
    throw broken(name, cause instanceof ConnectorError ? cause.detail.replace(/\.$/, '') : 'it cannot be read', cause);
  }
}

function broken(name: string, problem: string, cause?: unknown): ConnectorError {
  return new ConnectorError('KEYS_UNAVAILABLE', `The signing key ${name} in Vault: ${problem}.`, { cause });
}
