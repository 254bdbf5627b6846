import type { DataConverter } from '@temporalio/common';
import type { Logger } from 'pino';
import { loadPayloadKeys } from '../activities/vault/payload-keys.ts';
import type { Vault } from '../activities/vault/vault.ts';
import { dataConverter, encryptingConverter } from '../client/data-converter/index.ts';
import { KeyRing } from '../client/data-converter/key-ring.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Health } from '../domain/health.ts';
import type { WorkerConfig } from './config.ts';

export interface PayloadCodecOptions {
  readonly config: Pick<WorkerConfig, 'clusterId' | 'payloadCodec'>;
  /** The login of execution. */
  readonly vault: Vault | undefined;
  readonly namespace: string;
  readonly health: Pick<Health, 'report'>;
  readonly logger: Logger;
}

/**
 * How execution turns values into payloads: encrypted, where the settings say so. Without a key it does not start:
 * nothing goes to Temporal in clear because something was away.
 * @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE, CONFIG_INVALID
 */
export async function openPayloadCodec(options: PayloadCodecOptions): Promise<DataConverter> {
  const { config, vault, namespace, health, logger } = options;
  if (config.payloadCodec === 'off') return dataConverter;
  if (!vault) throw new ConnectorError('CONFIG_INVALID', 'BYOC_PAYLOAD_CODEC=vault needs VAULT_ADDR.');
  const { clusterId } = config;
  let writing: string | undefined;
  const keys = new KeyRing({
    load: () => loadPayloadKeys(vault, clusterId),
    onRead(read) {
      if ('error' in read) {
        health.report('payload-keys', { state: 'degraded', code: 'PAYLOAD_KEYS_UNAVAILABLE' });
        logger.warn({ err: read.error }, 'the payload keys cannot be read; those that are known stay in use');
        return;
      }
      health.report('payload-keys', { state: 'ok' });
      if (read.writes !== writing) logger.info({ key: read.writes }, 'payloads are encrypted');
      writing = read.writes;
    },
  });
  await keys.open();
  return encryptingConverter(keys, { clusterId, namespace });
}
