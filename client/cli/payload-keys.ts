import type { DataConverter } from '@temporalio/common';
import { loadPayloadKeys } from '../../activities/vault/payload-keys.ts';
import { createVault } from '../../activities/vault/vault.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { readVaultSettings } from '../../worker/vault-settings.ts';
import { encryptingConverter } from '../data-converter/index.ts';
import { KeyRing } from '../data-converter/key-ring.ts';

/** The keys of a cluster, as far as the Vault login of whoever runs the command goes. */
export interface PayloadKeys {
  converterFor(namespace: string): DataConverter;
  close(): Promise<void>;
}

/**
 * Opens the keys where `BYOC_PAYLOAD_CODEC=vault` says that there are any; Vault is asked when the first payload needs it.
 * @throws {ConnectorError} CONFIG_INVALID
 */
export function openPayloadKeys(
  clusterId: string,
  env: Readonly<Record<string, string | undefined>>,
): PayloadKeys | undefined {
  const { BYOC_PAYLOAD_CODEC: codec = 'off' } = env;
  if (codec === 'off' || codec === '') return undefined;
  if (codec !== 'vault') throw new ConnectorError('CONFIG_INVALID', 'BYOC_PAYLOAD_CODEC must be vault or off.');
  const settings = readVaultSettings(env, 'codec');
  if (!settings) throw new ConnectorError('CONFIG_INVALID', 'BYOC_PAYLOAD_CODEC=vault needs VAULT_ADDR.');
  const vault = createVault(settings);
  const keys = new KeyRing({ load: () => loadPayloadKeys(vault, clusterId) });
  return {
    converterFor: (namespace) => encryptingConverter(keys, { clusterId, namespace }),
    close: () => vault.close(),
  };
}
