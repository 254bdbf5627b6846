import type { Client } from '@temporalio/client';
import { WorkflowFailedError, WorkflowIdConflictPolicy, WorkflowIdReusePolicy } from '@temporalio/client';
import { ActivityFailure, ApplicationFailure } from '@temporalio/common';
import type { ControlPlane } from '../activities/control-plane/client.ts';
import { ConnectorError, isErrorCode } from '../domain/errors.ts';
import type { HeadKey } from '../domain/audit-head.ts';
import { scheduleIdOf, taskQueueOf } from '../domain/names.ts';
import { alertText } from '../domain/signed-alert.ts';

export interface AlertRelayOptions {
  readonly clusterId: string;
  readonly client: Client;
  /** Where this process runs workflows. */
  readonly workflowQueue: string;
  readonly sign: HeadKey['sign'];
}

const ANSWERED_WITHIN_MS = 45_000;

/**
 * The way to the control plane for a process that does not know it: through Temporal to one with the role `registration`.
 * Without Temporal, or without such a process, alerts wait on the disk as they do where the control plane is away.
 */
export function createAlertRelay({ clusterId, client, workflowQueue, sign }: AlertRelayOptions) {
  const taskQueue = taskQueueOf(clusterId, 'registration');
  const signal = async ({ alert }: Extract<Parameters<ControlPlane['signal']>[0], { kind: 'alert' }>) => {
    const options = {
      args: [{ taskQueue, signed: { alert, signature: sign(alertText(clusterId, alert)) } }],
      taskQueue: workflowQueue,
      // The same for the same alert: another process may be at it.
      workflowId: scheduleIdOf(clusterId, 'alert', alert.id),
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      workflowExecutionTimeout: '40 seconds',
    };
    try {
      await client.withDeadline(Date.now() + ANSWERED_WITHIN_MS, () => client.workflow.execute('relayAlert', options));
    } catch (error) {
      throw toOurs(error);
    }
    return {};
  };
  return { signal };
}

/** What the control plane answered, as if it had been asked from here. */
function toOurs(error: unknown): ConnectorError {
  const failed = error instanceof WorkflowFailedError ? error.cause : undefined;
  const cause = failed instanceof ActivityFailure ? failed.cause : failed;
  const code = cause instanceof ApplicationFailure ? cause.type : undefined;
  if (isErrorCode(code)) return new ConnectorError(code, '', { cause: error });
  if (failed) {
    const nobody = 'No process with the role registration has answered.';
    return new ConnectorError('CONTROL_PLANE_UNAVAILABLE', nobody, { cause: error });
  }
  return new ConnectorError('TEMPORAL_UNAVAILABLE', '', { cause: error });
}
