import { Client, Connection, isGrpcServiceError, ScheduleNotFoundError } from '@temporalio/client';
import type { ScheduleDescription } from '@temporalio/client';
import { certificateFacts } from '../../activities/tls/material.ts';
import type { TemporalSettings } from '../../client/temporal-settings.ts';
import { placeOf, readTemporalSettings, temporalTlsOf } from '../../client/temporal-settings.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { ScheduleRow } from '../schedules.ts';
import { registeredSearchAttributes } from '../temporal.ts';
import { SEARCH_ATTRIBUTES } from '../../domain/names.ts';
import { counted, found, ok } from './check.ts';
import type { Check, CheckGroup, Told } from './check.ts';
import type { Evidence } from './evidence.ts';
import { noAnswer } from './evidence.ts';
import type { TlsMaterial } from './probe.ts';
import { probeTls } from './probe.ts';

export interface TemporalOptions {
  readonly env: NodeJS.ProcessEnv;
  /** The queues that the worker with these settings polls. */
  readonly queues: readonly string[];
  /** The schedules that it makes. */
  readonly schedules: readonly ScheduleRow[];
  readonly evidence: Evidence;
  /** False before the first start, when nobody polls and nothing is made yet. */
  readonly expectsWorker: boolean;
}

/** `TASK_QUEUE_TYPE_*` of Temporal's API. */
const QUEUE_TYPES = [1, 2];
/** A poll lasts for a minute; who began none since is gone, though the service still names it. */
const POLL_MS = 75_000;
const CONNECT_TIMEOUT_MS = 4_000;
const CODES = { away: 'TEMPORAL_UNREACHABLE', certificate: 'TEMPORAL_CERTIFICATE' } as const;
const GRPC = { notFound: 5, denied: 7, unauthenticated: 16 } as const;

export function temporalChecks(options: TemporalOptions): CheckGroup {
  const { evidence, queues, schedules, expectsWorker } = options;
  let opened: { readonly connection: Connection; readonly client: Client; readonly namespace: string } | undefined;
  const open = () => {
    if (!opened) throw new Error('not connected'); // whatever asks needs the first check
    return opened;
  };
  const later = (name: string, run: Check['run']): Check => ({ name, needs: ['temporal.namespace'], run });

  const worker: Check[] = expectsWorker
    ? [
        later('temporal.queues', async () => {
          const { connection, namespace } = open();
          return (await Promise.all(queues.map((queue) => judgeQueue(connection, namespace, queue, evidence)))).flat();
        }),
        later('temporal.schedules', async () => {
          const { client } = open();
          const told = await Promise.all(schedules.map((row) => judgeSchedule(client, row)));
          const bad = told.flatMap((one) => one ?? []);
          return bad.length > 0 ? bad : [ok(`All ${schedules.length} are there, run and are not paused.`)];
        }),
      ]
    : [];
  return {
    checks: [
      {
        name: 'temporal',
        async run(signal) {
          const settings = settingsOf(options.env);
          if ('status' in settings) return [settings];
          const { address, namespace, connectionOptions } = settings;
          const handshake = await shakeHands(address, connectionOptions, evidence, signal);
          if (handshake && 'trouble' in handshake)
            return [noAnswer(handshake.trouble, CODES, `Temporal at ${address}`)];
          if (handshake) evidence.take('temporal', handshake);
          try {
            const connection = await Connection.connect({
              ...connectionOptions,
              address,
              connectTimeout: CONNECT_TIMEOUT_MS,
            });
            opened = { connection, namespace, client: new Client({ connection, namespace }) };
            const { serverVersion } = await connection.workflowService.getSystemInfo({});
            return [
              ok(
                `Temporal ${serverVersion || 'of an unknown version'} answers at ${address}${handshake ? ', over TLS' : ''}.`,
              ),
            ];
          } catch (error) {
            return [refusalOf(error) ?? found('TEMPORAL_UNREACHABLE', `Temporal at ${address} does not answer.`)];
          }
        },
      },
      {
        name: 'temporal.namespace',
        needs: ['temporal'],
        async run() {
          const { connection, namespace } = open();
          try {
            const { config } = await connection.workflowService.describeNamespace({ namespace });
            const days = Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0) / 86_400;
            return [
              ok(
                `The namespace ${namespace} is there and keeps histories for ${counted(Math.round(days * 10) / 10, 'day')}.`,
              ),
            ];
          } catch (error) {
            if (isGrpcServiceError(error) && error.code === GRPC.notFound)
              return [found('TEMPORAL_NAMESPACE_MISSING', `There is no namespace ${namespace}.`)];
            return [refusalOf(error) ?? found('TEMPORAL_UNREACHABLE', 'It does not answer any more.')];
          }
        },
      },
      later('temporal.search-attributes', async () => {
        const registered = await registeredSearchAttributes(open());
        const missing = Object.values(SEARCH_ATTRIBUTES).filter((name) => !registered.includes(name));
        return missing.length === 0
          ? [ok(`${registered.join(', ')} are registered.`)]
          : [
              found(
                'SEARCH_ATTRIBUTES_MISSING',
                `Not registered as Keyword: ${missing.join(', ')}; packages cannot be listed by it.`,
              ),
            ];
      }),
      ...worker,
    ],
    async close() {
      await opened?.connection.close();
    },
  };
}

function settingsOf(env: NodeJS.ProcessEnv): TemporalSettings | Told {
  try {
    return readTemporalSettings(env);
  } catch (error) {
    return found('TEMPORAL_SETTINGS', error instanceof ConnectorError ? error.detail : 'They cannot be read.');
  }
}

/** @returns undefined where no TLS is asked for */
async function shakeHands(
  address: string,
  options: TemporalSettings['connectionOptions'],
  evidence: Evidence,
  signal: AbortSignal,
) {
  if (!options.tls && !options.apiKey) return undefined;
  const { serverRootCACertificate, serverNameOverride, clientCertPair } = temporalTlsOf(options);
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');
  const material = {
    ...(serverRootCACertificate && { ca: text(serverRootCACertificate) }),
    ...(clientCertPair && { cert: text(clientCertPair.crt), key: text(clientCertPair.key) }),
  };
  for (const { kind, notAfter } of certificateFacts(material))
    evidence.certificates.set(`temporal (${kind})`, notAfter);
  const names = serverNameOverride ? { servername: serverNameOverride } : {};
  const tls: TlsMaterial = { ALPNProtocols: ['h2'], ...names, ...material };
  return probeTls({ ...placeOf(address), tls, signal });
}

function refusalOf(error: unknown): Told | undefined {
  if (!isGrpcServiceError(error)) return undefined;
  if (error.code !== GRPC.denied && error.code !== GRPC.unauthenticated) return undefined;
  return found('TEMPORAL_DENIED', 'Temporal does not let us in.');
}

/** Who polls is told as workers call themselves: process and host. */
async function judgeQueue(
  connection: Connection,
  namespace: string,
  name: string,
  evidence: Evidence,
): Promise<Told[]> {
  const answers = await Promise.all(
    QUEUE_TYPES.map((taskQueueType) =>
      connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name }, taskQueueType }),
    ),
  );
  const pollers = answers.flatMap(({ pollers }) => pollers ?? []);
  const seen = pollers.map(({ identity, lastAccessTime }) => ({
    identity: identity ?? '',
    at: Number(lastAccessTime?.seconds ?? 0) * 1_000,
  }));
  // By Temporal's own clock. That it lags behind proves nothing, because a poll may have begun a while ago.
  const newest = Math.max(...seen.map(({ at }) => at));
  if (newest > Date.now()) evidence.clocks.set('temporal', newest - Date.now());
  const alive = new Set(seen.filter(({ at }) => at >= Date.now() - POLL_MS).map(({ identity }) => identity));
  return alive.size > 0
    ? [ok(`${name} is polled by ${[...alive].sort().join(', ')}.`)]
    : [found('QUEUE_UNPOLLED', `Nobody polls ${name}.`)];
}

/** @returns undefined where all is well */
async function judgeSchedule(client: Client, { id }: ScheduleRow): Promise<Told | undefined> {
  let described: ScheduleDescription;
  try {
    described = await client.schedule.getHandle(id).describe();
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return found('SCHEDULE_MISSING', `There is no schedule ${id}.`);
    throw error;
  }
  const { paused, note } = described.state;
  if (paused) return found('SCHEDULE_PAUSED', `${id} is paused${note ? `: ${note.slice(0, 200)}` : '.'}`);
  const last = described.info.recentActions.at(-1)?.action;
  if (last?.type !== 'startWorkflow') return undefined;
  const { workflowId, firstExecutionRunId } = last.workflow;
  const run = await client.workflow
    .getHandle(workflowId, firstExecutionRunId)
    .describe()
    .catch(() => undefined); // its history may be gone by now
  const status = run?.status.name;
  if (status !== 'FAILED' && status !== 'TIMED_OUT') return undefined;
  return found('SCHEDULE_FAILING', `The last run of ${id} ${status === 'FAILED' ? 'failed' : 'took too long'}.`);
}
