import type { Client } from '@temporalio/client';
import { WorkflowFailedError, WorkflowIdConflictPolicy, WorkflowIdReusePolicy } from '@temporalio/client';
import { ActivityFailure, ApplicationFailure } from '@temporalio/common';
import type { ControlPlane } from '../activities/control-plane/client.ts';
import { verifierOf } from '../activities/control-plane/relay.ts';
import type { Alert } from '../domain/control-plane.ts';
import { ConnectorError, isErrorCode } from '../domain/errors.ts';
import type { HeadKey } from '../domain/audit-head.ts';
import { scheduleIdOf, taskQueueOf } from '../domain/names.ts';
import { alertReceiptSchema, alertText, receiptText } from '../domain/signed-alert.ts';

export interface AlertRelayOptions {
  readonly clusterId: string;
  readonly client: Client;
  /** Where this process runs workflows. */
  readonly workflowQueue: string;
  readonly sign: HeadKey['sign'];
  /** PEM, of the key that all processes of the cluster sign with. */
  readonly publicKeyPem: string;
}

const ANSWERED_WITHIN_MS = 45_000;

/**
 * The way to the control plane for a process that does not know it: through Temporal to one with the role `registration`.
 * Without Temporal, or without such a process, alerts wait on the disk as they do where the control plane is away. So
 * they do where what answers is not the connector: an alert is done with when a process of ours has signed that it is.
 */
export function createAlertRelay(options: AlertRelayOptions): Pick<ControlPlane, 'signal'> {
  const { clusterId, client, workflowQueue, sign, publicKeyPem } = options;
  const isSigned = verifierOf(publicKeyPem);
  const taskQueue = taskQueueOf(clusterId, 'registration');
  const relay = async (alert: Alert): Promise<unknown> => {
    const start = {
      args: [{ taskQueue, signed: { alert, signature: sign(alertText(clusterId, alert)) } }],
      taskQueue: workflowQueue,
      // The same for the same alert: another process may be at it.
      workflowId: scheduleIdOf(clusterId, 'alert', alert.id),
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      workflowExecutionTimeout: '40 seconds',
    };
    try {
      return await client.withDeadline(Date.now() + ANSWERED_WITHIN_MS, () =>
        client.workflow.execute('relayAlert', start),
      );
    } catch (error) {
      throw toOurs(error);
    }
  };
  return {
    async signal(signal) {
      if (signal.kind !== 'alert') throw new ConnectorError('INTERNAL', 'Only alerts are relayed.');
      const { alert } = signal;
      const { data: receipt } = alertReceiptSchema.safeParse(await relay(alert));
      if (!receipt || !isSigned(receiptText(clusterId, alert, receipt.outcome), receipt.signature)) {
        throw new ConnectorError(
          'CONTROL_PLANE_UNAVAILABLE',
          'Something in Temporal answered that is not the connector.',
        );
      }
      if (receipt.outcome === 'refused') throw new ConnectorError('CONTROL_PLANE_REFUSED');
      return {};
    },
  };
}

/** Failures come through Temporal as well, where anybody can make them up: none of them makes an alert be forgotten. */
function toOurs(error: unknown): ConnectorError {
  const failed = error instanceof WorkflowFailedError ? error.cause : undefined;
  if (!failed) return new ConnectorError('TEMPORAL_UNAVAILABLE', '', { cause: error });
  const cause = failed instanceof ActivityFailure ? failed.cause : failed;
  const code = cause instanceof ApplicationFailure ? cause.type : undefined;
  const why = isErrorCode(code) ? `It failed with ${code}.` : 'No process with the role registration has answered.';
  return new ConnectorError('CONTROL_PLANE_UNAVAILABLE', why, { cause: error });
}
