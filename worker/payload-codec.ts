import type { DataConverter } from '@temporalio/common';
import type { Logger } from 'pino';
import { loadPayloadKeys } from '../activities/vault/payload-keys.ts';
import type { Vault } from '../activities/vault/vault.ts';
import { dataConverter, encryptingConverter } from '../client/data-converter/index.ts';
import { KeyRing } from '../client/data-converter/key-ring.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { Finding, Health } from '../domain/health.ts';
import type { WorkerConfig } from './config.ts';
import type { Looks } from './health-watch.ts';

export interface PayloadCodecOptions {
  readonly config: Pick<WorkerConfig, 'clusterId' | 'payloadCodec'>;
  /** The login of execution. */
  readonly vault: Vault | undefined;
  readonly namespace: string;
  readonly health: Pick<Health, 'report'>;
  readonly logger: Logger;
}

export interface PayloadCodecOfWorker {
  readonly dataConverter: DataConverter;
  /**
   * Undefined where there is no Vault that they could be in. Also a worker that does not encrypt finds them here, where it
   * has to say that a reading is recorded.
   */
  readonly keys: KeyRing | undefined;
  readonly looks: Looks;
}

/** Whether it is time to read the keys again the ring knows. */
const LOOK_EVERY_MS = 30_000;

/**
 * How execution turns values into payloads: encrypted, where the settings say so. Without a key it does not start:
 * nothing goes to Temporal in clear because something was away.
 * @throws {ConnectorError} PAYLOAD_KEYS_UNAVAILABLE, CONFIG_INVALID
 */
export async function openPayloadCodec(options: PayloadCodecOptions): Promise<PayloadCodecOfWorker> {
  const { config, vault, namespace, health, logger } = options;
  const { clusterId } = config;
  if (config.payloadCodec === 'off') {
    return { dataConverter, keys: vault && new KeyRing({ load: () => loadPayloadKeys(vault, clusterId) }), looks: {} };
  }
  if (!vault) throw new ConnectorError('CONFIG_INVALID', 'BYOC_PAYLOAD_CODEC=vault needs VAULT_ADDR.');
  let writing: string | undefined;
  let finding: Finding = { state: 'ok' };
  const report = (now: Finding) => health.report('payload-keys', (finding = now));
  const keys = new KeyRing({
    load: () => loadPayloadKeys(vault, clusterId),
    onRead(read) {
      if ('error' in read) {
        report({ state: 'degraded', code: 'PAYLOAD_KEYS_UNAVAILABLE' });
        logger.warn({ err: read.error }, 'the payload keys cannot be read; those that are known stay in use');
        return;
      }
      report({ state: 'ok' });
      if (read.writes !== writing) logger.info({ key: read.writes }, 'payloads are encrypted');
      writing = read.writes;
    },
  });
  await keys.open();
  // Also where nothing is encrypted for a month: the next key is known in time, and that the keys cannot be read, too.
  const look = async () => {
    await keys.keepFresh();
    return finding;
  };
  return {
    dataConverter: encryptingConverter(keys, { clusterId, namespace }),
    keys,
    looks: { 'payload-keys': { everyMs: LOOK_EVERY_MS, look } },
  };
}
