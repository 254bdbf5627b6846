import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { loadPayloadKeys } from '../../activities/vault/payload-keys.ts';
import { createVault } from '../../activities/vault/vault.ts';
import { ConnectorClient } from '../../client/connector-client.ts';
import { encryptingConverter } from '../../client/data-converter/index.ts';
import { KeyRing } from '../../client/data-converter/key-ring.ts';
import { ConnectorError } from '../../domain/errors.ts';
import { createAuthenticate } from '../agent/caller.ts';
import { createKeySet } from '../agent/key-set.ts';
import { nothingListens, openAgentServer } from '../agent/server.ts';
import { createCodecApi } from './api.ts';
import { createReadingLog } from './reading-log.ts';
import { isReceiptOf } from './reading-receipt.ts';
import type { CodecServerConfig } from './settings.ts';

export interface CodecServer {
  /** Base address. */
  readonly url: string;
  close(): Promise<void>;
}

const NONCE_BYTES = 16;
const NO_RECEIPT =
  "What answered in Temporal has not the cluster's payload keys: no worker of this release with VAULT_ADDR.";

/**
 * Opens the server that shows what is encrypted in Temporal to those who may see it.
 * @param env finds Temporal, in whose namespace the payloads are and through which readings are recorded
 * @throws {ConnectorError} CONFIG_INVALID, PAYLOAD_KEYS_UNAVAILABLE, TEMPORAL_UNAVAILABLE
 */
export async function openCodecServer(
  config: CodecServerConfig,
  env: Readonly<Record<string, string | undefined>>,
  logger: Logger,
): Promise<CodecServer> {
  const { clusterId, jwt, host, port, tls, origins } = config;
  const vault = createVault(config.vault);
  let isOpen = false;
  const ring = new KeyRing({
    load: () => loadPayloadKeys(vault, clusterId),
    onRead: (read) => {
      if (isOpen && 'error' in read) logger.warn({ err: read.error }, 'the payload keys cannot be read');
    },
  });
  await ring.open();
  isOpen = true;
  let namespace = '';
  const client = await ConnectorClient.connect(clusterId, env, (found) => {
    namespace = found;
    return encryptingConverter(ring, { clusterId, namespace });
  });
  const server = await openAgentServer(tls, {
    onCertificate: ({ notAfter }) => logger.info({ expiresAt: notAfter.toISOString() }, 'the certificate is loaded'),
    onTrouble: (err) => {
      if (err) logger.error({ err }, 'the certificate cannot be read again');
    },
  }).catch((cause: unknown) => {
    throw new ConnectorError('CONFIG_INVALID', 'BYOC_CODEC_TLS_CERT or BYOC_CODEC_TLS_KEY cannot be used.', { cause });
  });
  const keys =
    jwt &&
    createKeySet(jwt.keys, (err) => {
      if (err !== undefined) logger.warn({ err }, 'the keys that tokens are verified with cannot be read');
    });
  if (!jwt) logger.warn('whoever is on this machine is shown everything: BYOC_CODEC_JWT_ISSUER is not set');
  const callers = { clientNames: undefined, jwt };
  const app = createCodecApi({
    server,
    authenticate: jwt && createAuthenticate({ config: callers, keys, isCurrent: (socket) => server.isCurrent(socket) }),
    codecs: client.client.options.loadedDataConverter.payloadCodecs,
    namespace,
    origins,
    onRead: createReadingLog(async (reader) => {
      const read = { reader, namespace, nonce: randomBytes(NONCE_BYTES).toString('base64url') };
      const answer = await client.recordPayloadRead(read).catch(unrecorded);
      if (!(await isReceiptOf(ring, clusterId, read, answer)))
        throw new ConnectorError('READING_UNRECORDED', NO_RECEIPT);
    }),
    logger,
  });
  try {
    await app.listen({ host, port });
  } catch (cause) {
    throw new ConnectorError('CONFIG_INVALID', nothingListens(host, port, cause), { cause });
  }
  const { port: listening } = app.server.address() as AddressInfo; // it listens on a port
  const name = host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return {
    url: `${tls ? 'https' : 'http'}://${name}:${listening}`,
    async close() {
      await app.close();
      server.close();
      await Promise.all([keys?.close(), client.close(), vault.close()]);
    },
  };
}

/**
 * What is away is told as such; whatever else kept a worker from recording is not the caller's doing.
 * @throws {ConnectorError}
 */
function unrecorded(error: unknown): never {
  if (error instanceof ConnectorError && error.traits.retryable) throw error;
  throw new ConnectorError('READING_UNRECORDED', '', { cause: error });
}
