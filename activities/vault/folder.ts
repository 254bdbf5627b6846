import { ConnectorError } from '../../domain/errors.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import type { Vault } from './vault.ts';

export interface VaultFolder<Key> {
  readonly vault: Vault;
  /** Where the KV engine (version 2) is mounted. */
  readonly mount: string;
  readonly folder: string;
  /** What an entry is called in errors, such as "signing key". */
  readonly kind: string;
  /** The code of all errors: nobody acts on less than there is. */
  readonly unavailable: ErrorCode;
  /** Reads one entry; what it throws says what is wrong with it. */
  read(name: string, data: Readonly<Record<string, unknown>>): Key;
}

/**
 * Reads the keys of a folder in Vault, one secret a key. An entry that was deleted is none; one that cannot be read
 * makes all keys unavailable: it may be the one that revokes a key.
 * @throws {ConnectorError} the code given; its cause is VAULT_UNAVAILABLE where Vault did not answer
 */
export async function loadVaultFolder<Key>(from: VaultFolder<Key>): Promise<Key[]> {
  const { vault, mount, folder, unavailable } = from;
  try {
    const names = await vault.listSecrets(mount, folder);
    const secrets = await Promise.all(names.map((name) => vault.readSecret(mount, `${folder}/${name}`)));
    return names.flatMap((name, index) => {
      const data = secrets[index];
      return data === undefined ? [] : [readEntry(from, name, data)];
    });
  } catch (cause) {
    if (cause instanceof ConnectorError && cause.code === 'VAULT_UNAVAILABLE') {
      throw new ConnectorError(unavailable, cause.detail, { cause });
    }
    throw cause;
  }
}

function readEntry<Key>(from: VaultFolder<Key>, name: string, data: Readonly<Record<string, unknown>>): Key {
  try {
    return from.read(name, data);
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : 'it cannot be read';
    throw new ConnectorError(from.unavailable, `The ${from.kind} ${name} in Vault: ${problem}.`, { cause });
  }
}
