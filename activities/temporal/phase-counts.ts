import type { WorkflowClient } from '@temporalio/client';
import { EXECUTE_WPK, SEARCH_ATTRIBUTES, workflowIdOf } from '../../domain/names.ts';
import type { Phase } from '../../domain/status.ts';
import { isEnd, PHASES } from '../../domain/status.ts';

export type PhaseCounts = Readonly<Partial<Record<Phase, number>>>;

const ENDED_WITHIN_MS = 24 * 3_600_000;
const TIMEOUT_MS = 5_000;

/**
 * Counts the packages of a cluster by phase, by Temporal's visibility: those that run, and those that ended within the last
 * 24 hours. Phases without a package are left out; all of them where the namespace does not know the search attribute.
 */
export async function countPhases(
  client: WorkflowClient,
  clusterId: string,
  searchAttributes: readonly string[],
  now: Date,
): Promise<PhaseCounts> {
  if (!searchAttributes.includes(SEARCH_ATTRIBUTES.phase)) return {};
  const own = `WorkflowType = '${EXECUTE_WPK}' AND WorkflowId STARTS_WITH '${workflowIdOf(clusterId, '')}'`;
  const since = new Date(now.getTime() - ENDED_WITHIN_MS).toISOString();
  const counts = await client.withDeadline(Date.now() + TIMEOUT_MS, () =>
    Promise.all(
      PHASES.map(async (phase) => {
        const when = isEnd(phase) ? `CloseTime > '${since}'` : `ExecutionStatus = 'Running'`;
        const { count } = await client.count(`${own} AND ${SEARCH_ATTRIBUTES.phase} = '${phase}' AND ${when}`);
        return [phase, count] as const;
      }),
    ),
  );
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}
