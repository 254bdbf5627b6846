import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection } from '@temporalio/worker';
import { ConnectorError } from '../domain/errors.ts';
import { SEARCH_ATTRIBUTES } from '../domain/names.ts';

export interface TemporalAccess {
  readonly connection: NativeConnection;
  readonly namespace: string;
}

/**
 * Connects as every Temporal worker does: `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, TLS and API-key settings, profiles.
 * @throws {ConnectorError} TEMPORAL_UNAVAILABLE
 */
export async function connectTemporal(env: NodeJS.ProcessEnv): Promise<TemporalAccess> {
  const set = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const { connectionOptions, namespace } = loadClientConnectConfig({ overrideEnvVars: Object.fromEntries(set) });
  const { address = 'localhost:7233' } = connectionOptions;
  try {
    const connection = await NativeConnection.connect({ ...connectionOptions, address });
    return { connection, namespace: namespace ?? 'default' };
  } catch (cause) {
    throw new ConnectorError('TEMPORAL_UNAVAILABLE', `Tried ${address}.`, { cause });
  }
}

/** `INDEXED_VALUE_TYPE_KEYWORD` of Temporal's API. */
const KEYWORD = 2;

/** The connector's search attributes that the namespace knows as keywords; setting another would fail workflow tasks for ever. */
export async function registeredSearchAttributes({ connection, namespace }: TemporalAccess): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  return Object.values(SEARCH_ATTRIBUTES).filter((name) => customAttributes?.[name] === KEYWORD);
}
