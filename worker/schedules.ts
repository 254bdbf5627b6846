import type { ScheduleClient, ScheduleOptions, ScheduleSpec } from '@temporalio/client';
import { ScheduleAlreadyRunning, ScheduleNotFoundError, ScheduleOverlapPolicy } from '@temporalio/client';
import { sha256 } from '../client/sha256.ts';
import { auditQueueOf, metricsQueueOf, scheduleIdOf, taskQueueOf } from '../domain/names.ts';

/** One thing that Temporal does for us again and again. */
export interface ScheduleRow {
  readonly id: string;
  readonly workflowType: string;
  readonly args: readonly unknown[];
  /** Where the workflow runs. */
  readonly taskQueue: string;
  readonly spec: ScheduleSpec;
  /** What happens when it is time and the last run has not ended. */
  readonly overlap: ScheduleOverlapPolicy;
  /** How late a run may still start after Temporal was away. */
  readonly catchupWindow: string;
  /** A run that takes longer is ended. */
  readonly timeout: string;
}

/**
 * Clusters of one Temporal namespace take turns: intervals count from the epoch, so all would begin in the same second
 * otherwise, and what Temporal holds back because it is too much at once may come too late to be caught up with.
 */
function inTurns(id: string, everySeconds: number): ScheduleSpec {
  const turn = Number.parseInt(sha256(id).slice('sha256:'.length, 'sha256:'.length + 8), 16) % everySeconds;
  return { intervals: [{ every: `${everySeconds} seconds`, offset: `${turn} seconds` }] };
}

/** The schedules of a cluster, whichever of its workers they run on. */
export function clusterSchedules(clusterId: string): ScheduleRow[] {
  return [
    {
      // Soon enough to be told of a terminated run, and as little history as that takes.
      id: scheduleIdOf(clusterId, 'reconcile'),
      workflowType: 'reconcile',
      args: [],
      taskQueue: taskQueueOf(clusterId, 'execution'),
      spec: inTurns(scheduleIdOf(clusterId, 'reconcile'), 60),
      overlap: ScheduleOverlapPolicy.SKIP,
      catchupWindow: '1 minute', // the next look does all that a missed one would have
      timeout: '10 minutes',
    },
  ];
}

/**
 * What is said to the control plane: one run for the whole cluster, whichever of its processes does it.
 * @param workflowQueue here and below: where the process runs workflows that makes the schedules
 */
export function linkSchedules(clusterId: string, workflowQueue: string): ScheduleRow[] {
  const common = {
    args: [{ taskQueue: taskQueueOf(clusterId, 'registration') }],
    taskQueue: workflowQueue,
    overlap: ScheduleOverlapPolicy.SKIP,
  };
  return [
    {
      ...common,
      id: scheduleIdOf(clusterId, 'registration'),
      workflowType: 'registration',
      spec: inTurns(scheduleIdOf(clusterId, 'registration'), 300),
      catchupWindow: '1 minute',
      timeout: '5 minutes',
    },
    {
      ...common,
      id: scheduleIdOf(clusterId, 'heartbeat'),
      workflowType: 'heartbeat',
      spec: inTurns(scheduleIdOf(clusterId, 'heartbeat'), 30),
      catchupWindow: '10 seconds', // the least that Temporal takes: nobody wants to hear that it lived
      timeout: '29 seconds', // over before the next one, which would be skipped otherwise
    },
  ];
}

/** The schedules of one writer of the audit log. Runs are missed rather than queued: each does all there is to do. */
export function auditSchedules(clusterId: string, writer: string, workflowQueue: string): ScheduleRow[] {
  const common = {
    args: [{ taskQueue: auditQueueOf(clusterId, writer) }],
    taskQueue: workflowQueue,
    overlap: ScheduleOverlapPolicy.SKIP,
    catchupWindow: '1 minute',
    timeout: '14 minutes',
  };
  return [
    {
      ...common,
      id: scheduleIdOf(clusterId, 'audit-upload', writer),
      workflowType: 'auditUpload',
      // The first run after midnight UTC seals the day; the others catch up with a bucket that was away.
      spec: inTurns(scheduleIdOf(clusterId, 'audit-upload', writer), 900),
    },
    {
      ...common,
      id: scheduleIdOf(clusterId, 'audit-retention', writer),
      workflowType: 'auditRetention',
      spec: { calendars: [{ hour: 1, minute: 30 }] },
      catchupWindow: '12 hours',
    },
  ];
}

/** The schedules of one writer that sends metrics. */
export function metricsSchedules(clusterId: string, writer: string, workflowQueue: string): ScheduleRow[] {
  return [
    {
      id: scheduleIdOf(clusterId, 'metrics', writer),
      workflowType: 'metrics',
      args: [{ taskQueue: metricsQueueOf(clusterId, writer) }],
      taskQueue: workflowQueue,
      spec: inTurns(scheduleIdOf(clusterId, 'metrics', writer), 30),
      overlap: ScheduleOverlapPolicy.SKIP, // the next run sends what this one leaves
      catchupWindow: '10 seconds', // what Prometheus says now is not what it said then
      timeout: '5 minutes',
    },
  ];
}

/** Ids of all schedules that a writer may have. */
export function writerScheduleIds(clusterId: string, writer: string): string[] {
  const rows = [...auditSchedules(clusterId, writer, ''), ...metricsSchedules(clusterId, writer, '')];
  return rows.map(({ id }) => id);
}

/** Makes the schedules, or makes those that are there what the table says. */
export async function reconcileSchedules(client: ScheduleClient, rows: readonly ScheduleRow[]): Promise<void> {
  for (const row of rows) {
    const { scheduleId, ...options } = optionsOf(row);
    try {
      await client.create({ scheduleId, ...options });
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      await client.getHandle(scheduleId).update(({ state }) => ({ ...options, state })); // somebody may have paused it
    }
  }
}

/** Removes schedules whose writer is gone; those that are not there are no matter. */
export async function removeSchedules(client: ScheduleClient, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    try {
      await client.getHandle(id).delete();
    } catch (error) {
      if (!(error instanceof ScheduleNotFoundError)) throw error;
    }
  }
}

function optionsOf(row: ScheduleRow): ScheduleOptions {
  return {
    scheduleId: row.id,
    spec: row.spec,
    policies: { overlap: row.overlap, catchupWindow: row.catchupWindow },
    action: {
      type: 'startWorkflow',
      workflowType: row.workflowType,
      args: [...row.args],
      taskQueue: row.taskQueue,
      workflowId: row.id,
      workflowExecutionTimeout: row.timeout,
    },
  };
}
