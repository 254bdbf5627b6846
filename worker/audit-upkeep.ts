import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import type { NativeConnection, Worker } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { AuditReadActivities, AuditUpkeepActivities } from '../activities/audit/upkeep.ts';
import { toApplicationFailure } from '../activities/failure.ts';
import { dataConverter } from '../client/data-converter/index.ts';
import type { KeyRing } from '../client/data-converter/key-ring.ts';
import { sha256 } from '../client/sha256.ts';
import { AUDIT_RETENTION_DAYS } from '../domain/audit.ts';
import { auditReadSchema, payloadReadSchema, payloadReadText } from '../domain/audit-read.ts';
import { ConnectorError } from '../domain/errors.ts';
import { isSealed } from '../domain/malformed.ts';
import { auditQueueOf } from '../domain/names.ts';
import type { AuditTrail } from './audit-trail.ts';
import { makeReceipt } from './codec-server/reading-receipt.ts';
import { auditSchedules, reconcileSchedules, removeSchedules, writerScheduleIds } from './schedules.ts';
import { createWorker } from './temporal.ts';

/** A writer that has been silent for so long is gone: nothing is scheduled for it any more. */
const GONE_AFTER_MS = 24 * 3_600_000;
const FORGOTTEN_AFTER_MS = AUDIT_RETENTION_DAYS * 24 * 3_600_000;

export interface AuditUpkeepOptions {
  readonly clusterId: string;
  readonly writer: string;
  readonly connection: NativeConnection;
  readonly namespace: string;
  readonly client: Client;
  readonly audit: AuditTrail;
  /** Where this process runs workflows. */
  readonly workflowQueue: string;
  /** Whether it also forgets writers that are gone, which takes the right to remove their Leases. */
  readonly forgetsOthers: boolean;
  readonly logger: Logger;
}

/** The worker of this writer's own queue, and its schedules. */
export async function createAuditUpkeep(options: AuditUpkeepOptions): Promise<Worker> {
  const { clusterId, writer, connection, namespace, client } = options;
  const worker = await createWorker({
    connection,
    namespace,
    taskQueue: auditQueueOf(clusterId, writer),
    activities: createUpkeepActivities(options),
    dataConverter,
    maxConcurrentActivityTaskExecutions: 2,
    shutdownGraceTime: '5s',
  });
  await reconcileSchedules(client.schedule, auditSchedules(clusterId, writer, options.workflowQueue));
  return worker;
}

function createUpkeepActivities(options: AuditUpkeepOptions): AuditUpkeepActivities & Record<string, () => unknown> {
  const { audit } = options;
  return {
    uploadAudit: () =>
      translated(async () => {
        const { objects, manifests } = await audit.upload();
        return { objects: objects.length, days: manifests.map(({ manifest }) => manifest.day) };
      }),
    removeAudit: () =>
      translated(async () => {
        const { removed, keptBytes } = await audit.removeFiles();
        if (options.forgetsOthers) await forgetOthers(options);
        return { files: removed.map(({ file }) => file.name), keptBytes };
      }),
  };
}

export interface ReadOptions {
  readonly clusterId: string;
  readonly audit: Pick<AuditTrail, 'append'>;
  /** The payload keys; without them nobody can be told for sure that a reading is recorded. */
  readonly keys: KeyRing | undefined;
}

/** Activities for the queue that all workers share. */
export function createReadActivities({ clusterId, audit, keys }: ReadOptions): AuditReadActivities {
  return {
    recordAuditRead: (read) =>
      translated(async () => {
        if (isSealed(read))
          throw new ConnectorError('PAYLOAD_SEALED', 'The worker has none, and cannot record who reads.');
        const parsed = auditReadSchema.safeParse(read);
        if (!parsed.success) throw new ConnectorError('USAGE', 'The reading does not have the form that it must have.');
        const { reader, ...detail } = parsed.data;
        // One attempt after the other of one run tells one reading.
        const eventId = `audit.read/${Context.current().info.workflowExecution?.runId ?? randomUUID()}`;
        const actor = { id: reader.toWellFormed(), proof: 'asserted' } as const;
        await audit.append({ eventId, type: 'audit.read', actor, outcome: 'succeeded', detail });
      }),
    recordPayloadRead: (read) =>
      translated(async () => {
        const parsed = payloadReadSchema.safeParse(read);
        if (!parsed.success) throw new ConnectorError('USAGE', 'The reading does not have the form that it must have.');
        const { reader, nonce, ...detail } = parsed.data;
        // Before it is recorded: a key that cannot be had costs no entry.
        const receipt = nonce && keys && (await makeReceipt(keys, clusterId, parsed.data));
        // The run alone would not do: somebody else's could have one reading recorded, and get a receipt of another.
        const told = sha256(payloadReadText(clusterId, parsed.data));
        const eventId = `payload.read/${Context.current().info.workflowExecution?.runId ?? randomUUID()}/${told}`;
        const actor = { id: reader.toWellFormed(), proof: 'asserted' } as const;
        await audit.append({ eventId, type: 'payload.read', actor, outcome: 'succeeded', detail });
        return receipt || undefined;
      }),
  };
}

async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toApplicationFailure(error);
  }
}

/** Writers that were killed took nothing down themselves. Their last heads are kept as long as what they wrote. */
async function forgetOthers({ clusterId, writer, client, audit, logger }: AuditUpkeepOptions): Promise<void> {
  for (const { name, holder, renewedAt } of await audit.leases.list(clusterId)) {
    const silentMs = Date.now() - renewedAt.getTime();
    if (holder === writer || !(silentMs > GONE_AFTER_MS)) continue;
    await removeSchedules(client.schedule, writerScheduleIds(clusterId, holder));
    if (silentMs > FORGOTTEN_AFTER_MS) await audit.leases.remove(name);
    logger.info({ writer: holder }, 'a writer is gone; its schedules were removed');
  }
}
