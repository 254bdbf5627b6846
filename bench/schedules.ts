import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectorClient } from '../client/connector-client.ts';
import { prepareConnector, startWorker } from '../dev/connector.ts';
import type { Stack } from '../dev/stack.ts';
import { scheduleIdOf } from '../domain/names.ts';
import { MetricsTarget } from './metrics-target.ts';
import type { RunCost } from './run-cost.ts';
import { runCostOf } from './run-cost.ts';

/** What one run of a schedule leaves in Temporal, medians over those that were looked at, and how often that is. */
export interface ScheduleCost extends RunCost {
  readonly schedule: string;
  readonly everySeconds: number;
  readonly activities: number;
  readonly runs: number;
}

const CLUSTER = 'bench-schedules';
const WRITER = 'bench';
/** Runs that are looked at of each schedule. */
const RUNS = 5;
const BETWEEN_MS = 1_500;

export const SCHEDULES_NOTES: readonly string[] = [
  `Each schedule was triggered ${RUNS} times; events, state transitions and bytes are what Temporal says of the runs.`,
  'Without payload encryption, which leaves these runs as they are. The runs of a schedule itself (its own workflow in Temporal) are not in it.',
];

/** Runs each schedule of a connector with all roles a few times, and asks Temporal what the runs cost. */
export async function measureSchedules(stack: Stack, onProgress: (what: string) => void): Promise<ScheduleCost[]> {
  const folder = `${stack.stateDir}/${CLUSTER}`;
  const options = { services: stack, folder, clusterId: CLUSTER, controlPlane: stack.controlPlane };
  const prepared = await prepareConnector(options);
  const target = await MetricsTarget.start(stack, folder);
  const env = { ...prepared.env, ...target.settings, BYOC_WRITER: WRITER };
  const worker = await startWorker({ ...prepared, env });
  const client = await ConnectorClient.connect(CLUSTER, env);
  try {
    const found: ScheduleCost[] = [];
    for (const name of ['heartbeat', 'registration', 'metrics', 'reconcile', 'audit-upload'] as const) {
      const ofWriter = name === 'metrics' || name === 'audit-upload';
      const id = scheduleIdOf(CLUSTER, name, ...(ofWriter ? [WRITER] : []));
      onProgress(id);
      found.push(await costOf(client, id, name));
    }
    return found;
  } finally {
    await client.close();
    await worker.stop();
    await target.close();
  }
}

async function costOf({ client }: ConnectorClient, id: string, schedule: string): Promise<ScheduleCost> {
  const handle = client.schedule.getHandle(id);
  for (let run = 0; run < RUNS; run++) {
    await handle.trigger();
    await sleep(BETWEEN_MS);
  }
  const { spec, info } = await handle.describe();
  const costs: (RunCost & Pick<ScheduleCost, 'activities'>)[] = [];
  for (const { action } of info.recentActions.slice(-RUNS)) {
    const { workflowId, firstExecutionRunId } = action.workflow;
    const run = client.workflow.getHandle(workflowId, firstExecutionRunId);
    await run.result();
    const { events } = await run.fetchHistory();
    const activities = (events ?? []).filter((event) => event.activityTaskScheduledEventAttributes).length;
    costs.push({ ...(await runCostOf(run)), activities });
  }
  const middle = (pick: (cost: (typeof costs)[number]) => number) =>
    costs.map(pick).sort((a, b) => a - b)[Math.floor(costs.length / 2)] ?? 0;
  return {
    schedule,
    everySeconds: Number(spec.intervals?.[0]?.every ?? 0) / 1_000,
    events: middle(({ events }) => events),
    transitions: middle(({ transitions }) => transitions),
    bytes: middle(({ bytes }) => bytes),
    activities: middle(({ activities }) => activities),
    runs: costs.length,
  };
}

export function renderSchedules(costs: readonly ScheduleCost[]): string[][] {
  return [
    ['schedule', 'every', 'events', 'transitions', 'bytes', 'activities', 'runs'],
    ...costs.map(({ schedule, everySeconds, events, transitions, bytes, activities, runs }) => [
      ...[schedule, `${everySeconds} s`],
      ...[events, transitions, bytes, activities, runs].map(String),
    ]),
  ];
}
