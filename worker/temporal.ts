import { NativeConnection, Worker } from '@temporalio/worker';
import type { WorkerOptions } from '@temporalio/worker';
import type { FollowOptions } from '../client/following-connection.ts';
import { followConnection } from '../client/following-connection.ts';
import type { TemporalSettings } from '../client/temporal-settings.ts';
import { SEARCH_ATTRIBUTES } from '../domain/names.ts';
import type { Environment } from '../domain/tls-settings.ts';

export interface TemporalAccess {
  /** Passes everything on to the connection that counts at the moment; make workers on it with `createWorker`. */
  readonly connection: NativeConnection;
  readonly namespace: string;
}

/** Is told about the certificates; none of it may throw. */
export interface TemporalWatch extends Pick<FollowOptions<NativeConnection>, 'onTrouble' | 'everyMs'> {
  /** The settings that the connection was made with, at the beginning and whenever they change. */
  readonly onConnected?: (settings: TemporalSettings) => void;
}

/** The workers that each access has to take along when it changes over to another connection. */
const workersOf = new WeakMap<NativeConnection, Set<Worker>>();

/**
 * Connects as every Temporal worker does: `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, TLS and API-key settings, profiles. When
 * certificates or the API key change on disk, a new connection takes over, without a restart and without a call that fails.
 * @throws {ConnectorError} CONFIG_INVALID, TEMPORAL_UNAVAILABLE
 */
export async function connectTemporal(
  env: Environment,
  { onConnected, onTrouble, everyMs }: TemporalWatch = {},
): Promise<TemporalAccess> {
  const workers = new Set<Worker>();
  const { connection, settings } = await followConnection<NativeConnection>({
    env,
    connect: ({ connectionOptions }) => NativeConnection.connect(connectionOptions),
    prototype: NativeConnection.prototype,
    onSwitch(next, found) {
      for (const worker of workers) {
        if (worker.getState() === 'STOPPED' || worker.getState() === 'FAILED') workers.delete(worker);
        else worker.connection = next; // polls under way end where they began
      }
      onConnected?.(found);
    },
    ...(onTrouble && { onTrouble }),
    ...(everyMs !== undefined && { everyMs }),
  });
  workersOf.set(connection, workers);
  onConnected?.(settings);
  return { connection, namespace: settings.namespace };
}

/** Makes a worker that stays with what its access is connected to. */
export async function createWorker(
  options: WorkerOptions & { readonly connection: NativeConnection },
): Promise<Worker> {
  const worker = await Worker.create(options);
  workersOf.get(options.connection)?.add(worker);
  return worker;
}

/** `INDEXED_VALUE_TYPE_KEYWORD` of Temporal's API. */
const KEYWORD = 2;

/** The connector's search attributes that the namespace knows as keywords; setting another would fail workflow tasks for ever. */
export async function registeredSearchAttributes({
  connection,
  namespace,
}: {
  readonly connection: Pick<NativeConnection, 'operatorService'>;
  readonly namespace: string;
}): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  return Object.values(SEARCH_ATTRIBUTES).filter((name) => customAttributes?.[name] === KEYWORD);
}
