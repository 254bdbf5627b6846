import { proxyActivities } from '@temporalio/workflow';
import type { LinkActivities } from '../activities/control-plane/link.ts';

export interface LinkInput {
  /** The queue of those that speak to the control plane. */
  readonly taskQueue: string;
}

/** Run by a schedule: says who the cluster is. Said again it changes nothing, so nobody has to know whether it was. */
export async function registration({ taskQueue }: LinkInput): ReturnType<LinkActivities['registerCluster']> {
  const { registerCluster } = proxyActivities<LinkActivities>({
    taskQueue,
    startToCloseTimeout: '20 seconds',
    scheduleToCloseTimeout: '4 minutes', // the next run is then due
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' },
  });
  return registerCluster({});
}
