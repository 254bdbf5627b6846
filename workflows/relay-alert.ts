import { proxyActivities } from '@temporalio/workflow';
import type { RelayActivities } from '../activities/control-plane/relay.ts';
import type { AlertReceipt, SignedAlert } from '../domain/signed-alert.ts';

export interface RelayInput {
  /** The queue of those that speak to the control plane. */
  readonly taskQueue: string;
  readonly signed: SignedAlert;
}

/** Brings one alert from a process that knows no control plane to one that does. What fails, its sender tries again. */
export async function relayAlert({ taskQueue, signed }: RelayInput): Promise<AlertReceipt> {
  const { deliverAlert } = proxyActivities<RelayActivities>({
    taskQueue,
    scheduleToStartTimeout: '15 seconds',
    startToCloseTimeout: '20 seconds',
    retry: { maximumAttempts: 1 },
  });
  return deliverAlert(signed);
}
