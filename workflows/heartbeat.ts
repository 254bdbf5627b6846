import { proxyActivities } from '@temporalio/workflow';
import type { LinkActivities } from '../activities/control-plane/link.ts';
import type { LinkInput } from './registration.ts';

/** Run by a schedule: one beat. A control plane that does not know the cluster, or has lost it, is told at once who it is. */
export async function heartbeat({ taskQueue }: LinkInput): Promise<void> {
  const { sendHeartbeat, registerCluster } = proxyActivities<LinkActivities>({
    taskQueue,
    startToCloseTimeout: '15 seconds',
    // A late beat is worth less than the next one in time.
    scheduleToCloseTimeout: '25 seconds',
    retry: { initialInterval: '1s', maximumAttempts: 2 },
  });
  const { registered } = await sendHeartbeat({});
  if (registered) return;
  await registerCluster({});
  await sendHeartbeat({});
}
