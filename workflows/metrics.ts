import { proxyActivities } from '@temporalio/workflow';
import type { MetricsActivities } from '../activities/insight/metrics.ts';
import type { Collected, Delivered } from '../domain/metrics.ts';

export interface MetricsInput {
  /** The queue of the writer whose disk the batches wait on. */
  readonly taskQueue: string;
}

/**
 * Reads metrics and sends what waits, once; a schedule runs it every 30 seconds. Nothing is tried again here: the next
 * run does all that this one could not.
 */
export async function metrics({ taskQueue }: MetricsInput): Promise<Collected & Delivered> {
  const { collectMetrics, deliverMetrics } = proxyActivities<MetricsActivities>({
    taskQueue,
    // A writer that is gone is not waited for; its batches went with its disk.
    scheduleToStartTimeout: '20 seconds',
    startToCloseTimeout: '2 minutes',
    retry: { maximumAttempts: 1 },
  });
  const [collected] = await Promise.allSettled([collectMetrics()]);
  const delivered = await deliverMetrics();
  if (collected.status === 'rejected') throw collected.reason;
  return { ...collected.value, ...delivered };
}
