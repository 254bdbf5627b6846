import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { KubeAccess } from '../activities/kubernetes/credentials.ts';
import { Executor, throughExecutor } from '../activities/kubernetes/executor.ts';
import type { FreezeVersion } from '../activities/kubernetes/freeze-watch.ts';
import { FreezeWatch } from '../activities/kubernetes/freeze-watch.ts';
import type { KubeApi } from '../activities/kubernetes/kube-api.ts';
import { createKubeApi } from '../activities/kubernetes/kube-api.ts';
import type { ExecutorLeases } from '../activities/kubernetes/writer.ts';
import { createExecutorLeases, createStateRecords } from '../activities/kubernetes/writer.ts';
import { FreezeRecords } from '../activities/package/freeze-records.ts';
import type { AuditWriter } from '../activities/package/records.ts';
import { sha256 } from '../client/sha256.ts';
import { ConnectorError } from '../domain/errors.ts';
import type { FreezeState } from '../domain/freeze.ts';
import type { WorkerConfig } from './config.ts';

/** What halts this worker: the freeze of the cluster, and the executor that lets writes pass while there is none. */
export interface Halting {
  readonly executor: Executor;
  /** Of this and other executors. */
  readonly leases: ExecutorLeases;
  /** The freeze as this worker knows it, for status and health. */
  freeze(): FreezeState;
  /** The API server with every write subject to the freeze. */
  guard(api: KubeApi): KubeApi;
  close(): Promise<void>;
}

/** For health an idle worker, which looks every 5 s, knows well enough. */
const KNOWN_FOR_MS = 15_000;

/**
 * Makes the freeze on the first installation, and follows it.
 * @param kube the connector's own account
 * @param applying the account that writes what packages say
 */
export async function openHalting(
  { clusterId, writer, stateNamespace }: WorkerConfig,
  kube: KubeAccess,
  applying: KubeAccess,
  audit: AuditWriter,
  logger: Logger,
): Promise<Halting> {
  const now = () => new Date();
  // Connections of their own: what is read and said about the freeze never waits behind plans and writes.
  const api = createKubeApi(kube, { connections: 4 });
  // And as many for writes as pass at a time, so that none that has passed waits for a connection.
  const writes = createKubeApi(applying);
  const onTrouble = (err: unknown) => logger.warn({ err }, 'the state of the freeze could not be told or recorded');
  const records = new FreezeRecords({
    clusterId,
    records: createStateRecords(api, stateNamespace),
    audit,
    sha256,
    onTrouble,
  });
  await records.install();
  const leases = createExecutorLeases(api, clusterId, stateNamespace);
  let wasFrozen = false;
  const freeze = new FreezeWatch({
    api,
    clusterId,
    namespace: stateNamespace,
    now,
    onVersion: (version) => {
      if (version.isFrozen !== wasFrozen) tell(logger, version);
      wasFrozen = version.isFrozen;
      records.take(version);
      executor.acknowledge();
    },
    onReadable: (isReadable, err) => {
      if (isReadable) logger.warn('the freeze can be read again');
      else logger.error({ alert: 'frozen', code: codeOf(err), err }, 'the freeze cannot be read: nothing is written');
    },
  });
  const executor: Executor = new Executor({
    name: `byoc-executor-${sha256(`${clusterId} ${writer} ${randomUUID()}`).slice(-32)}`,
    holder: writer,
    leases,
    freeze,
    onTrouble,
    now,
  });
  await freeze.start();
  return {
    executor,
    leases,
    freeze: () => freeze.state(KNOWN_FOR_MS),
    guard: (reads) => throughExecutor({ ...reads, write: writes.write }, executor),
    async close() {
      await executor.close();
      await Promise.all([freeze.close(), records.close()]);
      await Promise.all([api.close(), writes.close()]);
    },
  };
}

function tell(logger: Logger, { isFrozen, how, by, reason }: FreezeVersion): void {
  if (!isFrozen) return logger.warn({ by, reason }, 'the freeze is lifted');
  const what =
    how === 'set'
      ? 'execution is frozen: nothing is written'
      : 'the freeze object is gone, which counts as frozen: nothing is written until somebody runs byoc resume';
  logger.error({ alert: 'frozen', how, by, reason }, what);
}

function codeOf(error: unknown): string {
  return error instanceof ConnectorError ? error.code : 'INTERNAL';
}
